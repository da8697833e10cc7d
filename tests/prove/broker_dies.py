"""A broker that is killed under running streams, and started again at once."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from tests.bench.figures import percentile
from tests.prove.broker_probe import Probe, first_time, probe, statuses
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed, open_loop, reasons, streams
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.history import History, Request

COMPLETE_PERCENT = 99.0
PAUSE_P99_S = 3.0
REFUSED_WITHIN_S = 0.5
SERVED_P99_S = 2.0
_STREAMS = 100
_MODEL = "numbered-120"
_INTERVAL_MS = 40.0
_APART_S = 0.005
_BEGUN_WITHIN_S = 3.0
_PER_S = 50.0
_PROBED_S = 6.0
_KILLED_AFTER_S = (0.3, 1.0)


@dataclass
class _Seen:
    """What all rounds have shown."""

    streams: list[Request] = field(default_factory=list)
    not_begun: list[Request] = field(default_factory=list)
    """Refused, or without a token, when the broker was killed."""
    pauses_s: list[float] = field(default_factory=list)
    down_s: list[float] = field(default_factory=list)
    while_down: list[Probe] = field(default_factory=list)
    afterwards: list[Probe] = field(default_factory=list)
    served_s: list[float] = field(default_factory=list)


async def _killed_again_and_again(run: Run) -> Result:
    rounds = run.count(20, 3)
    rng = run.random("when")
    seen = _Seen()
    async with broker(run) as nats, plant(run, nats, Shape(interval_ms=_INTERVAL_MS)) as it:
        with run.history() as history:
            for _ in range(rounds):
                await _one_kill(it, history, rng.uniform(*_KILLED_AFTER_S), seen)
            await it.judge(history)
    return _result(seen, rounds)


async def _one_kill(it: Plant, history: History, after_s: float, seen: _Seen) -> None:
    async def one(_number: int) -> Probe:
        return await probe(it)

    running = []
    for _ in range(_STREAMS):
        running += streams(it, history, 1, _MODEL)
        await asyncio.sleep(_APART_S)
    await first_time(lambda: _in_flight(it), _BEGUN_WITHIN_S)
    probing = asyncio.ensure_future(open_loop(_PER_S, _PROBED_S, one))
    await asyncio.sleep(after_s)
    killed_s = time.monotonic()
    await asyncio.to_thread(it.nats.kill)
    dead_s = time.monotonic()
    await asyncio.to_thread(it.nats.start)
    back_s = time.monotonic()
    got = await asyncio.gather(*running)
    probes = await probing
    ran = [one for one in got if one.arrivals_s and one.invoked_s + one.arrivals_s[0] < killed_s]
    seen.streams += ran
    seen.not_begun += [one for one in got if one not in ran]
    seen.pauses_s += [one.longest_pause_s for one in ran if _spans(one, back_s)]
    seen.down_s.append(back_s - killed_s)
    seen.while_down += [one for one in probes if dead_s <= one.asked_s < back_s]
    after = [one for one in probes if one.asked_s >= back_s]
    seen.afterwards += after
    first_s = min((one.answered_s for one in after if one.status == 200), default=float("inf"))
    seen.served_s.append(first_s - back_s)


async def _in_flight(it: Plant) -> bool:
    return await it["caller"][0].metric("droveway_caller_in_flight") >= _STREAMS


def _spans(one: Request, back_s: float) -> bool:
    """Whether it wasn't at its end when the broker was back."""
    return one.invoked_s + one.arrivals_s[-1] > back_s


def _result(seen: _Seen, rounds: int) -> Result:
    whole = 100 * (1 - len(failed(seen.streams)) / len(seen.streams))
    p50_s, p99_s = percentile(seen.pauses_s, 50), percentile(seen.pauses_s, 99)
    served_s = percentile(seen.served_s, 99)
    late = [one for one in seen.while_down if not _answered_at_once(one)]
    facts: dict[str, Any] = {
        "kills": rounds,
        "streams": len(seen.streams),
        "failures": reasons(seen.streams),
        "not_begun_before_the_kill": reasons(seen.not_begun),
        "spanning_streams": len(seen.pauses_s),
        "broker_away_s": {"p50": percentile(seen.down_s, 50), "max": max(seen.down_s)},
        "pause_s": {"p50": p50_s, "p99": p99_s, "max": max(seen.pauses_s, default=0.0)},
        "first_success_s": sorted(round(one, 3) for one in seen.served_s),
        "while_down": statuses(seen.while_down),
        "slowest_refusal_s": max((one.took_s for one in seen.while_down), default=0.0),
        "not_answered_at_once": [one._asdict() for one in late[:5]],
        "after_its_return": statuses(seen.afterwards),
        "slowest_after_its_return_s": max((one.took_s for one in seen.afterwards), default=0.0),
    }
    held = (
        whole >= COMPLETE_PERCENT
        and len(seen.pauses_s) >= 0.9 * _STREAMS * rounds
        and p99_s <= PAUSE_P99_S
        and bool(seen.while_down)
        and not late
        and served_s <= SERVED_P99_S
    )
    measured = (
        f"{whole:.2f} %; {p50_s:.2f} s; {p99_s:.2f} s; {len(late)} of {len(seen.while_down)}; "
        f"{served_s:.2f} s"
    )
    return Result(measured, held, facts)


def _answered_at_once(one: Probe) -> bool:
    """Served, which a broker that is back at once allows, or refused with the time to return."""
    refused = one.status == 503 and bool(one.retry_after)
    return (one.status == 200 or refused) and one.took_s < REFUSED_WITHIN_S


CLAIMS = (
    Claim(
        id="B10+D5+D6+D7",
        text="nats-server is killed under 100 streams and started again, 20 times: streams that "
        "complete; p50 and p99 of their pause; new requests meanwhile without an answer or a 503 "
        f"with retry-after within {REFUSED_WITHIN_S:g} s; p99 until the first success afterwards",
        bound=f"≥ {COMPLETE_PERCENT:g} %; -; ≤ {PAUSE_P99_S:g} s; 0; ≤ {SERVED_P99_S:g} s",
        run=_killed_again_and_again,
    ),
)
