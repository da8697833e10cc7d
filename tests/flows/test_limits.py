"""Request limits over two gateways, and what is said when a part of the system is missing."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import httpx
import msgspec
import pytest

from droveway.contracts.access import Key, Limit
from droveway.contracts.config import Config
from droveway.runtime.api_key import hash_key, make_key, parse_key
from tests.support.flows import (
    Got,
    ask,
    eventually,
    lines_until,
    numbered,
    only_first,
    route,
    with_timeouts,
)
from tests.support.nats import NatsServer, write_droveway_config
from tests.support.pace import Pace
from tests.support.processes import processes
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def _limits(config: Config, *limits: tuple[int, float]) -> Config:
    """The first key under other limits."""
    fresh = tuple(Limit(requests=number, window_s=window_s) for number, window_s in limits)
    first, *others = config.keys
    return msgspec.structs.replace(
        config, keys=(msgspec.structs.replace(first, limits=fresh), *others)
    )


def _client(stack: Stack, gateway: int, key: str = "") -> httpx.AsyncClient:
    url = f"http://127.0.0.1:{stack.services['gateway'][gateway].port}"
    headers = {"authorization": f"Bearer {key or stack.key}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=30)


async def test_two_gateways_admit_exactly_the_limit(nats: NatsServer, tmp_path: Path) -> None:
    other = make_key("test")
    other_entry = Key(
        id=parse_key(other).id,
        sha256=hash_key(other),
        tenant="other",
        limits=(Limit(requests=3, window_s=60),),
    )

    def configure(config: Config) -> Config:
        config = msgspec.structs.replace(config, keys=(*config.keys, other_entry))
        return only_first(_limits(config, (100, 60)))

    replicas = {"gateway": 2, "router": 2}
    async with (
        running_stack(nats, tmp_path, replicas=replicas, configure=configure) as stack,
        _client(stack, 0) as first,
        _client(stack, 1) as second,
        _client(stack, 1, other) as neighbour,
    ):
        began_s = time.monotonic()
        got = await asyncio.gather(
            *(
                ask([first, second][index % 2], chat_body(stream=index % 4 < 2))
                for index in range(110)
            )
        )
        took_s = time.monotonic() - began_s
        assert Counter(one.status for one in got) == {200: 100, 429: 10}
        assert stack.simulator.book.totals.requests == 100
        for one in got:
            if one.status == 429:
                _is_a_denial(one, took_s)
        with Pace() as pace:
            assert (await ask(first, chat_body())).status == 429
        assert pace.elapsed_s < 0.5, "a denial is told at once"
        passed = [(await ask(neighbour, chat_body())).status for _ in range(4)]
        assert passed == [200, 200, 200, 429], "another tenant's key has its own window"


def _is_a_denial(got: Got, took_s: float) -> None:
    assert got.error["type"] == "rate_limit_error"
    assert got.error["code"] == "rate_limit_exceeded"
    assert got.error["message"].startswith(
        "Rate limit exceeded for model numbered-5: 100 requests per 60 s "
        "(key: 100 used, 1 asked for). Please retry after "
    )
    assert got.error["param"] is None
    assert got.headers["x-ratelimit-limit-requests"] == "100"
    assert got.headers["x-ratelimit-remaining-requests"] == "0"
    wait_ms = int(got.headers["retry-after-ms"])
    assert 60_000 - took_s * 1000 - 1_000 <= wait_ms <= 61_000
    assert int(got.headers["retry-after"]) == -(-wait_ms // 1000)


async def test_a_denied_client_passes_when_it_was_told_to_come_back(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(
            nats, tmp_path, configure=lambda config: only_first(_limits(config, (3, 1.0)))
        ) as stack,
        stack.client() as client,
    ):
        got = [await ask(client, chat_body()) for _ in range(4)]
        assert [one.status for one in got] == [200, 200, 200, 429]
        assert [one.headers["x-ratelimit-remaining-requests"] for one in got] == [
            "2",
            "1",
            "0",
            "0",
        ]
        await asyncio.sleep(int(got[3].headers["retry-after-ms"]) / 1000)
        assert (await ask(client, chat_body())).status == 200


@BOTH
async def test_without_a_limiter_nothing_is_spent(
    nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    quick = {"DROVEWAY_ROUTER_ADMIT_WITHIN_MS": "400"}
    async with (
        running_stack(nats, tmp_path, environment=quick) as stack,
        stack.client() as client,
    ):
        await stack.services["limiter"][0].end()
        with Pace() as pace:
            got = await ask(client, chat_body(stream=stream))
        assert (got.status, got.error["code"]) == (503, "limiter_unavailable")
        assert got.headers["retry-after"] == "1"
        assert pace.elapsed_s < 1.0
        assert stack.simulator.book.totals.requests == 0


@BOTH
async def test_a_limiter_that_comes_back_is_waited_for(
    nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    async with running_stack(nats, tmp_path, replicas={"limiter": 0}) as stack:
        async with stack.client() as client:
            asked = [
                asyncio.ensure_future(ask(client, chat_body(stream=stream))) for _ in range(20)
            ]
            async with processes(nats, stack, "limiter"):
                got = await asyncio.gather(*asked)
        assert [one.status for one in got] == [200] * 20
        assert stack.simulator.book.totals.requests == 20


@BOTH
async def test_without_a_router_the_client_is_told_at_once(
    nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    async with running_stack(nats, tmp_path) as stack, stack.client() as client:
        await client.get("/v1/models")
        await stack.services["router"][0].end()
        with Pace() as pace:
            got = await ask(client, chat_body(stream=stream))
        assert (got.status, got.error["code"]) == (503, "service_unavailable")
        assert pace.elapsed_s < 0.1
        assert got.headers["retry-after"] == "1"


@BOTH
async def test_without_a_caller_the_client_is_told_at_once(
    nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    async with running_stack(nats, tmp_path, simulators=2) as stack, stack.client() as client:
        await client.get("/v1/models")
        await stack.services["caller"][0].end()
        with Pace() as pace:
            got = await ask(client, chat_body(stream=stream))
        assert (got.status, got.error["code"]) == (503, "service_unavailable")
        assert pace.elapsed_s < 0.2


@BOTH
async def test_a_busy_provider_is_passed_over(
    nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    def configure(config: Config) -> Config:
        providers = tuple(
            msgspec.structs.replace(provider, max_in_flight=1) for provider in config.providers
        )
        return msgspec.structs.replace(config, providers=providers)

    async with (
        running_stack(
            nats,
            tmp_path,
            simulators=2,
            configure=configure,
            environment={"DROVEWAY_ROUTER_QUEUE_S": "0"},
            token_interval_ms=20,
        ) as stack,
        stack.client() as client,
        lines_until(client, chat_body("numbered-500", stream=True), "t0"),
    ):
        second = asyncio.ensure_future(ask(client, chat_body("numbered-60", stream=stream)))
        await eventually(lambda: stack.simulators[1].book.totals.requests == 1)
        third = await ask(client, chat_body(stream=stream))
        assert (third.status, third.error["code"]) == (503, "provider_busy")
        assert third.headers["retry-after"] == "1"
        got = await second
        assert got.headers["x-droveway-provider"] == "upstream-2"
        assert got.said == numbered(60)


@BOTH
async def test_a_deadline_in_the_middle_is_told(
    nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    async with (
        running_stack(nats, tmp_path, configure=only_first, token_interval_ms=20) as stack,
        stack.client() as client,
    ):
        headers = {"x-request-timeout": "0.3"}
        began_s = time.monotonic()
        with Pace() as pace:
            got = await ask(client, chat_body("numbered-500", stream=stream), headers=headers)
        assert time.monotonic() - began_s > 0.25
        assert pace.elapsed_s < 0.9
        assert got.error["type"] == "timeout_error"
        assert got.status == (200 if stream else 504)
        assert got.whole is not stream
        assert "[DONE]" not in got.text
        await eventually(lambda: stack.simulator.book.totals.open_requests == 0, 1.0)


async def test_a_draining_gateway_lets_its_stream_end(nats: NatsServer, tmp_path: Path) -> None:
    async with (
        running_stack(nats, tmp_path, configure=only_first, token_interval_ms=10) as stack,
        stack.client() as client,
    ):
        running = asyncio.ensure_future(ask(client, chat_body("numbered-80", stream=True)))
        await eventually(lambda: stack.simulator.book.totals.requests == 1)
        await stack.services["gateway"][0].end()
        got = await running
        assert got.done
        assert got.whole
        assert got.said == numbered(80)


@pytest.mark.parametrize("service", ["router", "limiter", "metrics", "caller"])
async def test_a_service_that_ends_takes_no_stream_with_it(
    nats: NatsServer, tmp_path: Path, service: str
) -> None:
    async with (
        running_stack(nats, tmp_path, configure=only_first, token_interval_ms=10) as stack,
        stack.client() as client,
    ):
        running = asyncio.ensure_future(ask(client, chat_body("numbered-60", stream=True)))
        await eventually(lambda: stack.simulator.book.totals.requests == 1)
        await asyncio.sleep(0.05)
        await stack.services[service][0].end()
        got = await running
        assert got.done
        assert got.said == numbered(60)


async def test_a_stream_longer_than_the_callers_drain_is_told(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(
            nats,
            tmp_path,
            configure=only_first,
            token_interval_ms=10,
            environment={"DROVEWAY_CALLER_DRAIN_S": "0.2"},
        ) as stack,
        stack.client() as client,
    ):
        running = asyncio.ensure_future(ask(client, chat_body("numbered-1000", stream=True)))
        await eventually(lambda: stack.simulator.book.totals.requests == 1)
        await asyncio.sleep(0.05)
        await stack.services["caller"][0].end()
        got = await running
        assert got.error["code"] == "server_shutting_down"
        assert not got.whole
        assert "[DONE]" not in got.text
        assert numbered(1000).startswith(got.said)
        assert stack.simulator.book.totals.open_requests == 0


async def test_a_second_caller_takes_over_what_the_first_one_drains(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(nats, tmp_path, configure=only_first, replicas={"caller": 2}) as stack,
        stack.client() as client,
    ):
        asked: list[asyncio.Task[Got]] = []
        for index in range(60):
            asked.append(asyncio.ensure_future(ask(client, chat_body(stream=index % 2 == 0))))
            await asyncio.sleep(0.005)
            if index == 20:
                ending = asyncio.ensure_future(stack.services["caller"][0].end())
        got = await asyncio.gather(*asked)
        await ending
        assert Counter(one.status for one in got) == {200: 60}
        assert {one.said for one in got} == {numbered(5)}


async def test_a_reload_under_load_loses_nothing(nats: NatsServer, tmp_path: Path) -> None:
    versions: list[Config] = []

    def configure(config: Config) -> Config:
        config = only_first(config)
        versions.append(config)
        versions.append(with_timeouts(config, first_token_s=30.0))
        versions.append(only_first(config, route("numbered-9", ("upstream-1", "numbered-9"))))
        return config

    async with (
        running_stack(nats, tmp_path, configure=configure) as stack,
        stack.client() as client,
    ):
        asked: list[asyncio.Task[Got]] = []
        for index in range(120):
            if index % 20 == 10:
                version = versions[index // 20 % 3]
                write_droveway_config(stack.config_path.with_suffix(".new"), version)
                stack.config_path.with_suffix(".new").replace(stack.config_path)
            asked.append(asyncio.ensure_future(ask(client, chat_body(stream=index % 2 == 0))))
            await asyncio.sleep(0.01)
        got = await asyncio.gather(*asked)
        assert Counter(one.status for one in got) == {200: 120}
        assert {one.said for one in got} == {numbered(5)}
