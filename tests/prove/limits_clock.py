"""Wall clocks that step by an hour, to and fro, in one process of each kind."""

import asyncio
import random
import time
from collections import Counter
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from droveway.contracts.access import Key, Limit
from droveway.contracts.config import Config
from droveway.runtime.api_key import hash_key, make_key, parse_key
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import open_loop
from tests.prove.clock import SteppingClock
from tests.prove.limits_clients import Answer, Clients, clients
from tests.prove.limits_judge import judge_log, judge_told
from tests.prove.limits_plan import Customer, Told
from tests.prove.limits_rules import COMMON, Rules
from tests.prove.limits_world import following, owner_of
from tests.prove.plant import Plant, Shape, broker, plant

HOUR_S = 3_600
USED_PERCENT = 90.0
_STEPPING = ("gateway-1", "router-1", "limiter-1", "caller-1")
_STEP_EVERY_S = 0.3
_LIMIT, _WINDOW_S = 40, 2.0
_TIMES_DEMAND = 3
_LEASE_MS = 1_500
_LONG = 2.5
"""Leases that a request holds its place for."""
_TIMEOUT_S = 1.0
_LATE_S = 0.5
_AWAY_S = HOUR_S / 2
_APART_S = 1.5
"""Between the last refusal and another owner, who decides what it heard a moment ago anew."""


class _Keys:
    """A key of few requests, one that may run one at a time, one without limits."""

    def __init__(self) -> None:
        self.few, self.serial, self.free = (make_key("test") for _ in range(3))
        self.config: Config | None = None

    def configure(self, base: Config) -> Config:
        limits = {
            self.few: (Limit(requests=_LIMIT, window_s=_WINDOW_S),),
            self.serial: (Limit(concurrency=1),),
            self.free: (),
        }
        entries = (
            Key(id=parse_key(key).id, sha256=hash_key(key), limits=own)
            for key, own in limits.items()
        )
        self.config = msgspec.structs.replace(base, keys=(*base.keys, *entries))
        return self.config


class _Seen:
    """What came of it."""

    def __init__(self) -> None:
        self.few: list[Answer] = []
        self.serial: list[Answer] = []
        self.beside: list[Answer] = []
        """Asked while another request of a serial key ran."""
        self.timed: list[Answer] = []
        self.stepped = 0
        """Answers whose date was far from ours: the clock did step."""

    def note(self, got: Answer) -> Answer:
        date = parsedate_to_datetime(got.headers["date"]).timestamp()
        self.stepped += abs(date - time.time()) > _AWAY_S
        return got


async def _clocks_step(run: Run) -> Result:
    clock = SteppingClock(run.folder / "clock")
    keys, seen = _Keys(), _Seen()
    shape = Shape(
        gateways=2, routers=2, limiters=2, callers=2, interval_ms=5.0,
        configure=keys.configure,
        environment={"DROVEWAY_LIMITER_LEASE_MS": str(_LEASE_MS)},
        own=dict.fromkeys(_STEPPING, clock.environment),
    )  # fmt: skip
    seconds = run.count(20, 6)
    async with (
        broker(run) as nats,
        plant(run, nats, shape) as it,
        following(nats) as written,
        clients(it) as asking,
    ):
        await _let_own(it, 0)
        stepping = asyncio.ensure_future(_step(clock, run.random("steps")))
        try:
            for number in (1, 0):  # the first half with a clock that steps, the second without
                await _strain(it, asking, keys, seen, seconds / 2)
                await asyncio.sleep(_APART_S)
                await _let_own(it, number)
        finally:
            stepping.cancel()
            await asyncio.wait({stepping})
    assert keys.config is not None
    over = judge_log(written, Rules(keys.config).limits()).over
    return _result(seen, keys, over, seconds)


async def _step(clock: SteppingClock, rng: random.Random) -> None:
    while True:
        clock.step(rng.choice((-HOUR_S, 0, HOUR_S)))
        await asyncio.sleep(_STEP_EVERY_S)


async def _let_own(it: Plant, number: int) -> None:
    """Ends the other limiter and starts it again: then this one owns the limits."""
    other = it["limiter"][1 - number]
    await other.terminate()
    await other.restart()
    owner = await owner_of(it["limiter"])
    assert owner is not None
    assert owner.member is it["limiter"][number]


