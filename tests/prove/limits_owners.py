"""Owners of the limits that are killed, or stand still and come back, again and again."""

import asyncio
import bisect
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.figures import percentile
from tests.prove.claim import Claim, Result, Run
from tests.prove.limits_exact import judged
from tests.prove.limits_plan import Seen
from tests.prove.limits_world import (
    ENDLESS,
    Followed,
    Limits,
    asking,
    following,
    only_limiters,
    owner_of,
)
from tests.prove.member import Member
from tests.prove.plant import Plant, broker, plant

GAP_S = 0.5
_STRIKES = 50
_STOPPED_S = 10.0
_AT_MOST_STOPPED = 4
_SPARE = 2
"""Limiters that always live."""
_BETWEEN_S = (0.15, 0.5)
_OWNED_WITHIN_S = 5.0
_GAP_WITHIN_S = 3.0
_POLL_S = 0.01
_IN_FLIGHT = 10
_PAUSE_MS = 8.0


@dataclass
class _Strikes:
    """When owners were struck, and what came of it."""

    rng: random.Random
    reached: float = -1.0
    """How far the log went when the last owner was found: those that were struck before don't
    know of it."""
    at_s: list[float] = field(default_factory=list)
    owned_s: list[float] = field(default_factory=list)
    """From each strike until another process said that it owns the limits."""
    standing_still: dict[Member, asyncio.Task[None]] = field(default_factory=dict)

    async def owner(self, members: Sequence[Member], but: Member | None = None) -> Member:
        """Waits for one that isn't `but` and doesn't stand still."""
        until_s = time.monotonic() + _OWNED_WITHIN_S
        while time.monotonic() < until_s:
            running = [one for one in members if one is not but and one not in self.standing_still]
            if (found := await owner_of(running, self.reached)) is not None:
                self.reached = found.sequence
                return found.member
            await asyncio.sleep(_POLL_S)
        raise TimeoutError(f"no limiter owns the limits {_OWNED_WITHIN_S:g} s after a strike")

    async def pause(self) -> None:
        await asyncio.sleep(self.rng.uniform(*_BETWEEN_S))


async def _killed(run: Run) -> Result:
    async def strike(it: Plant, strikes: _Strikes) -> None:
        members = it["limiter"]
        for _ in range(run.count(_STRIKES, 4)):
            owner = await strikes.owner(members)
            struck_s = await owner.kill()
            strikes.at_s.append(struck_s)
            await strikes.owner(members, owner)
            strikes.owned_s.append(time.monotonic() - struck_s)
            await owner.restart()
            await strikes.pause()

    return await _strained(run, 3, strike)


async def _stopped(run: Run) -> Result:
    still_s = _STOPPED_S if not run.quick else 1.5

    async def strike(it: Plant, strikes: _Strikes) -> None:
        members = it["limiter"]
        for _ in range(run.count(_STRIKES, 4)):
            while len(strikes.standing_still) >= _AT_MOST_STOPPED:
                await asyncio.wait(
                    strikes.standing_still.values(), return_when=asyncio.FIRST_COMPLETED
                )
            owner = await strikes.owner(members)
            owner.pause()
            struck_s = time.monotonic()
            strikes.at_s.append(struck_s)
            resuming = asyncio.ensure_future(_resume(owner, still_s, strikes))
            strikes.standing_still[owner] = resuming
            await strikes.owner(members)
            strikes.owned_s.append(time.monotonic() - struck_s)
            await strikes.pause()
        await asyncio.gather(*strikes.standing_still.values())
        await asyncio.sleep(1.0)  # what they say late is still heard

    return await _strained(run, _AT_MOST_STOPPED + _SPARE, strike)


async def _resume(member: Member, still_s: float, strikes: _Strikes) -> None:
    await asyncio.sleep(still_s)
    member.resume()
    del strikes.standing_still[member]


async def _strained(run: Run, limiters: int, strike: Any) -> Result:
    limits = Limits(f"{run.seed}/{run.id}")
    strikes = _Strikes(run.random("when"))
    async with (
        broker(run) as nats,
        plant(run, nats, only_limiters(limiters, limits)) as it,
        following(nats) as written,
    ):
        began_s = time.monotonic()
        async with asking(
            it, limits, decisions=ENDLESS, in_flight=_IN_FLIGHT, pause_ms=_PAUSE_MS
        ) as askers:
            await asyncio.sleep(1.0)
            await strike(it, strikes)
            askers.end()
            seen = await askers.results()
        took_s = time.monotonic() - began_s
        for one in await it.health():
            if not one.alive or one.ready_after_s is None:
                run.blame(f"{one.name} isn't ready at the end")
    return _result(strikes, judged(limits, seen, written, took_s), seen, written)


def _result(
    strikes: _Strikes,
    found: tuple[list[str], dict[str, Any]],
    seen: list[Seen],
    written: Followed,
) -> Result:
    over, facts = found
    gaps_s = _gaps_s(strikes.at_s, seen)
    p50_s, p99_s = percentile(gaps_s, 50), percentile(gaps_s, 99)
    refused = sum(len(one.refused_free) for one in seen)
    facts |= {
        "strikes": len(strikes.at_s),
        "owners": len({one.batch.owner for one in written}),
        "gap_s": {"p50": p50_s, "p99": p99_s, "all": sorted(round(one, 3) for one in gaps_s)},
        "owned_after_s": {"p50": percentile(strikes.owned_s, 50), "max": max(strikes.owned_s)},
        "refused_within_limits": refused,
        "over": over[:10],
    }
    held = not over and p99_s <= GAP_S and not refused and not facts["told_and_not_in_the_log"]
    measured = f"{len(over)} of {facts['decisions']:,}; {p50_s:.2f} s; {p99_s:.2f} s"
    return Result(measured, held, facts)


def _gaps_s(struck_s: list[float], seen: list[Seen]) -> list[float]:
    """The longest time without an admission of the key that is always admitted, by strike."""
    times_s = sorted(
        told.answered_ns / 1e9 for one in seen for told in one.admitted if told.customer == 0
    )
    gaps_s = []
    for at_s, next_s in zip(struck_s, [*struck_s[1:], float("inf")], strict=True):
        first = max(0, bisect.bisect(times_s, at_s) - 1)
        last = bisect.bisect(times_s, min(at_s + _GAP_WITHIN_S, next_s))
        around_s = times_s[first : last + 1]
        pairs = itertools.pairwise(around_s)
        gaps_s.append(
            max((after_s - before_s for before_s, after_s in pairs), default=float("inf"))
        )
    return gaps_s


CLAIMS = (
    Claim(
        id="B6+D10+D11",
        text="the owner of the limits is killed under load, 50 times: admissions beyond a limit; "
        "p50 and p99 of the longest gap between admissions",
        bound=f"0; -; ≤ {GAP_S:g} s",
        run=_killed,
    ),
    Claim(
        id="B7",
        text="the owner of the limits stands still for 10 s and goes on, 50 times: admissions "
        "beyond a limit; p50 and p99 of the longest gap between admissions",
        bound=f"0; -; ≤ {GAP_S:g} s",
        run=_stopped,
    ),
)
