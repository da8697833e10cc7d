"""Requests at the same time: places that are held while a request runs, and no longer."""

import asyncio
import time
from pathlib import Path

import httpx
import msgspec

from droveway.caller.leases import RENEW_EVERY_S
from droveway.contracts.access import Limit
from droveway.contracts.config import Config
from tests.support.flows import ask, lines_until, only_first
from tests.support.nats import NatsServer
from tests.support.processes import processes
from tests.support.simulator import chat_body
from tests.support.stack import running_stack

LEASE_MS = 1_500
LATE_S = 1.0
"""Looking for leases that are over, and a busy machine."""


def _one_at_a_time(config: Config) -> Config:
    first, *others = config.keys
    key = msgspec.structs.replace(first, limits=(Limit(concurrency=1),))
    return only_first(msgspec.structs.replace(config, keys=(key, *others)))


async def test_a_client_that_asks_one_after_the_other_is_never_refused(
    nats: NatsServer, tmp_path: Path
) -> None:
    replicas = {"router": 2, "caller": 2, "limiter": 2}
    async with (
        running_stack(nats, tmp_path, replicas=replicas, configure=_one_at_a_time) as stack,
        stack.client() as client,
    ):
        got = [await ask(client, chat_body(stream=number % 2 == 0)) for number in range(40)]
        assert [one.status for one in got] == [200] * 40


async def test_of_two_at_once_one_is_refused_and_then_passes(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(nats, tmp_path, configure=_one_at_a_time, token_interval_ms=20) as stack,
        stack.client() as client,
    ):
        async with lines_until(client, chat_body("numbered-200", stream=True), "t0"):
            refused = await ask(client, chat_body())
            assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
            assert "1 requests at the same time" in refused.error["message"]
            assert refused.headers["retry-after-ms"] == "1000"
        await _until_served(client, 1.0)  # its client has left: the place is free


async def test_a_failed_request_holds_no_place(nats: NatsServer, tmp_path: Path) -> None:
    async with (
        running_stack(nats, tmp_path, configure=_one_at_a_time) as stack,
        stack.client() as client,
    ):
        for model in ("fault-400", "fault-500", "fault-numbered-5+cut-after-2") * 2:
            got = await ask(client, chat_body(model))
            assert got.status not in (200, 429)
        assert (await ask(client, chat_body())).status == 200


async def test_a_caller_that_is_killed_frees_its_places_when_the_lease_is_over(
    nats: NatsServer, tmp_path: Path
) -> None:
    environment = {"DROVEWAY_LIMITER_LEASE_MS": str(LEASE_MS)}
    async with (
        running_stack(
            nats, tmp_path, replicas={"caller": 0}, configure=_one_at_a_time,
            environment=environment, token_interval_ms=20,
        ) as stack,
        stack.client() as client,
        processes(nats, stack, "caller") as (doomed,),
        lines_until(client, chat_body("numbered-500", stream=True), "t0"),
        processes(nats, stack, "caller"),
    ):  # fmt: skip
        assert (await ask(client, chat_body())).status == 429
        killed_s = time.monotonic()
        doomed.kill()
        await _until_served(client, LEASE_MS / 1000 + LATE_S)
        assert time.monotonic() - killed_s > LEASE_MS / 1000 - RENEW_EVERY_S


async def _until_served(client: httpx.AsyncClient, within_s: float) -> None:
    until_s = time.monotonic() + within_s
    while (got := await ask(client, chat_body())).status != 200:
        assert got.status == 429, got
        assert time.monotonic() < until_s, "its place isn't free yet"
        await asyncio.sleep(0.02)
