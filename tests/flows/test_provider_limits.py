"""Providers that refuse are left alone for as long as they said; the simulator's book is judge."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from droveway.contracts.config import Config, Route, RouteTarget, Tier
from tests.support.flows import Got, ask, each_once, entries, models, only_first, route
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import PROVIDER_KEY, Stack, running_stack

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
TWICE = {"gateway": 2, "router": 2, "caller": 2}
AT_ONCE = {"DROVEWAY_ROUTER_QUEUE_S": "0"}
"""Nobody waits for the end of a cooldown."""
LATE_S = 0.5
"""What a busy machine may need to see that a cooldown is over."""
AGAIN_WITHIN_S = 5.0


def _first_fails(fault: str) -> Callable[[Config], Config]:
    """Route `alone`: the first provider under a fault; route `m`: then the second, well one."""

    def configure(config: Config) -> Config:
        routes = [route("alone", ("upstream-1", f"fault-{fault}"))]
        if len(config.providers) > 1:
            routes.append(
                route("m", ("upstream-1", f"fault-{fault}"), ("upstream-2", "numbered-5"))
            )
        return only_first(config, *routes)

    return configure


def _credentials(*names: str) -> Callable[[Config], Config]:
    """One credential and target for each model: route `all` tries one after the other.

    Route `alone-<n>` has the n-th only, `else-<n>` has it and then the last.
    """

    def configure(config: Config) -> Config:
        (provider,) = config.providers
        (only,) = provider.credentials
        ids = [f"main-{number}" for number in range(len(names))]
        own = tuple(msgspec.structs.replace(only, id=name) for name in ids)
        provider = msgspec.structs.replace(provider, credentials=own)
        tiers = [
            Tier(targets=(RouteTarget(provider=provider.id, model=model, credential=name),))
            for model, name in zip(names, ids, strict=True)
        ]
        alone = (Route(model=f"alone-{n}", tiers=(one,)) for n, one in enumerate(tiers))
        other = (Route(model=f"else-{n}", tiers=(one, tiers[-1])) for n, one in enumerate(tiers))
        routes = (Route(model="all", tiers=tuple(tiers)), *alone, *other)
        return msgspec.structs.replace(config, providers=(provider,), routes=routes)

    return configure


def _times(stack: Stack, number: int) -> list[float]:
    """When the requests began that a provider got, in seconds."""
    return [entry.started_ms / 1000 for entry in stack.simulators[number].book.entries]


def _clients(stack: Stack) -> list[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {stack.key}"}
    return [
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{one.port}", headers=headers, timeout=30)
        for one in stack.services["gateway"]
    ]


async def _for_s(stack: Stack, seconds: float, model: str, *, stream: bool) -> list[Got]:
    """Asks without a pause, four at a time, over each gateway in turn."""
    got: list[Got] = []
    clients = _clients(stack)
    until_s = time.monotonic() + seconds

    async def one(index: int) -> None:
        while time.monotonic() < until_s:
            got.append(await ask(clients[index % len(clients)], chat_body(model, stream=stream)))

    await asyncio.gather(*(one(index) for index in range(4)))
    for client in clients:
        await client.aclose()
    return got


async def _used_again(stack: Stack, model: str, *, stream: bool) -> float:
    """Asks until the first provider gets its second request; when that was."""
    async with asyncio.timeout(AGAIN_WITHIN_S), stack.client() as client:
        while len(_times(stack, 0)) < 2:
            assert (await ask(client, chat_body(model, stream=stream))).status == 200
    return _times(stack, 0)[1]


@BOTH
async def test_a_limited_provider_is_left_alone_for_as_long_as_it_said(
    nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    async with (
        running_stack(
            nats, tmp_path, simulators=2, replicas=TWICE, configure=_first_fails("429-2+times-1")
        ) as stack,
        stack.client() as client,
    ):
        assert (await ask(client, chat_body("m", stream=stream))).status == 200
        (limited_s,) = _times(stack, 0)
        got = await _for_s(stack, 1.7, "m", stream=stream)
        assert Counter(one.status for one in got) == {200: len(got)}
        assert {one.headers["x-droveway-provider"] for one in got} == {"upstream-2"}
        assert {one.headers["x-droveway-attempts"] for one in got} == {"1"}, "not even asked for"
        assert len(_times(stack, 0)) == 1
        again_s = await _used_again(stack, "m", stream=stream)
        assert 2.0 <= again_s - limited_s < 2.0 + LATE_S


@BOTH
async def test_clients_of_a_single_target_get_the_true_wait(
    nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    async with (
        running_stack(
            nats,
            tmp_path,
            replicas=TWICE,
            configure=lambda config: each_once(_first_fails("429-2+times-1")(config)),
            environment=AT_ONCE,
        ) as stack,
        stack.client() as client,
    ):
        began_s = time.monotonic()
        first = await ask(client, chat_body("alone", stream=stream))
        assert (first.status, first.error["code"]) == (429, "provider_rate_limited")
        assert first.headers["retry-after"] == "2"
        got = await _for_s(stack, 1.2, "alone", stream=stream)
        assert {(one.status, one.error["code"]) for one in got} == {(429, "provider_rate_limited")}
        assert len(got) > 20, "told at once"
        waits_ms = [int(one.headers["retry-after-ms"]) for one in got]
        assert waits_ms[0] <= 2_000
        assert waits_ms[-1] <= 2_000 - 1_000
        assert len(_times(stack, 0)) == 1, "the provider has seen none of it"
        await asyncio.sleep(waits_ms[-1] / 1000)
        assert (await ask(client, chat_body("alone", stream=stream))).status == 200
        assert time.monotonic() - began_s < 2.0 + 1.0


async def test_a_short_rest_of_a_cooldown_is_waited_for(nats: NatsServer, tmp_path: Path) -> None:
    async with (
        running_stack(
            nats,
            tmp_path,
            replicas=TWICE,
            configure=lambda config: each_once(_first_fails("429-0.4+times-1")(config)),
        ) as stack,
        stack.client() as client,
    ):
        assert (await ask(client, chat_body("alone"))).status == 429
        asked = [ask(client, chat_body("alone")) for _ in range(8)]
        assert [one.status for one in await asyncio.gather(*asked)] == [200] * 8
        first_s, *others = _times(stack, 0)
        assert min(others) - first_s >= 0.4


async def test_a_provider_that_gives_no_wait_is_asked_less_and_less(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with running_stack(nats, tmp_path, configure=_first_fails("429")) as stack:
        got = await _for_s(stack, 3.6, "alone", stream=False)
        assert {one.status for one in got} == {429}
        times = _times(stack, 0)
        bursts = [times[0], *(b for a, b in itertools.pairwise(times) if b - a > 0.5)]
        assert 2 <= len(bursts) <= 3, "at 0, about 1 and about 3 seconds"
        assert len(times) <= 4 * len(bursts), "of each burst only what ran at once"


@BOTH
async def test_a_provider_that_says_that_nothing_remains_is_believed(
    nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    fault = "remaining-0+reset-1500+times-1"
    async with (
        running_stack(
            nats, tmp_path, simulators=2, replicas=TWICE, configure=_first_fails(fault)
        ) as stack,
        stack.client() as client,
    ):
        got = await ask(client, chat_body("m", stream=stream))
        assert (got.status, got.headers["x-droveway-provider"]) == (200, "upstream-1")
        got_more = await _for_s(stack, 1.2, "m", stream=stream)
        assert Counter(one.status for one in got_more) == {200: len(got_more)}
        (told_s,) = _times(stack, 0)
        again_s = await _used_again(stack, "m", stream=stream)
        assert 1.5 <= again_s - told_s < 1.5 + LATE_S


@pytest.mark.parametrize("status", ["401", "402", "403", "insufficient-quota"])
async def test_a_refused_credential_is_spared_and_not_its_provider(
    nats: NatsServer, tmp_path: Path, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    quick = {"DROVEWAY_CALLER_REFUSED_S": "1"}
    fault = f"fault-{status}+times-2"
    configure = _credentials(fault, "numbered-5")
    async with (
        running_stack(nats, tmp_path, configure=configure, environment=quick) as stack,
        stack.client() as client,
    ):
        for _ in range(10):
            assert (await ask(client, chat_body("all"))).status == 200
        assert Counter(models(entries(stack))) == {fault: 1, "numbered-5": 10}
        alone = await ask(client, chat_body("alone-0"))
        assert (alone.status, alone.error["code"]) == (502, "provider_auth_error")
        assert Counter(models(entries(stack)))[fault] == 1, "told without asking"
        await asyncio.sleep(1.05)
        probed = await asyncio.gather(*(ask(client, chat_body("alone-0")) for _ in range(5)))
        assert {one.status for one in probed} == {502}
        assert Counter(models(entries(stack)))[fault] == 2, "one attempt has tried it"
        await asyncio.sleep(1.05)
        assert (await ask(client, chat_body("alone-0"))).status == 200
        assert (await ask(client, chat_body("alone-0"))).status == 200, "it is well again"
    lines = [one for one in caplog.records if one.getMessage() == "credential_refused"]
    assert len(lines) == 1
    assert PROVIDER_KEY not in caplog.text


WAITS_MS = {
    "2": (2_000, 2_000),
    "600": (600_000, 600_000),
    "99999999": (600_000, 600_000),
    "0": (100, 100),
    "soon": (800, 1_200),
    "-1": (800, 1_200),
    "inf": (800, 1_200),
    "1e309": (800, 1_200),
    "Fri%2C 22 Nov 2999 12:00:00 GMT": (600_000, 600_000),
    "Fri%2C 22 Nov 2019 12:00:00 GMT": (100, 100),
}


async def test_every_way_to_say_when_to_come_back_is_obeyed_within_reason(
    nats: NatsServer, tmp_path: Path
) -> None:
    limited = [f"fault-429-{value}" for value in WAITS_MS]
    configure = _credentials(*limited, "numbered-5")
    async with (
        running_stack(
            nats,
            tmp_path,
            configure=lambda config: each_once(configure(config)),
            environment=AT_ONCE,
        ) as stack,
        stack.client() as client,
    ):
        got = await ask(client, chat_body("all"))
        assert got.status == 429, "no more than three attempts"
        for number, (least_ms, most_ms) in enumerate(WAITS_MS.values()):
            got = await ask(client, chat_body(f"alone-{number}"))
            assert got.status == 429
            wait_ms = int(got.headers["retry-after-ms"])
            most_ms += 5  # each hop rounds up
            assert least_ms - 500 <= wait_ms <= most_ms, limited[number]
            served = await ask(client, chat_body(f"else-{number}"))
            assert served.status == 200
            assert served.headers["x-droveway-attempts"] == "1" or wait_ms < 500
