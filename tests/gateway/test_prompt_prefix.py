"""What stands for a prompt's beginning: the same in all turns of a conversation, of one tenant."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts.config import Config, Provider, Route, RouteTarget, Strategy, Tier
from droveway.gateway.prompt_prefix import PromptPrefixes

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
SYSTEM = {"role": "system", "content": "You are terse."}
FIRST = {"role": "user", "content": "What is a road?"}
LATER = [{"role": "assistant", "content": "A way."}, {"role": "user", "content": "And a river?"}]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def _prefixes(strategy: Strategy = "cached") -> PromptPrefixes:
    tier = Tier(targets=(RouteTarget(provider="a"),))
    routes = (
        Route(model="m", tiers=(tier,)),
        Route(model="*", tiers=(tier,), strategy=strategy),
    )
    made = PromptPrefixes()
    made.configure(Config(providers=(Provider(id="a", base_url="https://p.test"),), routes=routes))
    return made


PREFIXES = _prefixes()


def _of(*messages: dict[str, Any], tenant: str = "acme", **fields: Any) -> bytes:
    return PREFIXES.of(tenant, {"model": "m", "messages": [*messages], **fields})


def test_all_turns_of_a_conversation_have_the_same() -> None:
    first = _of(SYSTEM, FIRST, tools=TOOLS)
    assert len(first) == 16
    assert _of(SYSTEM, FIRST, *LATER, tools=TOOLS) == first
    assert _of(SYSTEM, FIRST, *LATER, *LATER, tools=TOOLS, temperature=1, stream=True) == first


@pytest.mark.parametrize(
    "other",
    [
        _of(SYSTEM, {"role": "user", "content": "What is a river?"}, tools=TOOLS),
        _of({"role": "system", "content": "You are verbose."}, FIRST, tools=TOOLS),
        _of(FIRST, tools=TOOLS),
        _of(SYSTEM, FIRST),
        _of(SYSTEM, FIRST, tools=TOOLS, tenant="other"),
        _of(SYSTEM, FIRST, tools=TOOLS, prompt_cache_key="mine"),
    ],
    ids=["question", "system", "no-system", "no-tools", "tenant", "key"],
)
def test_another_beginning_or_tenant_has_another(other: bytes) -> None:
    assert other != _of(SYSTEM, FIRST, tools=TOOLS)


def test_prompts_under_one_key_of_the_client_share_it() -> None:
    one, other = _of(FIRST, prompt_cache_key="faq"), _of(SYSTEM, prompt_cache_key="faq")
    assert one == other
    assert one != _of(FIRST, prompt_cache_key="faq", tenant="other")


def test_a_marker_that_moves_on_changes_nothing() -> None:
    """Anthropic's clients mark the newest block, and turn a text into a block to mark it."""
    block = {"type": "text", "text": FIRST["content"]}
    marked = {**block, "cache_control": {"type": "ephemeral"}}
    picture: dict[str, Any] = {"type": "image", "source": {"type": "base64", "data": "aGk="}}
    plain = _of(FIRST, system="You are terse.")
    assert _of({"role": "user", "content": [marked]}, *LATER, system="You are terse.") == plain
    assert (
        _of(
            {"role": "user", "content": [block]},
            system=[{"type": "text", "text": SYSTEM["content"]}],
        )
        == plain
    )
    with_picture = _of({"role": "user", "content": [picture, marked]})
    assert with_picture != _of({"role": "user", "content": [marked]})
    marked_tool = {**TOOLS[0], "cache_control": {"type": "ephemeral"}}
    assert _of(FIRST, tools=[*TOOLS, marked_tool]) == _of(FIRST, tools=TOOLS * 2)
    newer = {**picture, "cache_control": {"type": "ephemeral"}}
    assert _of({"role": "user", "content": [newer, block]}) == with_picture


def test_long_tools_hide_neither_the_system_prompt_nor_the_question() -> None:
    many = TOOLS * 1_000
    long = {"role": "system", "content": "x" * 100_000}
    found = {
        _of(SYSTEM, FIRST, tools=many),
        _of(long, FIRST, tools=many),
        _of(long, LATER[1], tools=many),
    }
    assert len(found) == 3


@pytest.mark.parametrize(
    "request_",
    [{"input": "a road"}, {"messages": []}, {"messages": "no"}, {"prompt_cache_key": 7}],
    ids=["embeddings", "empty", "no-list", "key-that-is-no-text"],
)
def test_what_is_no_prompt_has_none(request_: dict[str, Any]) -> None:
    assert PREFIXES.of("acme", request_) == b""


@pytest.mark.parametrize("strategy", ["weighted", "fastest", "cheapest"])
def test_none_is_computed_where_no_route_goes_by_it(strategy: Strategy) -> None:
    assert _prefixes(strategy).of("acme", {"messages": [FIRST]}) == b""


@given(content=JSON, tools=JSON, system=JSON)
def test_whatever_the_parts_are_the_request_is_served(
    content: Any, tools: Any, system: Any
) -> None:
    """Checks of each dialect come before; what one of them lets pass mustn't fail here."""
    message = {"role": "user", "content": content}
    found = _of(message, tools=tools, system=system)
    again = msgspec.json.decode(msgspec.json.encode([message, tools, system]))
    assert _of(again[0], tools=again[1], system=again[2]) == found
