"""A broker that is away for half a minute: longer than a stream can wait."""

import asyncio
import time

import httpx

from tests.bench.figures import percentile
from tests.prove.broker_probe import Probe, first_time, probe, statuses, until_served
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import reasons, streams
from tests.prove.member import Member
from tests.prove.plant import Plant, Shape, broker, plant

TOLD_WITHIN_S = 6.5
UNREADY_WITHIN_S = 4.0
RECOVERED_WITHIN_S = 3.0
_STREAMS = 50
_PER_S = 20.0
_SERVICES = ("gateway", "router", "limiter", "caller", "metrics")


async def _away(run: Run) -> Result:
    away_s = run.count(30, 8)
    shape = Shape(interval_ms=20)
    async with broker(run) as nats, plant(run, nats, shape) as it:
        with run.history() as history:
            running = streams(it, history, _STREAMS, "numbered-6000")
            await it.until_streaming(_STREAMS)
            asking = asyncio.ensure_future(_ask_until_cancelled(it))
            await asyncio.sleep(0.5)
            killed_s = time.monotonic()
            await asyncio.to_thread(nats.kill)
            unready_s = await _all(it, 503, 2 * UNREADY_WITHIN_S)
            got = await asyncio.gather(*running)
            await asyncio.sleep(killed_s + away_s - time.monotonic())
            await asyncio.to_thread(nats.start)
            back_s = time.monotonic()
            ready, served_s = await asyncio.gather(
                _all(it, 200, 20.0), until_served(it, back_s, 20.0)
            )
            await asyncio.sleep(1.0)
            probes = await _stopped(asking)
            await it.judge(history)
            stale = await _stale(it, probes)
    told_s = [one.invoked_s + one.duration_s - killed_s for one in got]
    untold = [one for one in got if one.terminal != "error"]
    facts = {
        "away_s": away_s,
        "streams": len(got),
        "outcomes": reasons(got),
        "told_after_s": {"p50": percentile(told_s, 50), "min": min(told_s), "max": max(told_s)},
        "unready_after_s": unready_s,
        "ready_after_s": ready,
        "served_after_s": served_s,
        "requests_meanwhile": statuses(probes),
        "stale": stale,
    }
    held = (
        not untold
        and max(told_s) <= TOLD_WITHIN_S
        and unready_s is not None
        and unready_s <= UNREADY_WITHIN_S
        and ready is not None
        and max(ready, served_s) <= RECOVERED_WITHIN_S
        and not stale
    )
    measured = (
        f"{max(told_s):.1f} s; {len(untold)} of {len(got)}; {_told(unready_s)}; "
        f"{_told(ready and max(ready, served_s))}; {len(stale)} of {len(probes):,}"
    )
    return Result(measured, held, facts)


async def _ask_until_cancelled(it: Plant) -> list[Probe]:
    """Requests without end; each has a model of its own, by which the provider's entry is found."""
    tasks: list[asyncio.Task[Probe]] = []
    try:
        while True:
            model = f"fault-numbered-5+slow-first-token-{len(tasks)}"
            tasks.append(asyncio.ensure_future(probe(it, model)))
            await asyncio.sleep(1 / _PER_S)
    except asyncio.CancelledError:
        return list(await asyncio.gather(*tasks))


async def _stopped(asking: "asyncio.Future[list[Probe]]") -> list[Probe]:
    asking.cancel()
    return await asking


async def _stale(it: Plant, probes: list[Probe]) -> list[str]:
    """Requests that a provider began after their clients had been answered."""
    answered_s = {one.model: one.answered_s for one in probes}
    return [
        f"{one.model} began {one.started_ms / 1000 - answered_s[one.model]:.2f} s late"
        for one in await it.entries()
        if one.started_ms / 1000 > answered_s.get(one.model, float("inf"))
    ]


async def _all(it: Plant, status: int, within_s: float) -> float | None:
    """How long until all services answer their readiness probes so."""
    members = [one for name in _SERVICES for one in it[name]]
    async with httpx.AsyncClient(timeout=2) as client:

        async def answers(one: Member) -> bool:
            url = f"http://127.0.0.1:{one.admin_port}/readyz"
            return (await client.get(url)).status_code == status

        async def holds() -> bool:
            return all(await asyncio.gather(*map(answers, members)))

        return await first_time(holds, within_s)


def _told(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"


CLAIMS = (
    Claim(
        id="B11",
        text="the broker is away for 30 s with 50 streams: until all their clients are told; "
        "streams cut without an error; until no service is ready; until all are and serve again; "
        "requests that run after their clients were answered",
        bound=f"≤ {TOLD_WITHIN_S:g} s; 0; ≤ {UNREADY_WITHIN_S:g} s; ≤ {RECOVERED_WITHIN_S:g} s; 0",
        run=_away,
    ),
)
