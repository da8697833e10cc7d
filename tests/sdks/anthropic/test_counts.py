"""The SDK's `count_tokens`: the provider's own count, else an estimate that says so."""

from typing import Any

import pytest

from tests.sdks.anthropic.client import Client
from tests.sdks.marks import TO_ANTHROPIC, TO_OPENAI
from tests.sdks.server import Book

pytestmark = pytest.mark.sdks


async def _count(sdk: Client, model: str = "") -> tuple[Any, int]:
    """The HTTP answer and the count."""
    asked = sdk.question(
        {"model": model} if model else {},
        messages=[{"role": "user", "content": "How many tokens has this?"}],
    )
    raw = await sdk.call(sdk.raw.messages.with_raw_response.count_tokens, **asked)
    counted = (await raw.parse()) if sdk.is_async else raw.parse()
    return raw, counted.input_tokens


@TO_ANTHROPIC
async def test_a_count_is_the_providers_own(sdk: Client, book: Book) -> None:
    raw, count = await _count(sdk)
    assert count > 0
    assert "x-droveway-estimated" not in raw.headers
    [entry] = book.entries()
    assert entry["endpoint"] == "count_tokens"


@TO_OPENAI
async def test_a_provider_of_another_dialect_is_not_asked(sdk: Client, book: Book) -> None:
    raw, count = await _count(sdk)
    assert count > 0
    assert raw.headers["x-droveway-estimated"] == "true"
    assert book.entries() == []


@TO_ANTHROPIC
async def test_a_provider_that_fails_leaves_an_estimate(sdk: Client) -> None:
    raw, count = await _count(sdk, "fault-500")
    assert count > 0
    assert raw.headers["x-droveway-estimated"] == "true"