async def _strain(it: Plant, asking: Clients, keys: _Keys, seen: _Seen, seconds: float) -> None:
    until_s = time.monotonic() + seconds

    async def few(_number: int) -> None:
        seen.few.append(seen.note(await asking.ask(keys.few, it.body("numbered-1"))))

    async def serial() -> None:
        """One after the other, some for longer than a lease, while others are refused."""
        long = it.body(f"numbered-{round(_LONG * _LEASE_MS / 5)}")
        while time.monotonic() < until_s:
            for _ in range(5):
                body = it.body("numbered-2")
                seen.serial.append(seen.note(await asking.ask(keys.serial, body, gateway=0)))
            running = asyncio.ensure_future(asking.ask(keys.serial, long, gateway=0))
            await asyncio.sleep(_LEASE_MS / 1000 / 5)
            while not running.done():
                seen.beside.append(await asking.ask(keys.serial, it.body("numbered-2")))
                await asyncio.wait({running}, timeout=0.1)
            seen.serial.append(await running)

    async def timed() -> None:
        slow = it.body("fault-numbered-3+slow-first-token-5000")
        while time.monotonic() < until_s:
            got = await asking.ask(keys.free, slow, gateway=0, timeout_s=_TIMEOUT_S)
            seen.timed.append(seen.note(got))

    per_s = _TIMES_DEMAND * _LIMIT / _WINDOW_S
    await asyncio.gather(open_loop(per_s, seconds, few), serial(), timed())


def _is_beside(one: Answer, others: list[Answer]) -> bool:
    """Whether all of it lies in the time of another: the last one may come at that end."""
    return any(
        other.asked_ns < one.asked_ns and one.answered_ns < other.answered_ns for other in others
    )


def _result(seen: _Seen, keys: _Keys, over: list[str], seconds: float) -> Result:
    assert keys.config is not None
    admitted = [
        Told("", 0, COMMON, -1, one.asked_ns, one.answered_ns, 0, 0, 0)
        for one in seen.few
        if one.status == 200
    ]
    few = Customer(parse_key(keys.few).id, "default")
    over = over + judge_told(admitted, [few], Rules(keys.config)).over
    turn_s = _WINDOW_S * 61 / 60  # what counts leaves with its whole sub-window
    windows = 2 * (int(seconds / 2 / turn_s) + 1)  # each half begins with an empty one
    used_percent = 100 * len(admitted) / (_LIMIT * windows)
    refused = sum(one.status != 200 for one in seen.serial)
    let_in = sum(one.status == 200 and _is_beside(one, seen.serial) for one in seen.beside)
    untimely = sum(
        one.status != 504 or not _TIMEOUT_S - 0.1 <= one.took_s <= _TIMEOUT_S + _LATE_S
        for one in seen.timed
    )
    facts: dict[str, Any] = {
        "over": over[:10],
        "used_percent": used_percent,
        "few": _statuses(seen.few),
        "serial": _statuses(seen.serial),
        "serial_refused": [one.error for one in seen.serial if one.status != 200][:3],
        "beside": _statuses(seen.beside),
        "timed": _statuses(seen.timed),
        "timed_out_after_s": sorted(round(one.took_s, 2) for one in seen.timed),
        "answers_of_a_stepped_clock": seen.stepped,
    }
    held = (
        not over
        and used_percent >= USED_PERCENT
        and not refused
        and not untimely
        and bool(seen.stepped and seen.timed and seen.serial)
    )
    measured = (
        f"{len(over)}; {used_percent:.0f} %; {refused} of {len(seen.serial)}; "
        f"{untimely} of {len(seen.timed)}"
    )
    return Result(measured, held and not let_in, facts)


def _statuses(answers: list[Answer]) -> dict[str, int]:
    return {str(status): count for status, count in Counter(one.status for one in answers).items()}


CLAIMS = (
    Claim(
        id="B49",
        text="the wall clock of a gateway, a router, a caller and the limits' owner steps by an "
        f"hour to and fro, each {_STEP_EVERY_S:g} s: windows over a limit; share of it that is "
        "used; requests refused of a client that asks one after the other; time-outs that are "
        "early or late",
        bound=f"0; ≥ {USED_PERCENT:g} %; 0; 0",
        run=_clocks_step,
    ),
)
