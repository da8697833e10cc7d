"""What an Anthropic client may send, and what it is told otherwise."""

from typing import Any

import pytest

from droveway.dialects.anthropic import checks as anthropic_checks
from droveway.dialects.anthropic.checks import check
from droveway.dialects.untranslatable import Untranslatable

GOOD: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 5,
    "messages": [{"role": "user", "content": "Hi"}],
}
MARKED = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}


def refused(*, counting: bool = False, **fields: Any) -> str:
    with pytest.raises(Untranslatable) as refusal:
        check(GOOD | fields, counting=counting)
    assert refusal.value.message
    return refusal.value.param


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"max_tokens": 0},
        {"stream": False, "system": "S", "tools": [], "stop_sequences": ["x"]},
        {"system": [{"type": "text", "text": "S"}, {"type": "cache_control", "index": 0}]},
        {"messages": [*GOOD["messages"], {"role": "system", "content": "S"}]},
        {"messages": [*GOOD["messages"], {"type": "cache_control", "index": 0}]},
        {"messages": [{"role": "assistant", "content": [{"type": "of the future"}]}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}, {"name": "x"}]},
        {"metadata": {"user_id": None}, "new_field": 1},
    ],
)
def test_what_the_provider_may_judge_passes(fields: dict[str, Any]) -> None:
    check(GOOD | fields)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": "m" * 300}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.0}, "max_tokens"),
        ({"max_tokens": 10**12}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"system": 7}, "system"),
        ({"system": ["S"]}, "system[0]"),
        ({"messages": None}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": [], "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
        ({"tools": {}}, "tools"),
        ({"tools": [1]}, "tools[0]"),
        ({"tools": [{"type": 1}]}, "tools[0].type"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"stop_sequences": [1]}, "stop_sequences[0]"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields) == param


def test_counting_needs_no_max_tokens() -> None:
    request = {name: value for name, value in GOOD.items() if name != "max_tokens"}
    check(request, counting=True)
    assert refused(counting=True, max_tokens="x") == "max_tokens"
    with pytest.raises(Untranslatable, match="max_tokens is missing"):
        check(request)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": GOOD["messages"] * (anthropic_checks.MAX_MESSAGES + 1)}, "messages"),
        ({"tools": [{"name": "x"}] * (anthropic_checks.MAX_TOOLS + 1)}, "tools"),
        ({"stop_sequences": ["x"] * (anthropic_checks.MAX_STOP_SEQUENCES + 1)}, "stop_sequences"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text"}] * 1_000},
                ]
                * (anthropic_checks.MAX_BLOCKS // 1_000 + 1)
            },
            "messages",
        ),
    ],
    ids=["messages", "tools", "stop_sequences", "blocks"],
)
def test_more_than_a_cap_is_refused(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields) == param


def test_a_fifth_cache_breakpoint_is_refused_wherever_it_stands() -> None:
    four: dict[str, Any] = {
        "system": [MARKED],
        "tools": [{"name": "x", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [MARKED]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "a", "content": [MARKED]}],
            },
        ],
    }
    check(GOOD | four)
    assert refused(**four, cache_control={"type": "ephemeral"}) == "messages"
    system = [MARKED, {"type": "cache_control", "index": 0}]
    assert refused(**four | {"system": system}) == "messages"
