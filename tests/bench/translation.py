"""What it costs to check and translate, by the CPU clock of this process: no bus, no network."""

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import msgspec

from droveway.caller.answers import Answer, answer_for
from droveway.caller.outgoing import outgoing
from droveway.caller.transport import TransportSettings, UpstreamTransport
from droveway.caller.upstream import Places, Upstream
from droveway.contracts.config import Dialect, Provider
from droveway.contracts.dispatch import CallRouted, Target
from droveway.contracts.inference import Body
from droveway.dialects import dialect
from droveway.dialects.anthropic.from_chat import from_chat
from droveway.dialects.anthropic.to_chat import to_chat
from droveway.dialects.chat.reader import ChatReader
from droveway.dialects.events import Context
from droveway.dialects.models import ModelFacts
from droveway.dialects.responses.writer import ResponsesWriter
from droveway.gateway.json_caps import JsonCaps, read_json_object
from droveway.gateway.operations import CHAT, MESSAGES, Operation

Translate = Callable[[dict[str, Any]], object]

_ROUNDS = 9
_ROUND_S = 0.03
_CHUNKS = 1_000
_TEXT = "The quick brown fox jumps over the lazy dog, and then it does it again. "
_FACTS = ModelFacts(name="m")


class Cost(NamedTuple):
    """One row."""

    name: str
    bound_us: float
    """0: none."""
    parts_us: dict[str, float]
    """By the service that does it."""


def costs() -> list[Cost]:
    """CPU time of each step; the least of some rounds, since whoever else is at work only adds."""
    return [*_requests(), *_chunks()]


def call_of(body: bytes, spoken: str, *, stream: bool = True) -> CallRouted:
    """One attempt for a client that speaks that dialect."""
    return CallRouted(
        attempt_id=bytes(16), attempt=1, request_id="req_0", relay_id=bytes(16), router="r",
        door="d", answer_to="_INBOX", traceparent="", tenant="default", key_id="k", dialect=spoken,
        model="m", target=Target(provider="p", credential="main", model="m"), stream=stream,
        body=Body(size_bytes=len(body), inline=body), remaining_ms=1_000, first_token_ms=1_000,
    )  # fmt: skip


def upstream_of(spoken: Dialect) -> Upstream:
    """A provider that is never called."""
    provider = Provider(id="p", base_url="http://127.0.0.1:1/v1", dialect=spoken)
    return Upstream(
        provider, UpstreamTransport(TransportSettings(base_url=provider.base_url)), Places()
    )


def _requests() -> Iterator[Cost]:
    """Check and translation alone; then all from the body that came to the body that goes."""
    caps = JsonCaps()
    sides: list[tuple[str, Operation, Dialect, dict[str, Any], Translate]] = [
        ("chat as Anthropic", CHAT, "anthropic", _chat_request(), _to_messages),
        ("Anthropic as chat", MESSAGES, "openai", _messages_request(), to_chat),
    ]
    for name, operation, provider, request, translation in sides:
        body = msgspec.json.encode(request)
        call, upstream = call_of(body, operation.dialect), upstream_of(provider)
        work: list[Callable[[], object]] = [
            partial(operation.read, request),
            partial(translation, request),
            partial(_checked, operation, body, caps),
            partial(outgoing, call, body, upstream, _FACTS),
        ]
        checked, translated, gateway, caller = map(_us, work)
        alone_us = {"gateway": checked, "caller": translated}
        yield Cost(f"a request of 10 messages, 2 tools: {name}", 60, alone_us)
        all_us = {"gateway": gateway, "caller": caller}
        yield Cost(f"the same with decoding, caps and encoding: {name}", 0, all_us)


def _checked(operation: Operation, body: bytes, caps: JsonCaps) -> object:
    return operation.read(read_json_object(body, caps))


def _to_messages(request: dict[str, Any]) -> object:
    return from_chat(request, max_output_tokens=4_096, sampling=True, version_2026=False)


