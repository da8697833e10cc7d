"""Whoever answers, a client hears the same, and whoever is asked is told the same.

A conversation is asked of a provider of the client's own dialect and of one of the other; neutral
turns and events stand on both sides, so no translation is its own judge. What differs by design:

- chat has no place for the stop sequence that ended an answer, and doesn't count apart what a
  cache keeps for an hour;
- a refusal is plain text for Anthropic's clients, with a stop reason of its own;
- reasoning that nobody has signed has an empty signature there;
- a chat answer's reasoning, text and calls come in this order when it isn't streamed.
"""

import json
from typing import Any, Literal, NamedTuple

import msgspec
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from droveway.caller.answers import Answer, answer_for
from droveway.caller.outgoing import outgoing
from droveway.contracts.config import Dialect
from droveway.contracts.relay import Usage
from droveway.dialects import dialect
from droveway.dialects.anthropic.reader import AnthropicReader
from droveway.dialects.anthropic.writer import AnthropicWriter
from droveway.dialects.chat.reader import ChatReader
from droveway.dialects.chat.writer import ChatWriter
from droveway.dialects.events import Event, Finished, Reader, Refusal, Writer
from droveway.dialects.models import ModelFacts
from tests.bench.translation import call_of, upstream_of
from tests.dialects.test_answer_round_trip import (
    BEGUN,
    OBJECTS,
    anthropic_answers,
    chat_choice,
    usages,
)
from tests.support.answer_events import (
    CONTEXT,
    assert_legal_anthropic,
    assert_legal_chat,
    last_usage,
    merged,
    read_stream,
    written,
)

many = settings(max_examples=60, deadline=None)
FACTS = ModelFacts(name="m")
SPOKEN: dict[Dialect, str] = {"openai": dialect.CHAT, "anthropic": dialect.MESSAGES}
UPSTREAMS = {spoken: upstream_of(spoken) for spoken in SPOKEN}
WORDS = st.text(min_size=1, max_size=12).filter(lambda text: bool(text.strip())).map(str.strip)


class Heard(NamedTuple):
    """What a client has of an answer, and what we have noted of it."""

    events: list[Event]
    usage: Usage | None
    reasons: list[str]
    noted: Usage


def heard(
    client: Dialect, provider: Dialect, events: list[Event], usage: Usage, *, stream: bool
) -> Heard:
    """A provider's answer as it comes to a client, and as that client reads it."""
    writer: Writer = _writer(provider)
    call = call_of(b"{}", SPOKEN[client], stream=stream)
    call = msgspec.structs.replace(call, include_usage=True)
    answer = answer_for(call, UPSTREAMS[provider].provider, b"{}")
    reader: Reader = ChatReader() if client == "openai" else AnthropicReader()
    if stream:
        shown = _streamed(answer, written(writer, [BEGUN, *events], usage))
        if client == "openai":
            assert_legal_chat(shown, include_usage=True)
        else:
            assert_legal_anthropic(shown)
        read = read_stream(reader, shown)
    else:
        read = reader.read_whole(answer.whole(writer.whole([BEGUN, *events], usage), 0))
    assert answer.facts.whole
    noted = answer.facts.settle(0)
    return Heard(merged(read), last_usage(read), answer.facts.finish_reasons, noted)


def _writer(provider: Dialect) -> Writer:
    context = CONTEXT._replace(include_usage=True)
    return ChatWriter(context) if provider == "openai" else AnthropicWriter(context)


def _streamed(answer: Answer, stream: list[bytes]) -> list[bytes]:
    shown: list[bytes] = []
    for data in stream:
        answer.take(data, shown)
    return shown + answer.close(answer.facts.settle(0))


@seed(4)
@many
@given(anthropic_answers(), usages(), st.booleans())
def test_a_chat_client_hears_the_same_of_either_provider(
    events: list[Event], usage: Usage, stream: bool
) -> None:
    ended = events[-1]
    assert isinstance(ended, Finished)
    events = [*events[:-1], ended._replace(stop_sequence=None)]
    usage = msgspec.structs.replace(usage, cache_write_1h_tokens=0)
    direct = heard("openai", "openai", events, usage, stream=stream)
    assert heard("openai", "anthropic", events, usage, stream=stream) == direct
    assert direct.usage == direct.noted == usage


@seed(4)
@many
@given(chat_choice(0), usages(), st.booleans())
def test_a_messages_client_hears_the_same_of_either_provider(
    events: list[Event], usage: Usage, stream: bool
) -> None:
    events = [event for event in events if not isinstance(event, Refusal)]
    direct = heard("anthropic", "anthropic", events, usage, stream=stream)
    assert heard("anthropic", "openai", events, usage, stream=stream) == direct
    assert direct.usage == direct.noted == usage


class Call(NamedTuple):
    """A call of a tool, and what came of it."""

    name: str
    arguments: dict[str, Any]
    result: str


class Turn(NamedTuple):
    """What the user says, and what the model makes of it."""

    user: str
    said: str
    calls: list[Call]


