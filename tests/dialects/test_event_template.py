"""Events that are recognised by the bytes around their content: as if all had been decoded."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from droveway.contracts.envelope import MALFORMED
from droveway.dialects.chat.event_template import template
from droveway.dialects.chat.passing import without_usage
from droveway.dialects.chat.stream import ChatStream
from droveway.dialects.events import Context, InBandError

CONTEXT = Context(response_id="0" * 32, created_s=1, model="m")


class Reader:
    """Reads a stream's events as a caller does; `decodes_all` makes it the reference."""

    def __init__(self, *, include_usage: bool, decodes_all: bool) -> None:
        self.stream = ChatStream(CONTEXT._replace(include_usage=include_usage))
        self.facts = self.stream.facts
        self.alike = 0
        if decodes_all:
            self.stream._templates_left = 0

    def read(self, data: bytes) -> tuple[bool | None, list[bytes]]:
        events: list[bytes] = []
        try:
            has_content = self.stream.take(data, events)
        except (*MALFORMED, InBandError):
            return None, []
        self.alike = self.stream.undecoded
        return has_content, events

    def state(self) -> tuple[object, ...]:
        facts = self.facts
        return (
            facts.usage, facts.model, facts.response_id, facts.content_bytes, facts.finished,
            facts.finish_reason, facts.finish_reasons, facts.settle(7),
        )  # fmt: skip


def assert_same(events: list[bytes]) -> int:
    """All that can be seen is the same after each event; how many weren't decoded."""
    alike = 0
    for include_usage in (False, True):
        reader = Reader(include_usage=include_usage, decodes_all=False)
        reference = Reader(include_usage=include_usage, decodes_all=True)
        for data in events:
            assert reader.read(data) == reference.read(data), data
            assert reader.state() == reference.state(), data
        alike += reader.alike
    return alike


# Streams

SPACE = st.sampled_from(["", "", "", " ", "\n", " \t"])
WORDS = st.sampled_from(
    ["content", "usage", '"', "\\", "\n", "\x7f", "é", "😀", "\u2028", "a", " b"]
)
STRINGS = WORDS | st.text(max_size=6)
USAGES = [None, {"prompt_tokens": 3}]


def _event(
    content: Any, fields: dict[str, Any], space: str, *, escaped: bool, usage_first: bool
) -> bytes:
    fields = dict(fields)
    choice = {
        "index": fields.pop("index", 0),
        "delta": {**fields.pop("delta", {}), "content": content},
        **fields.pop("choice", {}),
    }
    choices = [choice, *fields.pop("more", [])]
    whole = {**fields, "choices": choices} if usage_first else {"choices": choices, **fields}
    separators = ("," + space, ":" + space)
    return json.dumps(whole, ensure_ascii=escaped, separators=separators).encode(
        "utf-8", "surrogatepass"
    )


ORDINARY = st.fixed_dictionaries(
    {"id": st.just("c1")},
    optional={
        "model": st.sampled_from(["m1", "usage"]),
        "usage": st.none(),
        "delta": st.sampled_from([{"role": "assistant"}, {"refusal": None, "tool_calls": []}]),
        "choice": st.sampled_from([{"finish_reason": None}, {"finish_reason": "", "x": 1}]),
    },
)
CHANGES: dict[str, list[Any]] = {
    "id": ["c2", "content", "", None],
    "model": ["m2", "n", None],
    "usage": [{"prompt_tokens": 3}, {"prompt_tokens": 4}, {"content": None}, {}],
    "error": [None, "", "boom", {"message": "boom"}],
    "index": [1, None, "0"],
    "delta": [{"refusal": "no"}, {"reasoning": "x"}, {"tool_calls": [{}]}],
    "choice": [{"finish_reason": "stop"}, {"logprobs": {"content": []}}, {"message": {}}],
    "more": [[{"index": 1, "delta": {"content": "b"}}], [{"delta": {"refusal": "b"}}], [{}]],
    "created": [1, 2],
    "obfuscation": ["a", "ab"],
}
CHANGE = st.sampled_from([{name: value} for name, values in CHANGES.items() for value in values])
CONTENTS = STRINGS | st.sampled_from(["a", "bc", "x" * 256, "x" * 257, None, 1, [], ["a"]])


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """One ordinary event with many contents; now and then one says more, or is damaged."""
    ordinary, space = draw(ORDINARY), draw(SPACE)
    escaped, usage_first = draw(st.booleans()), draw(st.booleans())
    changes = draw(st.lists(CHANGE, max_size=2))
    events = []
    for content in draw(st.lists(CONTENTS, min_size=2, max_size=12)):
        change = draw(st.sampled_from([{}, {}, *changes]))
        fields = {**ordinary, **change}
        event = _event(content, fields, space, escaped=escaped, usage_first=usage_first)
        if draw(st.integers(0, 7)) == 7:
            event = draw(damaged(event))
        events.append(event)
    return events


