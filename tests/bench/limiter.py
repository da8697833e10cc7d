"""Asks the running limiter over the bus, as the router does, and reads its CPU clock."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import uvloop

from droveway.contracts import admission
from droveway.contracts.access import Key, Limit
from droveway.contracts.config import Config, Provider, Route, RouteTarget, Tier
from droveway.contracts.envelope import encode, new_instance, new_request_id
from droveway.limiter.book import Book
from droveway.limiter.decisions import Decisions as Deciding
from droveway.limiter.decisions import DecisionSettings
from droveway.runtime.api_key import parse_key
from droveway.runtime.bus import Bus, BusSettings, connect
from tests.bench import system
from tests.bench.children import RunFailed
from tests.bench.figures import percentile
from tests.bench.targets import SIX_WINDOWS_S, Deployed

STEADY_PER_S = 5_000
_IN_FLIGHT = 64
_ANSWER_LIMIT_S = 2.0
_TICK_S = 0.001
_PURE = 20_000
_ECHOED = b"x" * 200
_PLENTY = 1_000_000_000
_NOW_MS = 1_790_000_000_000


class Decisions(NamedTuple):
    """What decisions cost."""

    alone_us: float
    """There and back over the bus, one at a time: the median."""
    reply_us: float
    """A message and its answer through the same broker, in turn with the questions: the median."""
    steady_p99_ms: float
    """At `STEADY_PER_S`, from when a question was due."""
    per_core_s: float
    """By the limiter's own CPU time: what one core could decide, log and all."""
    pure_us: float
    """CPU time of a decision and its encoding alone, without bus and log, in this process."""


def decisions(deployed: Deployed, seconds: float) -> Decisions:
    """Measures for about `seconds`, a third of it for each load.

    Raises:
        RunFailed: An answer isn't an admission.
    """
    seed = str(deployed.data.seed_file("router"))
    broker = BusSettings(servers=(deployed.nats_url,), nkey_file=seed)
    (pid,) = deployed.target.services["limiter"]
    key_id = parse_key(deployed.six_limits_key).id
    return uvloop.run(_connected(broker, key_id, pid, seconds))


async def _connected(broker: BusSettings, key_id: str, pid: int, seconds: float) -> Decisions:
    async with connect(broker, "router", new_instance("router")) as bus:
        return await measured(bus, key_id, lambda: system.cpu_us(pid), seconds)


async def measured(bus: Bus, key_id: str, cpu_us: Callable[[], float], seconds: float) -> Decisions:
    """The same over a connection of the router's.

    Args:
        bus: The connection.
        key_id: A key that is never refused.
        cpu_us: The CPU time that the owner of the limits has used so far.
        seconds: For how long.

    Raises:
        RunFailed: An answer isn't an admission.
    """
    ask = _asking(bus, key_id)
    await _while(0.2, ask)
    alone_s, reply_s = await _alone(bus, ask, seconds / 3)
    steady_s = await _steadily(ask, seconds / 3)
    before_us = cpu_us()
    loads = [_while(seconds / 3, ask) for _ in range(_IN_FLIGHT)]
    answers = sum(await asyncio.gather(*loads))
    spent_us = cpu_us() - before_us
    return Decisions(
        alone_us=1e6 * percentile(alone_s, 50),
        reply_us=1e6 * percentile(reply_s, 50),
        steady_p99_ms=1e3 * percentile(steady_s, 99),
        per_core_s=1e6 * answers / spent_us,
        pure_us=_pure_us(),
    )


def _asking(bus: Bus, key_id: str) -> Callable[[], Awaitable[None]]:
    subject = admission.admission_subject(0)

    async def ask() -> None:
        payload = encode(_question(key_id, bus.instance))
        answer = admission.decision_decoder.decode(
            await bus.request(subject, payload, _ANSWER_LIMIT_S)
        )
        if not isinstance(answer, admission.Admitted):
            raise RunFailed(f"the limiter says {answer}")

    return ask


def _question(key_id: str, router: str) -> admission.AdmissionRequested:
    return admission.AdmissionRequested(
        request_id=new_request_id(),
        router=router,
        key_id=key_id,
        tenant="default",
        model="mock",
        input_tokens=1_000,
        max_output_tokens=None,
        remaining_ms=60_000,
    )


async def _while(seconds: float, ask: Callable[[], Awaitable[None]]) -> int:
    """Asks one question after the other; how many."""
    until_s = time.perf_counter() + seconds
    count = 0
    while time.perf_counter() < until_s:
        await ask()
        count += 1
    return count


async def _alone(
    bus: Bus, ask: Callable[[], Awaitable[None]], seconds: float
) -> tuple[list[float], list[float]]:
    """Seconds of a question, and of a message that one answers oneself, by turns."""
    heard = asyncio.Event()
    back = bus.open_inbox(lambda _payload: heard.set(), lambda: None)
    there = bus.open_inbox(lambda payload: bus.publish(back.subject, payload), lambda: None)
    alone_s: list[float] = []
    reply_s: list[float] = []
    until_s = time.perf_counter() + seconds
    while (began_s := time.perf_counter()) < until_s:
        await ask()
        asked_s = time.perf_counter()
        heard.clear()
        bus.publish(there.subject, _ECHOED)
        await heard.wait()
        alone_s.append(asked_s - began_s)
        reply_s.append(time.perf_counter() - asked_s)
    there.close()
    back.close()
    return alone_s, reply_s


async def _steadily(ask: Callable[[], Awaitable[None]], seconds: float) -> list[float]:
    """Asks at `STEADY_PER_S`, however long answers take; seconds from when each was due."""
    times_s: list[float] = []

    async def one(due_s: float) -> None:
        await ask()
        times_s.append(time.perf_counter() - due_s)

    began_s = time.perf_counter()
    asked = 0
    async with asyncio.TaskGroup() as group:
        while asked < seconds * STEADY_PER_S:
            now_s = time.perf_counter()
            while began_s + asked / STEADY_PER_S <= now_s:
                group.create_task(one(now_s))
                asked += 1
            await asyncio.sleep(_TICK_S)
    return times_s


def _pure_us() -> float:
    """CPU microseconds of one decision with six limits, its operations and its answer encoded."""
    deciding = Deciding(Book(), DecisionSettings())
    limits = tuple(Limit(requests=_PLENTY, window_s=window_s) for window_s in SIX_WINDOWS_S)
    key = Key(id="six", sha256="0" * 64, limits=limits)
    route = Route(model="*", tiers=(Tier(targets=(RouteTarget(provider="p"),)),))
    provider = Provider(id="p", base_url="https://p.test")
    deciding.configure(Config(providers=(provider,), routes=(route,), keys=(key,)))
    payloads = [encode(_question("six", "router-00000000")) for _ in range(_PURE)]
    before_s = time.process_time()
    for number, payload in enumerate(payloads):
        request = admission.request_decoder.decode(payload)
        answer, ops = deciding.decide(request, _NOW_MS + number // 20)
        encode(answer)
        for op in ops:
            encode(op)
    return 1e6 * (time.process_time() - before_s) / _PURE
