"""Configurations are applied one after the other while requests run."""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from droveway.cli import config_adopted
from droveway.cli.config_adopted import Held
from droveway.contracts.config import Config, Route, RouteTarget, Tier
from droveway.otel import names
from droveway.runtime.bus import Bus
from droveway.runtime.config.entries import Standing
from droveway.runtime.config.file import load
from droveway.runtime.config.store import ConfigStore
from tests.bench.figures import percentile
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed, open_loop, reasons
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.access import TESTER
from tests.support.history import History, Request
from tests.support.history_clients import ask_raw
from tests.support.otlp import OtlpReceiver, ReceivedSpan

ADOPTED_WITHIN_S = 1.0
_PER_S = 100
_EVERY_S = 0.3
"""From the start of one change to that of the next."""
_CALM_S = 1.0
_MODEL = "numbered-20"
"""0.2 s from its first token to its last: many requests run while a configuration comes."""
_KNOWN_WITHIN_S = 10.0
_SEEN_WITHIN_S = 20.0
_SEEN_SHARE = 0.99


async def _one_after_the_other(run: Run) -> Result:
    async with broker(run) as nats, OtlpReceiver() as receiver:
        shape = Shape(
            gateways=2, routers=2, limiters=2, callers=2, simulators=2, configure=first,
            environment={
                "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
                "OTEL_TRACES_SAMPLER_ARG": "1.0",
                "OTEL_BSP_SCHEDULE_DELAY": "100",
                "OTEL_BSP_MAX_QUEUE_SIZE": "20000",
            },
        )  # fmt: skip
        async with plant(run, nats, shape) as it, nats.bus("operator") as bus:
            with run.history() as history:
                changing = asyncio.ensure_future(_change(run, it, bus, run.count(100, 12)))
                asked = await _until(it, history, changing)
                took_s = await changing
                await it.judge(history)
            routed = await _routed(it, receiver, asked)
            expired = [await one.metric("droveway_adoption_expired_total") for one in it["caller"]]
    torn = [sorted(one.versions) for one in routed if len(one.versions) > 1]
    lost = len(_unseen(routed, asked))
    if lost > (1 - _SEEN_SHARE) * len(asked):
        run.blame(f"the spans of {lost} requests didn't come: {len(asked)} were asked")
    p99_s = percentile(took_s, 99)
    facts = {
        "configurations": len(took_s),
        "adopted_s": {"p50": percentile(took_s, 50), "p99": p99_s, "max": max(took_s)},
        "requests": len(asked),
        "failures": reasons(asked),
        "retried": sum((one.attempts or 0) > 1 for one in asked),
        "routed": len(routed),
        "versions_seen": len({version for one in routed for version in one.versions}),
        "without_spans": lost,
        "waits_for_a_version_in_vain": sum(expired),
        "two_versions": torn[:10],
    }
    bad = len(failed(asked))
    held = not bad and not torn and p99_s <= ADOPTED_WITHIN_S
    measured = f"{bad} of {len(asked)}; {len(torn)} of {len(routed)}; {p99_s:.2f} s"
    return Result(measured, held, facts)


def first(config: Config) -> Config:
    """Route `m`: both providers, by weight."""
    targets = tuple(RouteTarget(provider=one.id, model=_MODEL) for one in config.providers)
    return msgspec.structs.replace(
        config, routes=(Route(model="m", tiers=(Tier(targets=targets),)),)
    )


async def _change(run: Run, it: Plant, bus: Bus, count: int) -> list[float]:
    """Applies so many configurations; the seconds until all services held each."""
    loop, store = asyncio.get_running_loop(), ConfigStore(bus)
    await asyncio.sleep(_CALM_S)
    known = await _everybody(it, bus)
    took_s = []
    for config in configurations(load(str(it["gateway"][0].config)), run.random(), count):
        began_s = loop.time()
        written = await store.apply(await store.current(), config, TESTER)
        took_s.append(await _adopted_s(run, bus, written, known, began_s))
        await asyncio.sleep(began_s + _EVERY_S - loop.time())
    await asyncio.sleep(_CALM_S)
    return took_s


async def _everybody(it: Plant, bus: Bus) -> dict[str, Held]:
    """All services, once each has said which configuration it holds."""
    known: dict[str, Held] = {}
    running = sum(bool(one.admin_port) for one in it)

    async def all_of_them() -> bool:
        known.update(await config_adopted.present(bus))
        return len(known) == running

    await it.until(all_of_them, _KNOWN_WITHIN_S, f"{running} services say what they hold")
    return known