PIECES = st.binary(max_size=3) | st.sampled_from(
    [b'"', b"\\", b"\xff", b"\xed\xa0\x80", b"\0", b"}", b',"content":"x"', b'","usage":null,"a":"',
     b'"},"finish_reason":"stop","delta":{"content":"', b"\\u0075", b"\\ud800", b"usage"]
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, event: bytes) -> bytes:
    """Bytes put in, taken out or replaced, wherever."""
    start = draw(st.integers(0, len(event)))
    end = min(len(event), start + draw(st.integers(0, 4)))
    return event[:start] + draw(PIECES) + event[end:]


@settings(max_examples=200, deadline=None)
@given(streams())
def test_what_is_recognised_is_as_if_it_had_been_decoded(events: list[bytes]) -> None:
    assert_same(events)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=12) | PIECES, min_size=1, max_size=8), st.sampled_from(USAGES))
def test_whatever_bytes_stand_in_the_contents_place(middles: list[bytes], usage: object) -> None:
    whole = _event("HERE", {"id": "c1", "usage": usage}, "", escaped=True, usage_first=False)
    before, _, after = whole.partition(b"HERE")
    assert_same([before + b"first" + after, *(before + middle + after for middle in middles)])


# What is recognised, and what isn't


def _plain(content: str, **fields: Any) -> bytes:
    return _event(content, {"id": "c1", **fields}, "", escaped=False, usage_first=False)


@pytest.mark.parametrize("usage", [{}, {"usage": None}], ids=["absent", "null"])
@pytest.mark.parametrize("usage_first", [False, True])
@pytest.mark.parametrize("space", ["", " "])
def test_plain_events_are_decoded_once(
    usage: dict[str, None], usage_first: bool, space: str
) -> None:
    words = ["a", " b", "你好", "😀", "usage", "content", "x" * 256]
    events = [
        _event(word, {"id": "c", **usage}, space, escaped=False, usage_first=usage_first)
        for word in words
    ]
    assert assert_same(events) == 2 * (len(events) - 1)


def test_an_escape_or_another_finish_is_decoded_and_what_follows_is_not() -> None:
    events = [
        _plain("a"), _plain("\n"), _plain('"'), _plain(""), _plain("\x01"), _plain("x" * 257),
        _plain("c", choice={"finish_reason": "stop"}), _plain("d"),
    ]  # fmt: skip
    assert assert_same(events) == 2


def test_a_change_of_names_is_noted_both_ways() -> None:
    events = [
        _plain("a", model="m"), _plain("b", model="m"), _plain("c", model="n"),
        _plain("d", model="m"), _plain("e", model="m"), _plain("\n", model="n"),
        _plain("f", model="m"),
    ]  # fmt: skip
    assert assert_same(events) == 4


@pytest.mark.parametrize(
    "event",
    [
        b'{"choices":[{"delta":{"cont\\u0065nt":"a"}}],"x":"content"}',
        b'{"\\u0075sage":null,"choices":[{"delta":{"content":"a"}}]}',
        b'{"choices":[{"delta":{"content":"a"},"message":{"content":"b"}}]}',
        b'{"\xff":1,"usage":null,"choices":[{"delta":{"content":"a"}}]}',
        b'{"choices":[{"delta":{"content":"content"}}]}',
    ],
    ids=["escaped key", "escaped usage", "two", "no UTF-8", "the word itself"],
)
def test_nothing_is_learnt_where_the_contents_place_is_in_doubt(event: bytes) -> None:
    assert template(event, 1, without_usage) is None
    assert assert_same([event, event.replace(b'"a"', b'"usage"'), event]) == 0


def test_a_stream_whose_id_is_the_key_is_decoded() -> None:
    first = b'{"id":"content","choices":[{"index":0,"delta":{"content":"a"}}]}'
    assert assert_same([first, _plain("b"), _plain("c"), _plain("d")]) == 0


def test_usage_beside_content_is_noted_each_time() -> None:
    counts = [1, 2, 1, 1]
    assert assert_same([_plain("a", usage={"prompt_tokens": count}) for count in counts]) == 0


def test_a_stream_whose_events_differ_elsewhere_too_is_soon_left_alone() -> None:
    varied = [_plain("a", created=number) for number in range(8)]
    assert assert_same([*varied, _plain("a", created=7)]) == 0
    assert assert_same([*varied[:4], varied[3], *varied[4:], varied[7]]) == 4


def test_an_event_shorter_than_its_template_is_decoded() -> None:
    whole = _plain("a")
    known = template(whole, 1, without_usage)
    assert known is not None
    assert known.content(whole) == b"a"
    for size in range(len(whole)):
        assert known.content(whole[:size]) == b""
        assert known.content(whole[size:]) == (b"a" if size == 0 else b"")


@pytest.mark.parametrize("content", [b"\xff", b"\xed\xa0\x80", b"\xc3", b"\\n", b'"', b"\t", b""])
def test_content_that_needs_a_reader_is_decoded(content: bytes) -> None:
    whole = _plain("a")
    known = template(whole, 1, without_usage)
    assert known is not None
    assert known.content(whole.replace(b'"a"', b'"' + content + b'"')) == b""