class Conversation(NamedTuple):
    """In no dialect's words."""

    system: str
    turns: list[Turn]
    last: str
    tools: list[str]
    choice: Literal["auto", "none", "required"]
    limit: int
    temperature: float | None
    user: str | None


CALLS = st.builds(Call, st.sampled_from("fg"), OBJECTS, WORDS)
TURNS = st.builds(Turn, WORDS, WORDS | st.just(""), st.lists(CALLS, max_size=3)).filter(
    lambda turn: bool(turn.said or turn.calls)
)
CONVERSATIONS = st.builds(
    Conversation, WORDS | st.just(""), st.lists(TURNS, max_size=3), WORDS, st.just(["f", "g"]),
    st.sampled_from(["auto", "none", "required"]), st.integers(1, 4_096),
    st.none() | st.sampled_from([0.0, 0.5, 1.0]), st.none() | st.sampled_from(["u-1", "u_2"]),
)  # fmt: skip
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def in_chat(asked: Conversation, *, stream: bool) -> dict[str, Any]:
    """As a client of OpenAI's dialect says it, with calls' arguments as what they mean."""
    messages: list[dict[str, Any]] = []
    if asked.system:
        messages.append({"role": "system", "content": asked.system})
    for place, turn in enumerate(asked.turns):
        messages.append({"role": "user", "content": turn.user})
        message: dict[str, Any] = {"role": "assistant", "content": turn.said or None}
        ids = [f"call_{place}_{number}" for number in range(len(turn.calls))]
        if turn.calls:
            message["tool_calls"] = [
                {
                    "id": call_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
                }
                for call_id, call in zip(ids, turn.calls, strict=True)
            ]
        messages.append(message)
        messages += [
            {"role": "tool", "tool_call_id": call_id, "content": call.result}
            for call_id, call in zip(ids, turn.calls, strict=True)
        ]
    messages.append({"role": "user", "content": asked.last})
    functions = [{"name": name, "parameters": SCHEMA} for name in asked.tools]
    return _without_none(
        {
            "model": "m", "messages": messages, "max_completion_tokens": asked.limit,
            "tools": [{"type": "function", "function": function} for function in functions],
            "tool_choice": asked.choice, "temperature": asked.temperature, "user": asked.user,
            "stream": stream,
        }
    )  # fmt: skip


def in_messages(asked: Conversation, *, stream: bool) -> dict[str, Any]:
    """As a client of Anthropic's dialect says it, all content as blocks."""
    messages: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for place, turn in enumerate(asked.turns):
        messages.append({"role": "user", "content": [*results, _text(turn.user)]})
        ids = [f"call_{place}_{number}" for number in range(len(turn.calls))]
        said = [_text(turn.said)] if turn.said else []
        uses = [
            {"type": "tool_use", "id": call_id, "name": call.name, "input": call.arguments}
            for call_id, call in zip(ids, turn.calls, strict=True)
        ]
        results = [
            {"type": "tool_result", "tool_use_id": call_id, "content": [_text(call.result)]}
            for call_id, call in zip(ids, turn.calls, strict=True)
        ]
        messages.append({"role": "assistant", "content": [*said, *uses]})
    messages.append({"role": "user", "content": [*results, _text(asked.last)]})
    choice = {"type": "any" if asked.choice == "required" else asked.choice}
    return _without_none(
        {
            "model": "m", "system": [_text(asked.system)] if asked.system else None,
            "messages": messages, "max_tokens": asked.limit,
            "tools": [{"name": name, "input_schema": SCHEMA} for name in asked.tools],
            "tool_choice": choice, "temperature": asked.temperature, "stream": stream,
            "metadata": {"user_id": asked.user} if asked.user else None,
        }
    )  # fmt: skip


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def sent(
    client: Dialect, provider: Dialect, request: dict[str, Any], *, stream: bool
) -> dict[str, Any]:
    """What the provider gets, in the one form that the comparison has."""
    body = json.dumps(request).encode()
    call = call_of(body, SPOKEN[client], stream=stream)
    made = outgoing(call, body, UPSTREAMS[provider], FACTS)
    assert made.warnings == ()
    decoded: dict[str, Any] = json.loads(made.body)
    return _plain_chat(decoded) if provider == "openai" else _plain_messages(decoded)


def _plain_chat(request: dict[str, Any]) -> dict[str, Any]:
    for message in request["messages"]:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return request


def _plain_messages(request: dict[str, Any]) -> dict[str, Any]:
    for holder, name in [(request, "system"), *((one, "content") for one in request["messages"])]:
        if isinstance(holder.get(name), str):
            holder[name] = [_text(holder[name])]
        for block in holder.get(name, ()):
            if isinstance(block.get("content"), str):
                block["content"] = [_text(block["content"])]
    return request


@seed(4)
@many
@given(CONVERSATIONS, st.booleans())
def test_a_provider_is_told_the_same_by_either_client(asked: Conversation, stream: bool) -> None:
    chat, messages = in_chat(asked, stream=stream), in_messages(asked, stream=stream)
    for provider in ("openai", "anthropic"):
        from_chat = sent("openai", provider, chat, stream=stream)
        assert sent("anthropic", provider, messages, stream=stream) == from_chat
