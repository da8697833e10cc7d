"""Memory over many requests: what grows with each of them would end every process one day.

`make prove` uses the time that a claim has; `python -m tests.prove.memory_slope 1000000` as many
requests as it is told.
"""

import asyncio
import json
import math
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from tests.prove.claim import Claim, Result, Run
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.checker import USUAL, Growth, grown

SLOPE_MIB = 1.0
PER_REQUESTS = 100_000
SERVICES = ("gateway", "router", "limiter", "caller")
SAMPLES = 24
_AT_ONCE = 24
_WARM_UP_S, _QUICK_WARM_UP_S = 45, 4
_MEASURED_S, _QUICK_MEASURED_S = 195, 12
_NO_LIMIT = 10**9
_POLL_S = 0.2
_MIB = 1024 * 1024
_ROOT = Path(__file__).parents[2]
_ALLOWED: Growth = {
    **USUAL,
    "rss_bytes *": math.inf,
    "fds of caller-*": 8.0,
    "droveway_limiter_remembered{*": math.inf,
}
"""Memory is what the slope is for; connections to providers are kept for the next request."""
_FEW_DECISIONS = {"DROVEWAY_LIMITER_REMEMBERED_DECISIONS": "10000"}
"""Else the limiter would still fill its memory of decisions up for long after the warm-up."""


class Slope(NamedTuple):
    """MiB per 100,000 requests, by least squares."""

    mib: float
    plus_minus: float
    """Half of the 95 % confidence interval."""


async def _measured(run: Run, requests: int = 0) -> Result:
    """For a time, or for so many requests."""
    for_s = run.count(_MEASURED_S, _QUICK_MEASURED_S) if not requests else _NO_LIMIT
    shape = Shape(interval_ms=1, environment=_FEW_DECISIONS)
    async with broker(run) as nats, plant(run, nats, shape) as it:
        await _Load(it, run.count(_WARM_UP_S, _QUICK_WARM_UP_S), _NO_LIMIT, 1).ended()
        before = await it.watched().snapshot()
        load = _Load(it, for_s, requests or _NO_LIMIT, 2)
        samples = await _samples(it, load, for_s, requests)
        counts = await load.ended()
        if await it.until_idle() is None:
            run.blame("requests are still open at the provider")
        after = await it.watched().settled(before, _ALLOWED, 20.0)
    slopes = {name: slope(samples["requests"], samples[name]) for name in SERVICES}
    more = grown(before, after, _ALLOWED)
    failures = sum(n for name, n in counts.items() if name.endswith("failed"))
    facts: dict[str, Any] = {
        "requests": counts.total(),
        "by_kind": dict(counts),
        "samples": samples,
        "slopes": {name: one._asdict() for name, one in slopes.items()},
        "grown": more,
    }
    held = max(one.mib for one in slopes.values()) <= SLOPE_MIB and not more and not failures
    told = ", ".join(f"{one.mib:+.2f} ± {one.plus_minus:.2f}" for one in slopes.values())
    return Result(f"{counts.total():,}; {told} MiB; {len(more)}", held, facts)


class _Load:
    """A process that asks; `requests` is how many have ended."""

    def __init__(self, it: Plant, for_s: float, limit: int, seed: int) -> None:
        words = (it.port, it.key, _AT_ONCE, for_s, limit, seed)
        self.requests = 0
        self._counts: Counter[str] = Counter()
        self._task = asyncio.ensure_future(self._follow([str(word) for word in words]))

    async def until(self, requests: float) -> None:
        """Waits until so many requests have ended."""
        while self.requests < requests and not self._task.done():  # noqa: ASYNC110 - it is told
            await asyncio.sleep(_POLL_S)

    async def ended(self) -> Counter[str]:
        """What was asked, once all is."""
        await self._task
        return self._counts

    async def _follow(self, words: list[str]) -> None:
        command = [sys.executable, "-m", "tests.prove.memory_load", *words]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=_ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                self._counts = Counter(json.loads(line))
                self.requests = self._counts.total()
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _samples(it: Plant, load: _Load, for_s: float, requests: int) -> dict[str, list[float]]:
    """Sizes in MiB, and after how many requests."""
    found: dict[str, list[float]] = {name: [] for name in ("requests", *SERVICES)}
    began_s = time.monotonic()
    for number in range(1, SAMPLES + 1):
        share = number / (SAMPLES + 1)
        if requests:
            await load.until(requests * share)
        else:
            await asyncio.sleep(began_s + for_s * share - time.monotonic())
        found["requests"].append(load.requests)
        for name in SERVICES:
            found[name].append(await it[name][0].rss_bytes() / _MIB)
    return found


def slope(requests: list[float], sizes_mib: list[float]) -> Slope:
    """By least squares.

    Raises:
        ValueError: There are fewer than 12 samples.
    """
    if (count := len(requests)) < 12:
        raise ValueError(f"{count} samples tell no slope: 12 are needed")
    hundreds = [one / PER_REQUESTS for one in requests]
    fit = statistics.linear_regression(hundreds, sizes_mib)
    rest = [
        size - fit.slope * at - fit.intercept for at, size in zip(hundreds, sizes_mib, strict=True)
    ]
    spread = math.sqrt(statistics.variance(hundreds) * (count - 1))
    deviation = math.sqrt(sum(one * one for one in rest) / (count - 2))
    student = 1.96 + 2.4 / (count - 2)  # 97.5 % of Student's t, within 1 % from 10 on
    return Slope(fit.slope, student * deviation / spread)


CLAIMS = (
    Claim(
        id="D20",
        text="requests, a tenth of them left and a tenth failing; growth of gateway, router, "
        f"limiter and caller per {PER_REQUESTS:,} of them, with 95 % confidence; descriptors, "
        "threads and gauges that stay grown",
        bound=f"-; ≤ {SLOPE_MIB:g} MiB each; 0",
        run=_measured,
    ),
)


async def _in_full(requests: int) -> None:
    folder = _ROOT / "build" / "prove" / "D20-in-full"
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    run = Run("D20", 1, False, folder)
    result = await _measured(run, requests)
    (folder / "result.json").write_text(json.dumps(result.facts))
    sys.stdout.write("\n".join((result.measured, *run.violations, "")))
    sys.exit(not result.held or bool(run.violations))


if __name__ == "__main__":
    uvloop.run(_in_full(int(sys.argv[1])))
