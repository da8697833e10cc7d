"""Limiters that are restarted one after the other, as a new version would be."""

import asyncio
from collections import Counter

from tests.bench.figures import percentile
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import open_loop
from tests.prove.limits_judge import judge_log, not_in_log
from tests.prove.limits_rules import Rules
from tests.prove.limits_world import ENDLESS, Limits, asking, following
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.history import History, Request
from tests.support.history_clients import ask_raw

_LIMITERS = 3
_PER_S = 30.0
_ASKERS = 2
_IN_FLIGHT = 8
_PAUSE_MS = 10.0
_SETTLES_S = 0.5


async def _one_after_the_other(run: Run) -> Result:
    limits = Limits(f"{run.seed}/{run.id}")
    shape = Shape(gateways=2, limiters=_LIMITERS, configure=limits.configure)
    async with (
        broker(run) as nats,
        plant(run, nats, shape) as it,
        following(nats) as written,
        asking(
            it, limits, count=_ASKERS, decisions=ENDLESS, in_flight=_IN_FLIGHT,
            pause_ms=_PAUSE_MS, free_share=1.0,
        ) as askers,
    ):  # fmt: skip
        with run.history() as history:
            restarts = run.count(3, 1) * _LIMITERS
            restarting = asyncio.ensure_future(_restart(it, restarts))
            asked = await _until(it, history, restarting)
            await it.judge(history)
        askers.end()
        seen = await askers.results()
    assert limits.config is not None
    told = [one for each in seen for one in each.admitted]
    statuses = Counter(str(one.status or one.exception) for one in asked)
    refused = sum(len(one.refused_free) + one.unanswered for one in seen)
    failed = len(asked) - statuses["200"]
    waits_ms = [wait_ms for one in seen for wait_ms in one.waits_ms]
    over = judge_log(written, Rules(limits.config).limits()).over
    missing = not_in_log(told, written)
    facts = {
        "restarts": restarts,
        "requests": len(asked),
        "statuses": dict(statuses),
        "decisions": len(told),
        "refused": dict(Counter(code for one in seen for code in one.refused_free)),
        "asked_again": sum(one.again for one in seen),
        "wait_ms": {"p50": percentile(waits_ms, 50), "max": max(waits_ms)},
        "over": over[:10],
        "told_and_not_in_the_log": missing[:5],
    }
    held = not (failed or refused or over or missing)
    return Result(f"{failed} of {len(asked)}; {refused} of {len(told):,}", held, facts)


async def _restart(it: Plant, restarts: int) -> None:
    for number in range(restarts):
        await asyncio.sleep(_SETTLES_S)
        member = it["limiter"][number % _LIMITERS]
        if not await member.terminate():
            it.run.blame(f"{member.name} didn't end when it was told to")
        await member.restart()
    await asyncio.sleep(_SETTLES_S)


async def _until(it: Plant, history: History, done: "asyncio.Task[None]") -> list[Request]:
    """Requests at a steady rate until `done`."""

    async def one(number: int) -> Request:
        port = it["gateway"][number % 2].port
        return await ask_raw(history, port, it.key, it.body("numbered-3", stream=number % 4 < 2))

    asked: list[Request] = []
    while not done.done():
        asked += await open_loop(_PER_S, 1.0, one)
    await done
    return asked


CLAIMS = (
    Claim(
        id="B52",
        text="three limiters are restarted one after the other, three times, under load that is "
        "within limits: requests that fail; decisions that refuse",
        bound="0; 0",
        run=_one_after_the_other,
    ),
)
