"""Any plausible answer, written and read again, is the same answer: streamed, whole, across."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from droveway.contracts.relay import Usage
from droveway.dialects.anthropic.reader import AnthropicReader
from droveway.dialects.anthropic.writer import AnthropicWriter
from droveway.dialects.chat.reader import ChatReader
from droveway.dialects.chat.writer import ChatWriter
from droveway.dialects.events import (
    Begun,
    Event,
    Finished,
    RedactedThinking,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolArguments,
    ToolBegun,
)
from tests.support.answer_events import (
    CONTEXT,
    USAGE,
    assert_legal_anthropic,
    assert_legal_chat,
    last_usage,
    merged,
    read_stream,
    written,
)

many = settings(max_examples=60, deadline=None)
BEGUN = Begun("upstream-1", "up-1")
WORDS = st.text(min_size=1, max_size=12) | st.sampled_from(
    ['"', "\\", "\n", "\u2028", "😀", '"},"x":"', "data: [DONE]", "\x00"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(WORDS, VALUES, max_size=3)


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """The text, cut anywhere."""
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=4)))
    cut = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return [piece for piece in cut if piece]


@st.composite
def calls(draw: st.DrawFn, choice: int) -> list[list[Event]]:
    """Each call's own events."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    each: list[list[Event]] = []
    for tool, value in enumerate(draw(st.lists(OBJECTS, max_size=3))):
        arguments = draw(pieces(json.dumps(value, separators=separators)))
        begun = ToolBegun(tool, f"call_{choice}_{tool}", draw(st.sampled_from("fg")), choice)
        each.append([begun, *(ToolArguments(tool, piece, choice) for piece in arguments)])
    return each


@st.composite
def texts(draw: st.DrawFn, choice: int) -> list[Event]:
    return [Text(piece, choice) for piece in draw(pieces(draw(WORDS)))]


@st.composite
def thoughts(draw: st.DrawFn) -> list[Event]:
    """Reasoning as a provider shows it that signs it."""
    if draw(st.booleans()):
        return [RedactedThinking(draw(WORDS))]
    text = draw(st.just("") | WORDS)
    return [*map(Thinking, draw(pieces(text))), Signature(draw(WORDS))]


@st.composite
def interleaved(draw: st.DrawFn, runs: list[list[Event]]) -> list[Event]:
    """Each run in its own order, the runs in any."""
    left = [list(run) for run in runs if run]
    events = []
    while left:
        run = draw(st.sampled_from(left))
        events.append(run.pop(0))
        left = [run for run in left if run]
    return events


@st.composite
def chat_choice(draw: st.DrawFn, choice: int) -> list[Event]:
    """In the order that a whole message has: what of it comes between is lost there."""
    events: list[Event] = []
    if choice == 0 and draw(st.booleans()):
        events += [event for part in draw(st.lists(thoughts(), max_size=3)) for event in part]
    elif draw(st.booleans()):
        events += [Thinking(piece, choice) for piece in draw(pieces(draw(WORDS)))]
    if draw(st.booleans()):
        events += draw(texts(choice))
    if draw(st.integers(0, 4)) == 0:
        events += [Refusal(piece, choice) for piece in draw(pieces(draw(WORDS)))]
    called = draw(calls(choice)) if draw(st.booleans()) else []
    events += [event for call in called for event in call]
    reasons = ["tool_calls"] if called else ["stop", "length", "content_filter"]
    return [*events, Finished(draw(st.sampled_from(reasons)), choice)]


@st.composite
def anthropic_answers(draw: st.DrawFn) -> list[Event]:
    """Blocks of all kinds, in any order."""
    parts: list[list[Event]] = draw(st.lists(texts(0) | thoughts(), max_size=4))
    called = draw(calls(0))
    for call in called:
        parts.insert(draw(st.integers(0, len(parts))), call)
    numbered = [event for part in parts for event in part]
    reasons = ["tool_calls"] if called else ["stop", "length", "content_filter"]
    sequence = draw(st.none() | WORDS)
    reason = draw(st.sampled_from(reasons))
    ended = Finished(reason, 0, "", sequence if reason == "stop" else None)
    return [*_renumbered(numbered), ended]


def _renumbered(events: list[Event]) -> list[Event]:
    """Tools numbered in the order in which they begin."""
    order: dict[int, int] = {}
    renumbered: list[Event] = []
    for event in events:
        if isinstance(event, ToolBegun):
            order[event.tool] = len(order)
        if isinstance(event, ToolBegun | ToolArguments):
            renumbered.append(event._replace(tool=order[event.tool]))
        else:
            renumbered.append(event)
    return renumbered


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Of some input: a count of none means that it isn't known."""
    fresh, read, written_, output = (draw(st.integers(low, 10_000)) for low in (1, 0, 0, 0))
    return Usage(
        fresh + read + written_, output, read, written_, draw(st.integers(0, output)),
        cache_write_1h_tokens=draw(st.integers(0, written_)),
    )  # fmt: skip


