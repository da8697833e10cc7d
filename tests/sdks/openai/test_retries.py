"""What the SDK tries again by itself, when, and what it must not."""

import asyncio
import uuid

import openai
import pytest

from tests.sdks.openai.client import Client, opened
from tests.sdks.openai.failures import BAD, Failure, broken, check, limited
from tests.sdks.server import Book, Droveway

pytestmark = pytest.mark.sdks


async def test_a_rate_limited_client_waits_as_told_and_passes(
    server: Droveway, flavour: str
) -> None:
    key = server.keys[f"limited-{flavour}"]
    async with opened(flavour, server, api_key=key) as client:
        raw = await client.raw_chat()
        assert raw.headers["x-ratelimit-limit-requests"] == "1"
        assert raw.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat()
    headers = check(caught.value, limited("rate_limit_exceeded"))
    assert 500 < int(headers["retry-after-ms"]) <= 1_100
    assert int(headers["retry-after"]) in (1, 2)
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-should-retry"] == "true"
    # The SDK's own first wait is half a second at most: one retry passes only by the header.
    async with opened(flavour, server, api_key=key, max_retries=1) as client:
        raw = await client.raw_chat()
    assert raw.retries_taken == 1
    assert raw.parse().choices[0].finish_reason == "stop"


async def test_a_providers_passing_error_is_tried_again_by_the_sdk(
    server: Droveway, flavour: str, upstream: str, book: Book
) -> None:
    async with opened(flavour, server, upstream, max_retries=1) as client:
        raw = await client.raw_chat(model="fault-503+times-1")
    assert raw.retries_taken == 1
    assert [entry["status"] for entry in book.entries()] == [503, 200]


async def test_all_targets_failed_is_not_tried_again(
    server: Droveway, flavour: str, book: Book
) -> None:
    async with opened(flavour, server, max_retries=2) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat(model="both-fail")
    headers = check(caught.value, broken(503, "all_targets_failed"))
    assert headers["x-should-retry"] == "false"
    details = caught.value.body["details"]
    assert [(one["target"], one["code"], one["status"]) for one in details] == [
        ("upstream-1/fault-500", "provider_unavailable", 500),
        ("upstream-1/fault-403", "provider_auth_error", 403),
    ]
    assert client.sent == 1
    assert [entry["model"] for entry in book.entries()] == ["fault-500", "fault-403"]


async def test_what_was_retried_here_is_not_tried_again(
    server: Droveway, flavour: str, upstream: str, book: Book
) -> None:
    async with opened(flavour, server, upstream, max_retries=2) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.chat(model="retried-here")
    headers = check(caught.value, broken(503, "provider_unavailable"))
    assert headers["x-should-retry"] == "false"
    assert "retry-after" not in headers
    assert client.sent == 1
    assert len(book.entries()) == 2, "2 attempts of ours, not 2 for each of the SDK's 3"


async def test_a_second_target_serves_without_the_sdk_noticing(sdk: Client, book: Book) -> None:
    raw = await sdk.raw_chat(model="rescued")
    assert raw.headers["x-droveway-attempts"] == "2"
    assert raw.retries_taken == 0
    assert (await sdk.stream(model="rescued")).text() == "t0 t1 t2 t3 t4 "
    assert [entry["model"] for entry in book.entries()] == ["fault-500", "numbered-5"] * 2


async def test_an_idempotency_key_never_calls_the_provider_twice(
    server: Droveway, flavour: str, book: Book
) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    slow = {"model": "fault-slow-first-token-400", "extra_headers": headers}
    async with opened(flavour, server, max_retries=2) as client:
        running = asyncio.ensure_future(client.chat(**slow))
        await asyncio.to_thread(book.wait_for, "open")
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat(**slow)
        check(caught.value, _conflict("idempotency_in_progress"))
        assert (await running).choices[0].finish_reason == "stop"
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat(**slow)
        check(caught.value, _conflict("already_completed"))
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat(**slow, temperature=0.5)
    reused = Failure(openai.UnprocessableEntityError, 422, "idempotency_key_reused", BAD)
    check(caught.value, reused)
    assert client.sent == 4
    assert len(book.entries()) == 1


async def test_a_provider_of_the_other_dialect_rescues_as_well(
    sdk: Client, book: Book, upstream: str
) -> None:
    answer = await sdk.chat(model="rescued-elsewhere")
    assert answer.choices[0].message.content == "t0 t1 t2 t3 t4 "
    assert (await sdk.stream(model="rescued-elsewhere")).text() == "t0 t1 t2 t3 t4 "
    other = "anthropic" if upstream == "openai" else "openai"
    assert book.dialects() == [upstream, other] * 2


def _conflict(code: str) -> Failure:
    return Failure(openai.ConflictError, 409, code, "conflict_error")