async def _adopted_s(
    run: Run, bus: Bus, written: Standing, known: dict[str, Held], began_s: float
) -> float:
    loop = asyncio.get_running_loop()
    wrote_s = loop.time() - began_s
    wanted = config_adopted.wanted_of(written)
    adoption = await config_adopted.until_adopted(bus, wanted, known, 5 * ADOPTED_WITHIN_S)
    for instance, why in adoption.late.items():
        run.blame(f"{instance} {why}")
    return loop.time() - began_s if adoption.late else wrote_s + adoption.took_s


def configurations(origin: Config, chance: random.Random, count: int) -> Iterator[Config]:
    """Each differs from the one before: its targets, their weights, or a provider's address."""
    last = origin
    for _ in range(count):
        config = last
        while config == last:
            config = chance.choice((_other_weights, _other_targets, _other_address))(
                last, origin, chance
            )
        last = config
        yield config


def _other_weights(config: Config, _origin: Config, chance: random.Random) -> Config:
    return _with_targets(
        config,
        [msgspec.structs.replace(one, weight=chance.randint(1, 20)) for one in _targets(config)],
    )


def _other_targets(config: Config, origin: Config, chance: random.Random) -> Config:
    """One is removed where both are there, else one is there again."""
    targets = _targets(config)
    if len(targets) > 1:
        return _with_targets(config, [chance.choice(targets)])
    return _with_targets(config, _targets(origin))


def _other_address(config: Config, origin: Config, chance: random.Random) -> Config:
    """A provider is moved to where one of them was at first."""
    addresses = [one.base_url for one in origin.providers]
    moved = chance.randrange(len(config.providers))
    providers = tuple(
        msgspec.structs.replace(one, base_url=chance.choice(addresses)) if at == moved else one
        for at, one in enumerate(config.providers)
    )
    return msgspec.structs.replace(config, providers=providers)


def _targets(config: Config) -> Sequence[RouteTarget]:
    return config.routes[0].tiers[0].targets


def _with_targets(config: Config, targets: Sequence[RouteTarget]) -> Config:
    route = msgspec.structs.replace(config.routes[0], tiers=(Tier(targets=tuple(targets)),))
    return msgspec.structs.replace(config, routes=(route,))


async def _until(it: Plant, history: History, done: "asyncio.Task[list[float]]") -> list[Request]:
    """Requests at a steady rate until `done`, every second one streamed."""

    async def one(number: int) -> Request:
        port = it["gateway"][number // 2 % 2].port
        return await ask_raw(history, port, it.key, it.body("m", stream=number % 2 == 0))

    asking: list[asyncio.Task[list[Request]]] = []
    while not done.done():
        asking.append(asyncio.ensure_future(open_loop(_PER_S, 1.0, one)))
        await asyncio.sleep(1.0)
    return [each for some in await asyncio.gather(*asking) for each in some]


class Routed(NamedTuple):
    """A router's decision, with the attempts that came of it."""

    request_id: str
    versions: set[str]
    """By which the router and the callers went."""
    attempts: int


async def _routed(it: Plant, receiver: OtlpReceiver, asked: list[Request]) -> list[Routed]:
    """All decisions, once each request has one with an attempt, or after a while.

    A request whose router is silent goes to another one: that is a decision of its own.
    """

    async def enough() -> bool:
        return not _unseen(decisions(receiver.spans), asked)

    with contextlib.suppress(TimeoutError):  # how many are missing is counted
        await it.until(enough, _SEEN_WITHIN_S, "spans of all requests")
    return decisions(receiver.spans)


def decisions(spans: Sequence[ReceivedSpan]) -> list[Routed]:
    """What routers have decided, each with the versions that it and its attempts went by."""
    attempts: dict[bytes, list[str]] = defaultdict(list)
    for span in spans:
        if names.DROVEWAY_ATTEMPT in span.attributes:
            attempts[span.parent_id].append(_version(span))
    return [
        Routed(
            str(one.attributes.get(names.DROVEWAY_REQUEST_ID)),
            {_version(one), *attempts[one.span_id]},
            len(attempts[one.span_id]),
        )
        for one in spans
        if one.name == names.SPAN_ROUTE
    ]


def _version(span: ReceivedSpan) -> str:
    return str(span.attributes.get(names.DROVEWAY_CONFIG_VERSION))


def _unseen(routed: list[Routed], asked: list[Request]) -> set[str]:
    """Requests of which no decision with an attempt is known."""
    return {one.request_id for one in asked} - {one.request_id for one in routed if one.attempts}


CLAIMS = (
    Claim(
        id="B51",
        text="100 configurations are applied under 100 requests/s (targets added and removed, "
        "other weights, another address of a provider): requests that fail; that see two "
        "versions; p99 until all services have adopted",
        bound=f"0; 0; ≤ {ADOPTED_WITHIN_S:g} s",
        run=_one_after_the_other,
    ),
)
