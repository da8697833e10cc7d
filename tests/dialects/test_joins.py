"""Answers that broke off and what went on with them, joined: one stream, each token once."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts.relay import Usage
from droveway.dialects.anthropic.join import MessagesJoin
from droveway.dialects.anthropic.reader import AnthropicReader
from droveway.dialects.anthropic.writer import AnthropicWriter
from droveway.dialects.chat.join import ChatJoin
from droveway.dialects.chat.reader import ChatReader
from droveway.dialects.chat.writer import ChatWriter
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
    ToolBegun,
    Writer,
)
from droveway.dialects.joining import MAX_SAID_BYTES, Join
from droveway.dialects.usage_shapes import added
from tests.support.answer_events import read_stream

KINDS: dict[str, tuple[type[Join], type[Reader], type[Writer]]] = {
    "chat": (ChatJoin, ChatReader, ChatWriter),
    "messages": (MessagesJoin, AnthropicReader, AnthropicWriter),
}
BOTH = pytest.mark.parametrize("kind", KINDS)
PIECES = st.lists(st.text("ab \n\té漢😀", min_size=1, max_size=4), min_size=1, max_size=12)
CUTS = st.lists(st.integers(0, 40), max_size=3)
SPENT = Usage(10, 3, 2, 1, 1, cache_write_1h_tokens=1)


def _stream(kind: str, number: int, events: Sequence[Event], *, whole: bool) -> list[bytes]:
    """An answer as its caller sends it."""
    context = Context(f"{number:032x}", 1_700_000_000 + number, "asked", include_usage=True)
    writer = KINDS[kind][2](context)  # type: ignore[call-arg]
    begun = Begun(f"r{number}", f"model-{number}", SPENT)
    chunks = [chunk for event in (begun, *events) for chunk in writer.write([event])]
    if not whole:
        return chunks
    ended: list[Event] = [Finished("stop"), Counted(SPENT)]
    return [*chunks, *writer.write(ended), *writer.close(SPENT)]


def _joined(kind: str, pieces: Sequence[str], cuts: Sequence[int]) -> tuple[list[bytes], int]:
    """The client's stream, and of how many answers; each begins at the end of what was shown."""
    join: Join = KINDS[kind][0]()
    text, shown, before = "".join(pieces), list[bytes](), Usage()
    for number in range(len(cuts) + 1):
        rest = text[len(join.said.prefill) :]
        events = [Text(rest[at : at + 3]) for at in range(0, len(rest), 3)]
        if not number:
            events = [Text(piece) for piece in pieces]
        stream = _stream(kind, number, events, whole=True)
        cut = cuts[number] % len(stream) if number < len(cuts) else len(stream)
        for data in stream[:cut]:
            shown += join.take(data)
        if cut == len(stream) or not join.can_go_on:
            break
        before = added(before, SPENT)
        join.go_on(before)
    return shown, number + 1


@given(PIECES, CUTS)
def test_chat_clients_have_each_token_once(pieces: list[str], cuts: list[int]) -> None:
    shown, _ = _joined("chat", pieces, cuts)
    chunks = [json.loads(data) for data in shown]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    said = "".join(delta.get("content") or "" for delta in deltas)
    finishes = [one["finish_reason"] for chunk in chunks for one in chunk["choices"]]
    ended = "stop" in finishes
    assert "".join(pieces).startswith(said)
    assert not ended or said == "".join(pieces)
    assert [number for number, delta in enumerate(deltas) if "role" in delta] == [0][: len(deltas)]
    assert finishes.count("stop") <= 1
    assert len({(one["id"], one["created"], one["model"]) for one in chunks}) <= 1


@given(PIECES, CUTS)
def test_anthropic_clients_have_each_token_once(pieces: list[str], cuts: list[int]) -> None:
    shown, _ = _joined("messages", pieces, cuts)
    events = [json.loads(data) for data in shown]
    said = "".join(_texts(events))
    ended = any(event["type"] == "message_stop" for event in events)
    assert "".join(pieces).startswith(said)
    assert not ended or said == "".join(pieces)
    starts = [number for number, one in enumerate(events) if one["type"] == "message_start"]
    assert starts == [0][: len(events)]
    _assert_blocks_in_order(events, ended=ended)


