"""Requests that find no room wait for it in the router; the simulator's book is judge."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.cli import ports
from droveway.contracts.access import Limit
from droveway.contracts.config import Config
from droveway.simulator.book import Entry
from tests.support.flows import (
    Got,
    ask,
    each_once,
    entries,
    eventually,
    nothing_open,
    only_first,
    route,
    rows_of,
    samples,
)
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
ADMIN_PORT = ports.free()
SEEN = {"DROVEWAY_ROUTER_ADMIN_PORT": str(ADMIN_PORT)}
SLOW = "fault-numbered-3+slow-first-token-200"
HELD = "fault-numbered-3+slow-first-token-1500"


def room_for(calls: int, **fields: Any) -> Callable[[Config], Config]:
    """The only provider takes so many calls at a time; its route has `fields`."""

    def configure(config: Config) -> Config:
        config = only_first(config)
        providers = tuple(
            msgspec.structs.replace(one, max_in_flight=calls) for one in config.providers
        )
        routes = tuple(msgspec.structs.replace(one, **fields) for one in config.routes)
        return msgspec.structs.replace(config, providers=providers, routes=routes)

    return configure


def granted(limit: Limit) -> Callable[[Config], Config]:
    """The only provider's credential has a limit."""

    def configure(config: Config) -> Config:
        config = only_first(config)
        providers = tuple(
            msgspec.structs.replace(
                one,
                credentials=tuple(
                    msgspec.structs.replace(each, limits=(limit,)) for each in one.credentials
                ),
            )
            for one in config.providers
        )
        return msgspec.structs.replace(config, providers=providers)

    return configure


def most_at_once(found: list[Entry]) -> int:
    """How many of a provider's calls ran at the same time."""
    begins = [(one.started_ms, 1) for one in found]
    ends = [(one.ended_ms or one.started_ms, -1) for one in found]
    running, most = 0, 0
    for _, change in sorted(begins + ends):
        running += change
        most = max(most, running)
    return most


async def asked(stack: Stack, count: int, model: str, *, stream: bool = False) -> list[Got]:
    async with stack.client() as client:
        body = chat_body(model, stream=stream)
        return list(await asyncio.gather(*(ask(client, body) for _ in range(count))))


async def until_waiting(count: int) -> None:
    """Until so many requests wait in the router."""
    until_s = time.monotonic() + 5
    while (found := (await samples(ADMIN_PORT))("ai_api_queue_depth")) != count:
        assert time.monotonic() < until_s, f"{found} wait"
        await asyncio.sleep(0.01)


@BOTH
async def test_who_finds_all_calls_taken_waits_for_the_next_one(
    own_nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    async with running_stack(own_nats, tmp_path, configure=room_for(4), environment=SEEN) as stack:
        began_s = time.monotonic()
        got = await asked(stack, 20, SLOW, stream=stream)
        took_s = time.monotonic() - began_s
        assert Counter(one.status for one in got) == {200: 20}
        assert {one.headers["x-droveway-attempts"] for one in got} == {"1"}, "a wait is no attempt"
        assert most_at_once(entries(stack)) == 4
        assert took_s < 5 * 0.2 + 0.6, "each place is taken again at once"
        trail = await rows_of(own_nats, got[-1].headers["x-request-id"])
        assert [one.attempt for one in trail.attempts] == [1]
        count = await samples(ADMIN_PORT)
        assert count("ai_api_queue_wait_seconds_count", **{"class": "interactive"}) == 20
        assert count("ai_api_queue_depth") == 0
        assert count("droveway_queue_passed_total") >= 16
        assert count("droveway_queue_called_total") < 120, "no storm of looking"


async def test_two_routers_and_callers_share_the_room(own_nats: NatsServer, tmp_path: Path) -> None:
    twice = {"router": 2, "caller": 2}
    async with running_stack(own_nats, tmp_path, configure=room_for(2), replicas=twice) as stack:
        began_s = time.monotonic()
        got = await asked(stack, 20, SLOW)
        assert Counter(one.status for one in got) == {200: 20}
        assert most_at_once(entries(stack)) == 4
        assert time.monotonic() - began_s < 5 * 0.2 + 1.0


@BOTH
async def test_who_has_waited_long_enough_hears_that_the_provider_is_busy(
    own_nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=room_for(1, queue_s=0.4)) as stack,
        stack.client() as client,
    ):
        first = asyncio.ensure_future(ask(client, chat_body(HELD, stream=stream)))
        await eventually(lambda: stack.simulator.book.totals.open_requests == 1)
        began_s = time.monotonic()
        got = await ask(client, chat_body(HELD, stream=stream))
        assert (got.status, got.error["code"]) == (503, "provider_busy")
        assert 0.35 < time.monotonic() - began_s < 0.8
        assert (await first).status == 200
        assert len(entries(stack)) == 1


