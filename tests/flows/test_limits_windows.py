"""Windows as clients see them: exact waits, headers, and gateways that share what they know."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import httpx
import msgspec
import pytest

from droveway.contracts.access import Limit
from droveway.contracts.config import Config
from tests.support.flows import Got, ask, only_first
from tests.support.nats import NatsServer
from tests.support.processes import processes
from tests.support.simulator import MESSAGES, chat_body, message_body
from tests.support.stack import Stack, running_stack

EARLIER_S = 0.05


def limited(config: Config, *limits: Limit) -> Config:
    """The first key under these limits, the first provider alone."""
    first, *others = config.keys
    key = msgspec.structs.replace(first, limits=limits)
    return only_first(msgspec.structs.replace(config, keys=(key, *others)))


def client_of(stack: Stack, port: int) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {stack.key}"}
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30)


async def test_a_retry_passes_when_it_was_told_to_and_not_50_ms_before(
    nats: NatsServer, tmp_path: Path
) -> None:
    def configure(config: Config) -> Config:
        return limited(config, Limit(requests=5, window_s=0.6))

    async with (
        running_stack(nats, tmp_path, configure=configure) as stack,
        stack.client() as client,
    ):
        for _ in range(5):  # on a busy machine the earlier one may come late
            if await _waits_exactly(client):
                return
    pytest.fail("no question came early enough to tell")


async def _waits_exactly(client: httpx.AsyncClient) -> bool:
    while True:
        asked_s = time.monotonic()
        denied = await ask(client, chat_body())
        if denied.status == 429:
            break
    answered_s = time.monotonic()
    wait_s = int(denied.headers["retry-after-ms"]) / 1000
    await asyncio.sleep(answered_s + wait_s - EARLIER_S - time.monotonic())
    earlier = await ask(client, chat_body())
    in_time = time.monotonic() < asked_s + wait_s
    await asyncio.sleep(answered_s + wait_s - time.monotonic())
    assert (await ask(client, chat_body())).status == 200
    if in_time:
        assert earlier.status == 429
    return in_time


async def test_a_burst_over_two_gateways_passes_up_to_the_limit_and_all_retries_later(
    nats: NatsServer, tmp_path: Path
) -> None:
    def configure(config: Config) -> Config:
        return limited(config, Limit(requests=100, window_s=4))

    async with (
        running_stack(nats, tmp_path, replicas={"gateway": 2}, configure=configure) as stack,
        client_of(stack, stack.services["gateway"][0].port) as one,
        client_of(stack, stack.services["gateway"][1].port) as other,
    ):
        both = (one, other)
        got = await asyncio.gather(*(_told(both[index % 2], 0.0) for index in range(110)))
        assert Counter(each.status for each in got) == {200: 100, 429: 10}
        waits_s = [int(each.headers["retry-after-ms"]) / 1000 for each in got if each.status == 429]
        again = await asyncio.gather(
            *(_told(both[index % 2], wait_s) for index, wait_s in enumerate(waits_s))
        )
        assert Counter(each.status for each in again) == {200: 10}


async def _told(client: httpx.AsyncClient, after_s: float) -> Got:
    await asyncio.sleep(after_s)
    return await ask(client, chat_body("numbered-1"))


async def test_a_fresh_gateway_serves_its_first_burst_in_full(
    nats: NatsServer, tmp_path: Path
) -> None:
    def configure(config: Config) -> Config:
        return limited(config, Limit(requests=70, window_s=60))

    async with (
        running_stack(nats, tmp_path, configure=configure) as stack,
        stack.client() as old,
        processes(nats, stack, "gateway") as (fresh,),
        client_of(stack, fresh.port) as new,
    ):
        first = await asyncio.gather(*(ask(old, chat_body()) for _ in range(20)))
        burst = await asyncio.gather(*(ask(new, chat_body()) for _ in range(50)))
        assert {each.status for each in (*first, *burst)} == {200}
        left = {int(each.headers["x-ratelimit-remaining-requests"]) for each in burst}
        assert left == set(range(50)), "it counts on from what the other one has let in"
        assert (await ask(new, chat_body())).status == 429


async def test_both_apis_tell_where_a_client_stands(nats: NatsServer, tmp_path: Path) -> None:
    limits = (Limit(requests=9, window_s=60), Limit(tokens=1_000, window_s=60))

    def configure(config: Config) -> Config:
        return limited(config, *limits)

    async with (
        running_stack(nats, tmp_path, configure=configure) as stack,
        stack.client() as client,
    ):
        openai = (await ask(client, chat_body(max_tokens=50))).headers
        anthropic = (await client.post(MESSAGES, json=message_body(max_tokens=50))).headers
        assert openai["x-ratelimit-limit-requests"] == "9"
        assert openai["x-ratelimit-remaining-requests"] == "8"
        assert openai["x-ratelimit-limit-tokens"] == "1000"
        assert 900 < int(openai["x-ratelimit-remaining-tokens"]) < 1_000 - 50
        assert openai["x-ratelimit-reset-requests"].endswith("s")
        assert anthropic["anthropic-ratelimit-requests-limit"] == "9"
        assert anthropic["anthropic-ratelimit-requests-remaining"] == "7"
        assert anthropic["anthropic-ratelimit-requests-reset"].endswith("Z")
        assert anthropic["anthropic-ratelimit-tokens-limit"] == "1000"
        left = int(anthropic["anthropic-ratelimit-tokens-remaining"])
        assert 850 < left < int(openai["x-ratelimit-remaining-tokens"]), "what was unused is back"


async def test_what_never_fits_is_told_at_once_and_not_to_be_tried_again(
    nats: NatsServer, tmp_path: Path
) -> None:
    def configure(config: Config) -> Config:
        return limited(config, Limit(tokens=100, window_s=60))

    async with (
        running_stack(nats, tmp_path, configure=configure) as stack,
        stack.client() as client,
    ):
        got = await ask(client, chat_body(max_tokens=200))
        assert got.error["code"] == "request_exceeds_limit"
        assert "100 per 60 s" in got.error["message"]
        assert got.headers.get("x-should-retry") == "false" or got.status == 400
        assert (await ask(client, chat_body(max_tokens=20))).status == 200
        assert stack.simulator.book.totals.requests == 1
