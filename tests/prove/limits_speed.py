"""What a decision over six limits takes, its log included."""

from typing import Any

import msgspec

from droveway.contracts.access import Key, Limit
from droveway.contracts.config import Config
from tests.bench import system
from tests.bench.limiter import STEADY_PER_S, measured
from tests.bench.targets import SIX_WINDOWS_S
from tests.prove.claim import Claim, Result, Run
from tests.prove.limits_rules import PLENTY
from tests.prove.limits_world import owner_of
from tests.prove.plant import Shape, broker, plant

ALONE = 3.5
"""250 µs, in messages and their answers where those took 71 µs."""
STEADY_P99 = 28
"""2 ms, in the same."""
PER_CORE_S = 20_000
_KEY = "six"


def _configure(base: Config) -> Config:
    limits = tuple(Limit(requests=PLENTY, window_s=window_s) for window_s in SIX_WINDOWS_S)
    key = Key(id=_KEY, sha256="0" * 64, limits=limits)
    return msgspec.structs.replace(base, keys=(*base.keys, key))


async def _six_limits(run: Run) -> Result:
    shape = Shape(gateways=0, routers=0, callers=0, metrics=0, limiters=1, configure=_configure)
    seconds = run.count(15, 3)
    async with broker(run) as nats, plant(run, nats, shape) as it:
        owner = await owner_of(it["limiter"])
        assert owner is not None, "the only limiter owns the limits"
        pid = owner.member.pid
        async with nats.bus("router") as bus:
            found = await measured(bus, _KEY, lambda: system.cpu_us(pid), seconds)
        appends = await owner.member.metric("droveway_partition_appends_total")
        commit_s = await owner.member.metric("droveway_partition_commit_seconds_total")
    facts: dict[str, Any] = {**found._asdict(), "append_us": 1e6 * commit_s / max(1, appends)}
    alone, steady = found.alone_us / found.reply_us, 1e3 * found.steady_p99_ms / found.reply_us
    held = alone <= ALONE and steady <= STEADY_P99 and found.per_core_s >= PER_CORE_S
    measured_ = (
        f"{alone:.1f} ({found.alone_us:.0f} µs); {steady:.1f} ({found.steady_p99_ms:.2f} ms); "
        f"{found.per_core_s:,.0f}"
    )
    return Result(measured_, held, facts)


CLAIMS = (
    Claim(
        id="D12",
        text="a decision over six limits, there and back with its log, in messages and their "
        f"answers through the same broker, by turns: p50 alone; p99 at {STEADY_PER_S:,}/s; "
        "decisions per second of the owner's CPU time",
        bound=f"≤ {ALONE}; ≤ {STEADY_P99}; ≥ {PER_CORE_S:,}",
        run=_six_limits,
    ),
)