async def test_a_route_may_refuse_at_once(own_nats: NatsServer, tmp_path: Path) -> None:
    configure = room_for(1, queue_s=0.0)
    async with (
        running_stack(
            own_nats, tmp_path, configure=lambda config: each_once(configure(config))
        ) as stack,
        stack.client() as client,
    ):
        first = asyncio.ensure_future(ask(client, chat_body(HELD)))
        await eventually(lambda: stack.simulator.book.totals.open_requests == 1)
        began_s = time.monotonic()
        got = await ask(client, chat_body(HELD))
        assert (got.status, got.error["code"]) == (503, "provider_busy")
        assert time.monotonic() - began_s < 0.2
        first.cancel()


async def test_a_busy_providers_requests_go_to_the_next_target_first(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    def configure(config: Config) -> Config:
        providers = (
            msgspec.structs.replace(config.providers[0], max_in_flight=1),
            *config.providers[1:],
        )
        both = route("m", ("upstream-1", HELD), ("upstream-2", "numbered-3"))
        return msgspec.structs.replace(config, providers=providers, routes=(both,))

    async with running_stack(own_nats, tmp_path, simulators=2, configure=configure) as stack:
        got = await asked(stack, 5, "m")
        assert Counter(one.headers["x-droveway-provider"] for one in got) == {
            "upstream-1": 1, "upstream-2": 4,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("most", "limit"), [(2, Limit(concurrency=2)), (20, Limit(requests=5, window_s=1))]
)
async def test_what_a_provider_grants_is_waited_for(
    own_nats: NatsServer, tmp_path: Path, most: int, limit: Limit
) -> None:
    async with running_stack(own_nats, tmp_path, configure=granted(limit)) as stack:
        got = await asked(stack, 10, SLOW)
        assert Counter(one.status for one in got) == {200: 10}
        assert most_at_once(entries(stack)) <= most
        times = sorted(one.started_ms for one in entries(stack))
        if limit.requests:
            apart = [b - a for a, b in zip(times, times[5:], strict=False)]
            assert min(apart) >= 950, "never more than it grants"
            assert times[-1] - times[0] < 1_500


async def test_a_request_too_large_for_the_moment_is_not_passed_by_small_ones(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(
            own_nats, tmp_path, configure=granted(Limit(tokens=1_000, window_s=1))
        ) as stack,
        stack.client() as client,
    ):
        small, large = chat_body("numbered-3", max_tokens=150), chat_body("words-3", max_tokens=900)
        first = await asyncio.gather(*(ask(client, small) for _ in range(4)))
        waits = asyncio.ensure_future(ask(client, large))
        await asyncio.sleep(0.1)
        later = await asyncio.gather(*(ask(client, small) for _ in range(4)), waits)
        assert {one.status for one in (*first, *later)} == {200}
        order = [one.model for one in sorted(entries(stack), key=lambda one: one.started_ms)]
        assert order.index("words-3") <= 5, "one that had room already may have gone before"


@BOTH
async def test_a_clients_own_limit_refuses_at_once_unless_it_says_that_it_waits(
    own_nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    def configure(config: Config) -> Config:
        (key,) = config.keys
        limited = msgspec.structs.replace(key, limits=(Limit(requests=2, window_s=1),))
        return only_first(msgspec.structs.replace(config, keys=(limited,)))

    body = chat_body("numbered-3", stream=stream)
    async with (
        running_stack(own_nats, tmp_path, configure=configure) as stack,
        stack.client() as client,
    ):
        assert [(await ask(client, body)).status for _ in range(2)] == [200, 200]
        denied = await ask(client, body)
        assert (denied.status, denied.error["code"]) == (429, "rate_limit_exceeded")
        too_short = await ask(client, body, headers={"x-droveway-max-queue-ms": "100"})
        assert too_short.status == 429
        began_s = time.monotonic()
        waited = await ask(client, body, headers={"x-droveway-max-queue-ms": "3000"})
        assert waited.status == 200
        assert 0.3 < time.monotonic() - began_s < 1.5


async def test_a_key_may_let_its_requests_wait(own_nats: NatsServer, tmp_path: Path) -> None:
    def configure(config: Config) -> Config:
        (key,) = config.keys
        patient = msgspec.structs.replace(key, limits=(Limit(requests=4, window_s=1),), queue_s=5.0)
        return only_first(msgspec.structs.replace(config, keys=(patient,)))

    async with running_stack(own_nats, tmp_path, configure=configure) as stack:
        got = await asked(stack, 10, "numbered-3")
        assert Counter(one.status for one in got) == {200: 10}
        times = sorted(one.started_ms for one in entries(stack))
        assert min(b - a for a, b in zip(times, times[4:], strict=False)) >= 950


@BOTH
async def test_a_deadline_that_passes_in_the_queue_costs_the_provider_nothing(
    own_nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=room_for(1)) as stack,
        stack.client() as client,
    ):
        first = asyncio.ensure_future(ask(client, chat_body(HELD)))
        await eventually(lambda: stack.simulator.book.totals.open_requests == 1)
        began_s = time.monotonic()
        hurried = {"x-request-timeout": "0.5"}
        body = chat_body("numbered-3", stream=stream)
        late = await asyncio.gather(*(ask(client, body, headers=hurried) for _ in range(5)))
        assert {(one.status, one.error["code"]) for one in late} == {(504, "deadline_exceeded")}
        assert time.monotonic() - began_s < 1.0
        assert (await first).status == 200
        assert len(entries(stack)) == 1


async def test_who_leaves_the_queue_is_forgotten(own_nats: NatsServer, tmp_path: Path) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=room_for(1), environment=SEEN) as stack,
        stack.client() as client,
    ):
        first = asyncio.ensure_future(ask(client, chat_body(HELD)))
        await eventually(lambda: stack.simulator.book.totals.open_requests == 1)
        waiting = [asyncio.ensure_future(ask(client, chat_body("numbered-3"))) for _ in range(5)]
        await until_waiting(5)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await until_waiting(0)
        assert (await first).status == 200
        await nothing_open(stack)
        assert len(entries(stack)) == 1


