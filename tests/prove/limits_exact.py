"""A million decisions under every kind of limit, held against an exact model twice."""

import time
from typing import Any

from tests.bench.figures import percentile
from tests.prove.claim import Claim, Result, Run
from tests.prove.limits_http import burst_over_http
from tests.prove.limits_judge import judge_log, judge_told, not_in_log
from tests.prove.limits_plan import Seen
from tests.prove.limits_rules import Rules
from tests.prove.limits_world import ASKERS, Followed, Limits, asking, following, only_limiters
from tests.prove.plant import broker, plant

DECISIONS = 1_000_000
_IN_FLIGHT = 48
_STRAINED_PERCENT = 100
"""A limit that nobody reached proves nothing."""


async def _a_million(run: Run) -> Result:
    straight, facts = await _straight(run)
    over_http, more = await burst_over_http(run, run.count(20_000, 1_000))
    decisions = facts["decisions"] + more["requests"]
    over = straight + over_http
    facts |= {"over_http": more, "over": over[:10]}
    measured = f"{len(over)} of {decisions:,}"
    enough = decisions >= run.count(DECISIONS, 30_000)
    strained = min(facts["fullest_percent"], more["fullest_percent"]) >= _STRAINED_PERCENT
    held = not over and enough and strained and not facts["told_and_not_in_the_log"]
    return Result(measured, held, facts)


async def _straight(run: Run) -> tuple[list[str], dict[str, Any]]:
    """Askers on the limiter's own subject."""
    wanted = run.count(DECISIONS, 30_000)
    limits = Limits(f"{run.seed}/{run.id}", scale=3.0)
    async with (
        broker(run) as nats,
        plant(run, nats, only_limiters(3, limits)) as it,
        following(nats) as written,
    ):
        began_s = time.monotonic()
        async with asking(
            it, limits, decisions=-(-wanted // ASKERS), in_flight=_IN_FLIGHT
        ) as askers:
            seen = await askers.results()
        took_s = time.monotonic() - began_s
    return judged(limits, seen, written, took_s)


def judged(
    limits: Limits, seen: list[Seen], written: Followed, took_s: float
) -> tuple[list[str], dict[str, Any]]:
    """What was over a limit, by either judge, and what is worth knowing besides."""
    assert limits.config is not None
    rules = Rules(limits.config)
    told = [one for each in seen for one in each.admitted]
    by_askers = judge_told(told, limits.customers, rules)
    by_log = judge_log(written, rules.limits())
    missing = not_in_log(told, written)
    assert written.whole, "the log was dropped before it was read"
    waits_ms = [wait_ms for each in seen for wait_ms in each.waits_ms]
    facts: dict[str, Any] = {
        "decisions": sum(each.decisions for each in seen),
        "admitted": len(told),
        "seconds": round(took_s, 1),
        "decisions_per_s": round(sum(each.decisions for each in seen) / took_s),
        "limits": by_askers.counters,
        "fullest_percent": round(by_askers.fullest_percent, 1),
        "admissions_in_the_log": by_log.admitted,
        "admitted_and_not_told": by_log.admitted - len(told),
        "batches": len(written),
        "told_and_not_in_the_log": len(missing),
        "missing": missing[:5],
        "asked_again": sum(each.again for each in seen),
        "unanswered": sum(each.unanswered for each in seen),
        "wait_ms": {"p50": percentile(waits_ms, 50), "p99": percentile(waits_ms, 99)},
    }
    return by_askers.over + by_log.over, facts


CLAIMS = (
    Claim(
        id="D9",
        text="4 askers at 3 limiters, with limits of every kind over keys, tenants, models and "
        "credentials, and clients of 4 gateways: admissions beyond a limit among all decisions, "
        "by an exact model of what was told and of the log",
        bound=f"0 of ≥ {DECISIONS:,}",
        run=_a_million,
    ),
)