def _texts(events: Sequence[dict[str, object]]) -> list[str]:
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return [delta["text"] for delta in deltas if isinstance(delta, dict)]


def _assert_blocks_in_order(events: Sequence[dict[str, object]], *, ended: bool) -> None:
    """Each begins when the one before has ended, and all count on from 0."""
    opened: object = None
    begun = 0
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert (opened, event["index"]) == (None, begun)
                opened, begun = event["index"], begun + 1
            case "content_block_delta":
                assert event["index"] == opened
            case "content_block_stop":
                assert event["index"] == opened
                opened = None
    assert not ended or opened is None


@BOTH
@given(PIECES, CUTS)
def test_usage_is_that_of_all_answers(kind: str, pieces: list[str], cuts: list[int]) -> None:
    shown, answers = _joined(kind, pieces, cuts)
    events = read_stream(KINDS[kind][1](), shown)
    if not any(isinstance(event, Finished) for event in events):
        return
    told = [event.usage for event in events if isinstance(event, Counted)]
    if told and kind == "chat":
        assert told[-1].output_tokens == SPENT.output_tokens * answers
        assert told[-1].input_tokens == SPENT.input_tokens * answers
    if told and kind == "messages":
        assert told[-1].output_tokens == SPENT.output_tokens * answers


@BOTH
@pytest.mark.parametrize(
    "events",
    [
        [Text("a"), ToolBegun(0, "c1", "f")],
        [Text("a"), ToolBegun(0, "c1", "f"), ToolArguments(0, "{")],
        [Text("a"), Finished("stop")],
        [Text("a"), Finished("length")],
        [Thinking("hm")],
        [Text("a" * (MAX_SAID_BYTES + 1))],
    ],
    ids=["call", "arguments", "end", "cut-short", "only-thoughts", "too-long"],
)
def test_what_no_prefill_can_carry_ends_it(kind: str, events: list[Event]) -> None:
    join: Join = KINDS[kind][0]()
    ended = any(isinstance(event, Finished) for event in events)
    for data in _stream(kind, 0, events, whole=ended):
        join.take(data)
    assert not join.can_go_on


def test_a_refusal_and_a_second_choice_end_it() -> None:
    for event in (Refusal("no"), Text("b", 1)):
        join = ChatJoin()
        for data in _stream("chat", 0, [Text("a"), event], whole=False):
            join.take(data)
        assert not join.can_go_on


@BOTH
def test_thoughts_before_a_text_are_no_hindrance(kind: str) -> None:
    join: Join = KINDS[kind][0]()
    shown = [
        piece
        for data in _stream(kind, 0, [Thinking("hm"), Text("one ")], whole=False)
        for piece in join.take(data)
    ]
    assert join.can_go_on
    assert join.said.prefill == "one"
    join.go_on(SPENT)
    rest = _stream(kind, 1, [Thinking("aha"), Text(" two")], whole=True)
    shown += [piece for data in rest for piece in join.take(data)]
    if kind == "messages":
        _assert_blocks_in_order([json.loads(data) for data in shown], ended=True)
    events = read_stream(KINDS[kind][1](), shown)
    assert "".join(event.text for event in events if isinstance(event, Text)) == "one two"


@BOTH
def test_what_cannot_be_read_passes_and_is_not_gone_on_with(kind: str) -> None:
    join: Join = KINDS[kind][0]()
    assert join.take(b"{not json") == [b"{not json"]
    assert not join.can_go_on


def test_a_rest_that_has_nothing_to_add_ends_the_block_that_is_open() -> None:
    join = MessagesJoin()
    for data in _stream("messages", 0, [Text("all")], whole=False):
        join.take(data)
    join.go_on(SPENT)
    rest = [
        b'{"type":"message_start","message":{"id":"m","usage":{"input_tokens":4}}}',
        b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}',
        b'{"type":"message_stop"}',
    ]
    shown = [json.loads(piece) for data in rest for piece in join.take(data)]
    assert [event["type"] for event in shown] == [
        "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    assert shown[1]["usage"]["output_tokens"] == 4