def _chunks() -> Iterator[Cost]:
    chat = [_chat_chunk(number) for number in range(_CHUNKS)]
    messages = [_MESSAGE_START, _BLOCK_START, *map(_text_delta, range(_CHUNKS - 2))]
    varying = [one[:-1] + b',"obfuscation":"%d"}' % number**3 for number, one in enumerate(chat)]
    passing = call_of(b"{}", dialect.CHAT)
    answers: dict[str, tuple[CallRouted, Dialect, list[bytes]]] = {
        "of chat as Anthropic": (call_of(b"{}", dialect.MESSAGES), "openai", chat),
        "of Anthropic as chat": (passing, "anthropic", messages),
        "of chat passed on, alike": (passing, "openai", chat),
        "of chat passed on, each decoded": (passing, "openai", varying),
    }
    for name, (call, spoken, stream) in answers.items():
        provider = upstream_of(spoken).provider

        def taken(
            call: CallRouted = call, provider: Provider = provider, stream: list[bytes] = stream
        ) -> None:
            _take_all(answer_for(call, provider, b"{}"), stream)

        yield Cost(f"a chunk {name}", 3, {"caller": _us(taken) / _CHUNKS})
    us = _us(lambda: _respond(chat)) / _CHUNKS
    yield Cost("a chunk of chat as Responses", 3, {"gateway": us})


def _take_all(answer: Answer, stream: list[bytes]) -> None:
    for data in stream:
        events: list[bytes] = []
        answer.take(data, events)


def _respond(stream: list[bytes]) -> None:
    reader, writer = ChatReader(), ResponsesWriter(Context("0" * 32, 1, "m"))
    for data in stream:
        writer.write(reader.read(data))


def _us(work: Callable[[], object]) -> float:
    work()
    rounds = []
    for _ in range(_ROUNDS):
        began_s = time.process_time()
        for count in itertools.count(1):
            work()
            if (spent_s := time.process_time() - began_s) > _ROUND_S:
                rounds.append(1e6 * spent_s / count)
                break
    return min(rounds)


_SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": _TEXT},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city"],
}
_ARGUMENTS = {"city": "Paris", "days": 3}


def _chat_request() -> dict[str, Any]:
    """Four turns of talk, then a call of a tool with its result, then one more."""
    function = {"name": "weather", "arguments": msgspec.json.encode(_ARGUMENTS).decode()}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": _TEXT * 4},
        *({"role": role, "content": _TEXT * 3} for role in ("user", "assistant") * 3),
        {"role": "user", "content": _TEXT},
        {
            "role": "assistant", "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": _TEXT},
    ]  # fmt: skip
    tools = [
        {
            "type": "function",
            "function": {"name": name, "description": _TEXT, "parameters": _SCHEMA},
        }
        for name in ("weather", "news")
    ]
    return {
        "model": "m", "messages": messages, "tools": tools, "tool_choice": "auto",
        "max_tokens": 512, "stream": True, "user": "u-1",
    }  # fmt: skip


def _messages_request() -> dict[str, Any]:
    """The same."""
    use = {"type": "tool_use", "id": "call_1", "name": "weather", "input": _ARGUMENTS}
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": _TEXT}
    messages: list[dict[str, Any]] = [
        *({"role": role, "content": _TEXT * 3} for role in ("user", "assistant") * 4),
        {"role": "assistant", "content": [{"type": "text", "text": _TEXT}, use]},
        {"role": "user", "content": [result]},
    ]
    tools = [
        {"name": name, "description": _TEXT, "input_schema": _SCHEMA}
        for name in ("weather", "news")
    ]
    return {
        "model": "m", "system": _TEXT * 4, "messages": messages, "tools": tools,
        "tool_choice": {"type": "auto"}, "max_tokens": 512, "stream": True,
        "metadata": {"user_id": "u-1"},
    }  # fmt: skip


def _chat_chunk(number: int) -> bytes:
    head = b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"m",'
    delta = (
        b'{"role":"assistant","content":""}' if not number else b'{"content":" word%d"}' % number
    )
    choice = b'{"index":0,"delta":%b,"logprobs":null,"finish_reason":null}' % delta
    return head + b'"system_fingerprint":"fp_1","choices":[' + choice + b"]}"


def _text_delta(number: int) -> bytes:
    delta = b'{"type":"text_delta","text":" word%d"}' % number
    return b'{"type":"content_block_delta","index":0,"delta":%b}' % delta


_MESSAGE_START = (
    b'{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
    b'"model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":9,"output_tokens":1}}}'
)
_BLOCK_START = b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