async def test_a_full_queue_refuses_at_once(own_nats: NatsServer, tmp_path: Path) -> None:
    small = SEEN | {"DROVEWAY_ROUTER_QUEUE_REQUESTS": "3"}
    async with (
        running_stack(own_nats, tmp_path, configure=room_for(1), environment=small) as stack,
        stack.client() as client,
    ):
        running = [asyncio.ensure_future(ask(client, chat_body(HELD)))]
        await eventually(lambda: stack.simulator.book.totals.open_requests == 1)
        running += [asyncio.ensure_future(ask(client, chat_body("numbered-3"))) for _ in range(3)]
        await until_waiting(3)
        began_s = time.monotonic()
        refused = await ask(client, chat_body("numbered-3"))
        assert (refused.status, refused.error["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"]
        assert time.monotonic() - began_s < 0.1
        assert {one.status for one in await asyncio.gather(*running)} == {200}


async def test_a_place_in_a_credentials_limits_is_taken_again_at_once(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    """The caller settles with the limiter; routers in which requests wait listen to that."""
    async with running_stack(own_nats, tmp_path, configure=granted(Limit(concurrency=2))) as stack:
        await asked(stack, 4, "numbered-3")  # so that it listens
        began_s = time.monotonic()
        got = await asked(stack, 12, SLOW)
        assert Counter(one.status for one in got) == {200: 12}
        found = sorted(entries(stack), key=lambda one: one.started_ms)
        gaps_ms = [_free_for_ms(found, one) for one in found[-8:]]
        assert sorted(gaps_ms)[4] < 25, "half of what the first in line would wait by itself"
        assert time.monotonic() - began_s < 6 * 0.2 + 0.8


def _free_for_ms(found: list[Entry], taken: Entry) -> float:
    """How long the place that a call has taken was free."""
    ended = [one.ended_ms for one in found if one.ended_ms and one.ended_ms <= taken.started_ms]
    return taken.started_ms - max(ended)
