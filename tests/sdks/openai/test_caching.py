"""Prompt caching and thoughts, which this API tells only in part, at providers of both dialects."""

from typing import Any

import pytest

from tests.sdks.marks import TO_ANTHROPIC, TO_OPENAI
from tests.sdks.openai.client import Client
from tests.sdks.server import Book

pytestmark = pytest.mark.sdks

RULES = "\n".join(f"Rule {number}: answer politely, briefly and truly." for number in range(400))


def ruled(**marker: Any) -> list[dict[str, Any]]:
    """A conversation that begins with a long prompt, which may be marked."""
    part = {"type": "text", "text": RULES, **marker}
    return [{"role": "system", "content": [part]}, {"role": "user", "content": "hello"}]


@TO_OPENAI
async def test_what_a_provider_caches_by_itself_is_counted(sdk: Client, book: Book) -> None:
    first, second = [(await sdk.chat(messages=ruled())).usage for _ in range(2)]
    assert first.prompt_tokens_details.cached_tokens == 0
    assert 1024 < second.prompt_tokens_details.cached_tokens < second.prompt_tokens
    assert second.prompt_tokens == first.prompt_tokens
    streamed = await sdk.stream(messages=ruled(), stream_options={"include_usage": True})
    assert streamed.chunks[-1].usage.model_dump() == second.model_dump()


@TO_ANTHROPIC
@pytest.mark.parametrize(
    "marker",
    [
        {"prompt_cache_breakpoint": {"mode": "explicit"}},
        {"cache_control": {"type": "ephemeral"}},
    ],
    ids=["openais", "anthropics"],
)
async def test_a_marked_prompt_is_cached_by_a_provider_that_wants_marks(
    sdk: Client, book: Book, marker: dict[str, Any]
) -> None:
    first, second = [(await sdk.chat(messages=ruled(**marker))).usage for _ in range(2)]
    written = first.prompt_tokens_details.cache_write_tokens
    assert 1024 < written <= first.prompt_tokens
    assert second.prompt_tokens_details.cached_tokens == written
    assert second.prompt_tokens == first.prompt_tokens, "the whole input, cached or not"
    assert second.total_tokens == second.prompt_tokens + second.completion_tokens


@TO_ANTHROPIC
async def test_thoughts_that_are_asked_for_are_shown_beside_the_content(sdk: Client) -> None:
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    asked = {"model": "sim-small", "max_completion_tokens": 4096, "extra_body": thinking}
    message = (await sdk.chat(**asked)).choices[0].message
    assert message.content
    assert message.reasoning_content
    streamed = await sdk.stream(**asked)
    thoughts = [getattr(one.delta, "reasoning_content", None) or "" for one in streamed.choices()]
    assert "".join(thoughts) == message.reasoning_content
    assert streamed.text() == message.content


@TO_ANTHROPIC
async def test_effort_is_told_in_the_providers_own_word(sdk: Client, book: Book) -> None:
    await sdk.chat(model="sim-small", reasoning_effort="high")
    assert book.last()["output_config"] == {"effort": "high"}
