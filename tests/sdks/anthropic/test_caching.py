"""Prompt caching: the marker reaches the provider, and its counts come back."""

from typing import Any

import pytest

from tests.sdks.anthropic.client import Client
from tests.sdks.marks import TO_ANTHROPIC
from tests.sdks.server import Book

pytestmark = pytest.mark.sdks

RULES = "\n".join(f"Rule {number}: answer politely, briefly and truly." for number in range(400))
HOUR = {"type": "ephemeral", "ttl": "1h"}


def marked(marker: dict[str, str]) -> list[dict[str, Any]]:
    """A system prompt long enough to be cached, with a marker."""
    return [{"type": "text", "text": RULES, "cache_control": marker}]


@TO_ANTHROPIC
@pytest.mark.parametrize("marker", [{"type": "ephemeral"}, HOUR], ids=["five-minutes", "an-hour"])
async def test_a_prompt_is_written_once_and_read_afterwards(
    sdk: Client, book: Book, marker: dict[str, str]
) -> None:
    asked = {"system": marked(marker)}
    first = (await sdk.message(**asked)).usage
    second = (await sdk.message(**asked)).usage
    assert book.last()["system"] == asked["system"]
    assert first.cache_creation_input_tokens > 1024
    assert not first.cache_read_input_tokens
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens
    assert not second.cache_creation_input_tokens
    assert second.input_tokens == first.input_tokens < 1024
    split = first.cache_creation
    written = (split.ephemeral_5m_input_tokens, split.ephemeral_1h_input_tokens)
    count = first.cache_creation_input_tokens
    assert written == ((0, count) if marker is HOUR else (count, 0))


async def test_a_stream_tells_the_same_counts(sdk: Client, book: Book) -> None:
    asked = {"system": marked({"type": "ephemeral"})}
    await sdk.message(**asked)
    whole = (await sdk.message(**asked)).usage
    _, message = await sdk.helper(**asked)
    assert whole.cache_read_input_tokens > 1024
    for usage in (message.usage, (await sdk.stream(**asked)).of("message_delta")[0].usage):
        assert usage.cache_read_input_tokens == whole.cache_read_input_tokens
        assert usage.input_tokens == whole.input_tokens


async def test_no_token_is_counted_twice(sdk: Client, book: Book) -> None:
    asked = {"system": marked({"type": "ephemeral"})}
    first, second = [(await sdk.message(**asked)).usage for _ in range(2)]
    for usage in (first, second):
        parts = (usage.cache_creation_input_tokens or 0, usage.cache_read_input_tokens or 0)
        assert usage.input_tokens + sum(parts) < len(RULES) / 2
    whole = [
        one.input_tokens
        + (one.cache_creation_input_tokens or 0)
        + (one.cache_read_input_tokens or 0)
        for one in (first, second)
    ]
    assert whole[0] == whole[1]


@TO_ANTHROPIC
async def test_a_request_may_be_marked_as_a_whole(sdk: Client, book: Book) -> None:
    await sdk.message(system=RULES, cache_control={"type": "ephemeral"})
    assert book.last()["cache_control"] == {"type": "ephemeral"}
