"""Every target fails while clients go on asking: what that makes of one request's attempts."""

import asyncio
import time
from collections import Counter

import msgspec

from droveway.contracts.config import Config
from tests.bench.figures import percentile
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import open_loop, reasons
from tests.prove.plant import Shape, broker, plant
from tests.prove.upstream_world import route
from tests.support.accounts import attempts_of, stored_rows
from tests.support.history import Request
from tests.support.history_clients import ask_raw

PER_S = 200.0
RATIO, FREE_PER_S = 1.2, 10.0
"""Attempts for each request, and as many beside it a second, once more at the start."""
_FAULTS = ("503", "reset-before-headers", "500")


def _configure(config: Config) -> Config:
    first, second = (one.id for one in config.providers)
    targets = zip((first, second, second), _FAULTS, strict=True)
    failing = route("m", *((provider, f"fault-{fault}") for provider, fault in targets))
    return msgspec.structs.replace(config, routes=(failing,))


async def _storm(run: Run) -> Result:
    for_s = run.count(30, 8)
    shape = Shape(callers=2, simulators=2, interval_ms=1, configure=_configure)
    async with broker(run) as nats, plant(run, nats, shape) as it:
        with run.history() as history:

            def ask(number: int) -> asyncio.Future[Request]:
                body = it.body("m", stream=number % 2 == 0)
                return asyncio.ensure_future(ask_raw(history, it.port, it.key, body))

            began_s = time.monotonic()
            got = await open_loop(PER_S, for_s, ask)
            took_s = time.monotonic() - began_s
            await it.judge(history)
        entries = await it.entries()
        rows = attempts_of(await stored_rows(nats))
    served = [one for one in got if one.terminal == "done"]
    beside_per_s = (len(entries) - RATIO * len(got)) / (took_s + 1)
    waits_s = [one.duration_s for one in got]
    facts = {
        "requests": len(got),
        "seconds": took_s,
        "attempts": len(entries),
        "by_target": {
            fault: sum(one.model == f"fault-{fault}" for one in entries) for fault in _FAULTS
        },
        "by_outcome": dict(Counter(f"{row.outcome} {row.code}" for row in rows)),
        "answers": reasons(got),
        "p50_s": percentile(waits_s, 50),
        "p99_s": percentile(waits_s, 99),
    }
    held = not served and len(entries) >= len(got) and beside_per_s <= FREE_PER_S
    measured = f"{len(entries) / len(got):.2f}x ({RATIO:g}x + {max(0.0, beside_per_s):.1f}/s)"
    return Result(measured, held, facts)


CLAIMS = (
    Claim(
        id="B45",
        text=f"every target fails at {PER_S:g} requests/s: attempts by the providers' books",
        bound=f"≤ {RATIO:g}x + {FREE_PER_S:g}/s",
        run=_storm,
    ),
)