def _own(events: list[Event], choice: int) -> list[Event]:
    return [event for event in events if getattr(event, "choice", 0) == choice]


def _kept(events: list[Event]) -> dict[str, Any]:
    """Everything in an answer, whatever the order of its blocks."""
    kept: dict[str, Any] = {}
    for event in merged(events):
        key = type(event).__name__
        if isinstance(event, ToolArguments):
            key = f"{key} {event.tool}"
            kept[key] = kept.get(key, "") + event.piece
        elif isinstance(event, Text | Thinking):
            kept[key] = kept.get(key, "") + event.text
        else:
            kept.setdefault(key, []).append(event)
    return kept


@many
@given(st.data(), st.integers(1, 3), usages(), st.booleans())
def test_chat_gives_back_what_was_written(
    data: st.DataObject, choices: int, usage: Usage, include_usage: bool
) -> None:
    runs = [data.draw(chat_choice(choice)) for choice in range(choices)]
    events = [BEGUN, *data.draw(interleaved(runs))]
    context = CONTEXT._replace(include_usage=include_usage)
    stream = written(ChatWriter(context), events, usage)
    assert_legal_chat(stream, include_usage=include_usage)
    streamed = read_stream(ChatReader(), stream)
    whole = ChatReader().read_whole(ChatWriter(context).whole(events, usage))
    for choice, run in enumerate(runs):
        assert merged(_own(streamed, choice)) == merged(run)
        assert merged(_own(whole, choice)) == merged(run)
    assert last_usage(streamed) == (usage if include_usage else None)
    assert last_usage(whole) == usage


@many
@given(anthropic_answers(), usages())
def test_anthropic_gives_back_what_was_written(events: list[Event], usage: Usage) -> None:
    stream = written(AnthropicWriter(CONTEXT), [BEGUN, *events], usage)
    assert_legal_anthropic(stream)
    streamed = read_stream(AnthropicReader(), stream)
    whole = AnthropicReader().read_whole(AnthropicWriter(CONTEXT).whole([BEGUN, *events], usage))
    assert merged(streamed) == merged(events)
    assert merged(whole) == merged(events)
    assert last_usage(streamed) == last_usage(whole) == usage


@many
@given(st.data())
def test_anthropic_loses_nothing_however_calls_and_text_interleave(data: st.DataObject) -> None:
    runs = [*data.draw(calls(0)), data.draw(texts(0))]
    events = _renumbered(data.draw(interleaved(runs)))
    events.append(Finished("tool_calls" if len(runs) > 1 else "stop"))
    stream = written(AnthropicWriter(CONTEXT), [BEGUN, *events])
    assert_legal_anthropic(stream)
    whole = AnthropicReader().read_whole(AnthropicWriter(CONTEXT).whole([BEGUN, *events], USAGE))
    assert merged(read_stream(AnthropicReader(), stream)) == merged(whole)
    assert _kept(whole) == _kept(events)


@many
@given(chat_choice(0), usages())
def test_a_chat_answer_seen_through_anthropic_is_the_same(run: list[Event], usage: Usage) -> None:
    """A refusal is text there, and unsigned reasoning has an empty signature."""
    events = [event for event in run if not isinstance(event, Refusal)]
    upstream = written(ChatWriter(CONTEXT), [BEGUN, *events], usage)
    across = written(AnthropicWriter(CONTEXT), read_stream(ChatReader(), upstream), usage)
    assert_legal_anthropic(across)
    back = read_stream(AnthropicReader(), across)
    assert merged(back) == merged(events)
    assert last_usage(back) == usage


@many
@given(anthropic_answers(), usages())
def test_an_anthropic_answer_seen_through_chat_is_the_same(
    events: list[Event], usage: Usage
) -> None:
    """Its stop sequence has no place there."""
    context = CONTEXT._replace(include_usage=True)
    upstream = written(AnthropicWriter(context), [BEGUN, *events], usage)
    across = written(ChatWriter(context), read_stream(AnthropicReader(), upstream), usage)
    assert_legal_chat(across, include_usage=True)
    back = read_stream(ChatReader(), across)
    ended = events[-1]
    assert isinstance(ended, Finished)
    assert merged(back) == merged([*events[:-1], ended._replace(stop_sequence=None)])
    assert last_usage(back) == usage
