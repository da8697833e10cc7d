"""A message as a stream of events, exact or as sloppy as a fault asks."""

from collections.abc import Iterator

import msgspec

from droveway.simulator.anthropic.answer import Answer, Called, Part, Redacted, Said, Thought
from droveway.simulator.anthropic.whole import Json, envelope, with_output
from droveway.simulator.delivery import Event, Kind
from droveway.simulator.faults import Faults
from droveway.simulator.tokens import MessagesUsage

PING_EVERY_DELTAS = 16
_NO_USAGE = MessagesUsage(input_tokens=0, output_tokens=0)


def events(answer: Answer, faults: Faults) -> Iterator[Event]:
    """Shape an answer's stream: head, blocks, delta with the end and the usage, stop."""
    yield _start(answer, faults)
    deltas = 0
    for index, part in enumerate(answer.parts):
        yield _around("content_block_start", {"index": index, "content_block": _opening(part)})
        for delta, tokens in _deltas(part):
            if deltas % PING_EVERY_DELTAS == 0:
                yield _around("ping", {})
            body: Json = {"index": index, "delta": delta}
            if deltas == 0 and (padding := faults.numbers.get("huge-line")):
                body["padding"] = "x" * padding
            deltas += 1
            copies = 2 if "duplicate" in faults.flags else 1
            for copy in range(copies):
                counted = tokens if copy == 0 else 0
                yield _event(Kind.CONTENT, "content_block_delta", body, counted)
        yield _around("content_block_stop", {"index": index})
    if "no-finish" not in faults.flags:
        yield _end(answer, faults)
    if "no-done" not in faults.flags:
        times = 2 if "two-terminals" in faults.flags else 1
        yield from [_event(Kind.TERMINAL, "message_stop", {})] * times
    if "after-done" in faults.flags:
        late: Json = {"index": 0, "delta": {"type": "text_delta", "text": "after"}}
        yield _event(Kind.TERMINAL, "content_block_delta", late)


def _start(answer: Answer, faults: Faults) -> Event:
    message = envelope(answer, faults)
    if "no-usage" not in faults.flags:
        known = with_output(answer.usage, min(1, answer.usage.output_tokens))
        message["usage"] = _NO_USAGE if "late-usage" in faults.flags else known
    return _around("message_start", {"message": message})


def _end(answer: Answer, faults: Faults) -> Event:
    delta = {"stop_reason": answer.stop_reason, "stop_sequence": answer.stop_sequence}
    if "no-usage" in faults.flags:
        return _event(Kind.TERMINAL, "message_delta", {"delta": delta})
    usage = answer.usage
    shown: Json = {"output_tokens": usage.output_tokens}
    if "early-usage" not in faults.flags:
        shown = {
            "input_tokens": usage.input_tokens,
            "cache_creation_input_tokens": usage.cache_creation_input_tokens,
            "cache_read_input_tokens": usage.cache_read_input_tokens,
            **shown,
            "output_tokens_details": usage.output_tokens_details,
        }
    data = {"type": "message_delta", "delta": delta, "usage": shown}
    return Event(
        kind=Kind.TERMINAL, data=msgspec.json.encode(data), name="message_delta", usage=usage
    )


def _opening(part: Part) -> Json:
    match part:
        case Thought():
            return {"type": "thinking", "thinking": "", "signature": ""}
        case Redacted(data):
            return {"type": "redacted_thinking", "data": data}
        case Said():
            return {"type": "text", "text": ""}
        case Called(name_of_call, name):
            return {"type": "tool_use", "id": name_of_call, "name": name, "input": {}}


def _deltas(part: Part) -> Iterator[tuple[Json, int]]:
    match part:
        case Thought(pieces, signature):
            for piece in pieces:
                yield {"type": "thinking_delta", "thinking": piece}, 1
            yield {"type": "signature_delta", "signature": signature}, 0
        case Said(pieces):
            for piece in pieces:
                yield {"type": "text_delta", "text": piece}, 1
        case Called(_, _, pieces):
            yield {"type": "input_json_delta", "partial_json": ""}, 0
            for piece in pieces:
                yield {"type": "input_json_delta", "partial_json": piece}, 1
        case Redacted():
            return


def _around(name: str, body: Json) -> Event:
    return _event(Kind.AROUND, name, body)


def _event(kind: Kind, name: str, body: Json, tokens: int = 0) -> Event:
    data = msgspec.json.encode({"type": name, **body})
    return Event(kind=kind, data=data, name=name, tokens=tokens)
