"""Frames, news and control messages that come twice, late, in another order, or not at all."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed, reasons
from tests.prove.plant import Plant, Shape, broker, plant
from tests.prove.streams_clients import ask_all, gathered
from tests.prove.streams_plan import draw
from tests.support.nats_proxy import NatsProxy
from tests.support.nats_wire import Message, is_control, is_frame

STREAMS = 2_000
_AT_ONCE = 40
_WITHIN_S = 120.0
_LOST = 0.01
_LATE_S = 0.02
_LATE_P = 0.1
_LINKED = ("gateway", "router", "caller")


async def _all_twice(run: Run) -> Result:
    async with _struck(run) as (it, proxy):
        rules = [proxy.rule(_is_reply, "down", duplicate=1.0)]
        rules += [proxy.rule(is_control, "down", duplicate=1.0)]
        facts = await _ask(it)
    return _result(facts, rules, "duplicated")


async def _lost_and_late(run: Run) -> Result:
    async with _struck(run) as (it, proxy):
        rules = [
            proxy.rule(matches, "down", drop=_LOST, delay_s=_LATE_S, delay_p=_LATE_P)
            for matches in (is_frame, is_control)
        ]
        facts = await _ask(it)
    return _result(facts, rules, "dropped")


@asynccontextmanager
async def _struck(run: Run) -> AsyncIterator[tuple[Plant, NatsProxy]]:
    """A plant whose streams pass a proxy on all of their way."""
    async with broker(run) as nats, NatsProxy.before(nats.url, seed=run.seed) as proxy:
        shape = Shape(routers=2, callers=2, interval_ms=2, links=dict.fromkeys(_LINKED, proxy.url))
        async with plant(run, nats, shape) as it:
            yield it, proxy


def _is_reply(message: Message) -> bool:
    """Frames, a caller's and a router's news, answers to questions."""
    return message.subject.startswith(b"_INBOX.")


async def _ask(it: Plant) -> dict[str, Any]:
    count = it.run.count(STREAMS, STREAMS // 10)
    asks = draw(it.run.random("streams"), count, [it.port])
    until_s = time.monotonic() + _WITHIN_S
    with it.run.history() as history:
        gathered(
            history, await ask_all(it, {"raw": asks}, at_once={"raw": _AT_ONCE}, until_s=until_s)
        )
        await it.judge(history)
    requests = history.requests
    return {
        "streams": len(requests),
        "tokens": sum(len(one.text.split()) for one in requests),
        "incomplete": len(failed(requests)),
        "failures": reasons(requests),
        "more_than_one_attempt": sum((one.attempts or 0) > 1 for one in requests),
        "longest_pause_s": max(one.longest_pause_s for one in requests),
        "slowest_s": max(one.duration_s for one in requests),
        "asked": count,
    }


def _result(facts: dict[str, Any], rules: list[Any], what: str) -> Result:
    counts = sum((rule.counts for rule in rules), Counter[str]())
    held = not facts["incomplete"] and facts["streams"] == facts["asked"] and counts[what] > 0
    measured = f"{counts[what]:,}; {facts['incomplete']} of {facts['streams']:,}"
    return Result(measured, held, {**facts, "messages": dict(counts)})


CLAIMS = (
    Claim(
        id="B25",
        text="every frame, news and control message is delivered twice: so many; "
        f"of {STREAMS:,} streams incomplete, or with a gap or repeat",
        bound="-; 0",
        run=_all_twice,
    ),
    Claim(
        id="B27",
        text=f"{100 * _LOST:g} % of frames and control messages are lost, {100 * _LATE_P:g} % "
        f"overtaken: so many lost; of {STREAMS:,} streams incomplete, or with a gap or repeat",
        bound="-; 0",
        run=_lost_and_late,
    ),
)
