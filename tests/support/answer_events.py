"""Answers as events: read from streams, and compared whatever pieces they came in."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from droveway.contracts.relay import Usage
from droveway.dialects.events import (
    Begun,
    Context,
    Counted,
    Event,
    Finished,
    Reader,
    Refusal,
    Text,
    Thinking,
    ToolArguments,
    Writer,
)

RESPONSE_ID = "0123456789abcdef0123456789abcdef"
CONTEXT = Context(RESPONSE_ID, 1_700_000_000, "asked-model", input_estimate_tokens=11)
USAGE = Usage(100, 40, 30, 20, 5, cache_write_1h_tokens=8)


def sent(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode()


def read_stream(reader: Reader, stream: Iterable[bytes]) -> list[Event]:
    return [event for data in stream for event in reader.read(data)]


def written(writer: Writer, events: Sequence[Event], usage: Usage = USAGE) -> list[bytes]:
    """The whole stream, its events written one by one."""
    chunks = [chunk for event in events for chunk in writer.write([event])]
    return [*chunks, *writer.close(usage)]


def decoded(stream: Iterable[bytes]) -> list[dict[str, Any]]:
    return [json.loads(data) for data in stream]


def merged(events: Iterable[Event]) -> list[Event]:
    """Pieces of one thing as one, without what only one dialect or the provider's name tells."""
    whole: list[Event] = []
    for event in events:
        last = whole[-1] if whole else None
        if isinstance(event, Begun | Counted):
            continue
        if isinstance(event, Finished):
            whole.append(Finished(event.reason, event.choice, "", event.stop_sequence))
        elif isinstance(event, ToolArguments):
            if isinstance(last, ToolArguments) and event[::2] == last[::2]:
                whole[-1] = ToolArguments(event.tool, last.piece + event.piece, event.choice)
            else:
                whole.append(event)
        elif (
            isinstance(event, Text | Refusal | Thinking)
            and type(last) is type(event)
            and getattr(last, "choice", 0) == event.choice
        ):
            whole[-1] = event._replace(text=getattr(last, "text", "") + event.text)
        else:
            whole.append(event)
    return whole


def last_usage(events: Iterable[Event]) -> Usage | None:
    counts = [event.usage for event in events if isinstance(event, Counted)]
    return counts[-1] if counts else None


def assert_legal_chat(stream: Sequence[bytes], *, include_usage: bool) -> None:
    """A stream as OpenAI's own clients and stricter ones accept it."""
    chunks = decoded(stream)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert not [chunk for chunk in chunks if "error" in chunk]
    assert [chunk for chunk in chunks if ("usage" in chunk) != include_usage] == []
    if include_usage:
        assert chunks[-1]["choices"] == []
        assert chunks.pop()["usage"]["prompt_tokens"] >= 0
        assert {chunk["usage"] for chunk in chunks} == {None}
    for index in {chunk["choices"][0]["index"] for chunk in chunks}:
        own = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert own[0]["delta"] == {"role": "assistant", "content": ""}
        assert own[-1]["delta"] == {}
        assert [choice["finish_reason"] for choice in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1]["finish_reason"] in ("stop", "length", "tool_calls", "content_filter")
        _assert_calls_legal([choice["delta"] for choice in own])


def _assert_calls_legal(deltas: list[dict[str, Any]]) -> None:
    begun: list[int] = []
    for delta in deltas:
        for call in delta.get("tool_calls", ()):
            if call["index"] in begun:
                assert set(call) == {"index", "function"}
                assert set(call["function"]) == {"arguments"}
            else:
                assert call["index"] == len(begun)
                assert call["type"] == "function"
                assert call["function"]["arguments"] == ""
                begun.append(call["index"])


def assert_legal_anthropic(stream: Sequence[bytes]) -> None:
    """A stream as Anthropic's own clients accept it: blocks one after the other, all ended."""
    events = decoded(stream)
    for data, event in zip(stream, events, strict=True):
        assert data.startswith(b'{"type":"' + event["type"].encode() + b'"')
    kinds = [event["type"] for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    open_block: int | None = None
    blocks = 0
    for event in events[1:-2]:
        if event["type"] == "content_block_start":
            assert open_block is None
            assert event["index"] == blocks
            open_block = event["index"]
            blocks += 1
        else:
            assert event["type"] in ("content_block_delta", "content_block_stop")
            assert event["index"] == open_block
            if event["type"] == "content_block_stop":
                open_block = None
    assert open_block is None
