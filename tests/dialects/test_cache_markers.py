"""Markers of cached prefixes that are blocks of their own, made fields of the blocks they mark."""

import copy
from typing import Any

import pytest

from droveway.dialects.anthropic.cache_markers import FOLDED, LOST, breakpoints, fold_cache_markers

CONTROL = {"type": "ephemeral"}
A: dict[str, Any] = {"type": "text", "text": "a"}
B: dict[str, Any] = {"type": "text", "text": "b"}
THOUGHT: dict[str, Any] = {"type": "thinking", "thinking": "t", "signature": "s"}


def marker(*index: object) -> dict[str, Any]:
    return {"type": "cache_control"} | ({"index": index[0]} if index else {})


def marked(block: dict[str, Any]) -> dict[str, Any]:
    return block | {"cache_control": CONTROL}


def folded(request: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    before = copy.deepcopy(request)
    made = fold_cache_markers(request)
    assert request == before
    return made


def test_a_request_without_markers_is_the_same_object() -> None:
    request = {"system": [marked(A)], "messages": [{"role": "user", "content": "a"}, 7], "x": 1}
    made, warnings = folded(request)
    assert made is request
    assert warnings == ()


@pytest.mark.parametrize(
    ("blocks", "made", "warning"),
    [
        ([A, marker(0)], [marked(A)], FOLDED),
        ([A, marker()], [marked(A)], FOLDED),
        ([A, B, marker(0)], [marked(A), B], FOLDED),
        ([A, marker(0), B, marker(1)], [marked(A), marked(B)], FOLDED),
        ([A, marker(9), B], [marked(A), B], FOLDED),
        ([A, marker(-1), B], [marked(A), B], FOLDED),
        ([A, marker("0")], [marked(A)], FOLDED),
        ([marker(), A], [marked(A)], FOLDED),
        ([A, marker() | {"authorization": "high"}], [marked(A)], FOLDED),
        ([A, THOUGHT, marker(1)], [marked(A), THOUGHT], FOLDED),
        ([THOUGHT, marker(0)], [THOUGHT], LOST),
        ([marker(0)], [], LOST),
    ],
)
def test_a_marker_marks_its_block_or_the_one_before(blocks: Any, made: Any, warning: str) -> None:
    assert folded({"system": blocks}) == ({"system": made}, (warning,))
    if made:
        request = {"messages": [{"role": "user", "content": blocks}]}
        assert folded(request)[0] == {"messages": [{"role": "user", "content": made}]}


def test_a_block_keeps_the_mark_it_has() -> None:
    own = A | {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert folded({"system": [own, marker(0)]})[0]["system"] == [own]


def test_a_message_of_markers_only_marks_the_message_before() -> None:
    said = {"role": "user", "content": "hello"}
    hello = marked({"type": "text", "text": "hello"})
    only = {"role": "user", "content": [marker(0)]}
    made, warnings = folded({"messages": [said, only, said]})
    assert made["messages"] == [{"role": "user", "content": [hello]}, said]
    assert warnings == (FOLDED,)
    assert folded({"messages": [only, said]}) == ({"messages": [said]}, (LOST,))


def test_a_marker_among_the_messages_marks_the_message_of_its_index() -> None:
    said = {"role": "user", "content": "hello"}
    end = {"role": "user", "content": [marked({"type": "text", "text": "hello"})]}
    assert folded({"messages": [said, said, marker(0)]})[0]["messages"] == [end, said]
    assert folded({"messages": [said, said, marker(7)]})[0]["messages"] == [said, end]


def test_breakpoints_are_counted_everywhere() -> None:
    result = {"type": "tool_result", "content": [marked(A)]}
    request = {
        "cache_control": CONTROL,
        "system": [marked(A), B],
        "tools": [{"name": "x", "cache_control": CONTROL}, {"name": "y", "cache_control": None}],
        "messages": [{"role": "user", "content": [result, marked(B)]}, {"content": "x"}, None],
    }
    assert breakpoints(request) == 5
    assert breakpoints({}) == 0
