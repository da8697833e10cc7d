"""The measures, each a function from a running world to figures.

Loads on all targets are interleaved within each round, so that a slow minute of the machine hits
all of them; a figure is the median over the rounds. Latencies are told as what a gateway adds to
the mock's own in the same round.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping

from tests.bench.figures import Figure, Rounds, median_of, percentile, split_cpu, times
from tests.bench.limiter import STEADY_PER_S, decisions
from tests.bench.recording import STEADY_PER_S as STEADY_REQUESTS_PER_S
from tests.bench.recording import recording
from tests.bench.streams import first_token, slow_streams, streams_paced, streams_unpaced
from tests.bench.targets import Target
from tests.bench.translation import costs
from tests.bench.world import Sample, World, memory_kib
from tests.bench.yardstick import BUSY_THEN_US, POST_THEN_US, REPLY_THEN_US, post_us

_OPEN_LOOP_PER_S = 100
_SATURATING = 32
_KIB_PER_MB = 1e6 / 1024


def latency_alone(world: World) -> list[Figure]:
    """One request at a time."""

    def take(target: Target) -> Sample | None:
        return world.load(target, "mock", connections=1, duration_s=1.2)

    return _added(world, take, "at 1 in flight", "≤ 1.0 (0.7)", "")


def latency_open_loop(world: World) -> list[Figure]:
    """A hundred requests a second, however long answers take."""

    def take(target: Target) -> Sample | None:
        return world.load(target, "mock", connections=4, per_s=_OPEN_LOOP_PER_S, duration_s=3)

    return _added(world, take, "at 100 req/s, open loop", "", "≤ 4 (3)")


def _added(
    world: World,
    take: Callable[[Target], Sample | None],
    where: str,
    target_p50: str,
    target_p99: str,
) -> list[Figure]:
    p50: Rounds = defaultdict(list)
    p99: Rounds = defaultdict(list)
    for _ in range(world.rounds):
        if (floor := take(world.direct)) is None:
            break
        own50, own99 = (percentile(floor.outcome.latencies_ms, each) for each in (50, 99))
        p50[world.direct.name].append(own50)
        p99[world.direct.name].append(own99)
        for target in world.through:
            if (sample := take(target)) is not None and sample.outcome.latencies_ms:
                latencies_ms = sample.outcome.latencies_ms
                p50[target.name].append(percentile(latencies_ms, 50) - own50)
                p99[target.name].append(percentile(latencies_ms, 99) - own99)
    return [
        median_of(f"added latency p50 {where}, ms", p50, target=target_p50, digits=2),
        median_of(f"added latency p99 {where}, ms", p99, target=target_p99, digits=2),
    ]


def saturation(world: World) -> list[Figure]:
    """As many requests as 32 connections bring through."""
    per_s: Rounds = defaultdict(list)
    cost_us: Rounds = defaultdict(list)
    parts: dict[str, dict[str, float]] = {}
    for _ in range(world.rounds):
        for target in world.targets:
            sample = world.load(target, "mock", connections=_SATURATING, duration_s=2.5)
            if sample is None:
                continue
            per_s[target.name].append(sample.outcome.answers / sample.outcome.counted_s)
            if target.services:
                split = split_cpu(sample.cpu_us, sample.outcome.all_answers)
                cost_us[target.name].append(sum(split.values()))
                parts[target.name] = split
    rate = median_of("req/s at 32 in flight", per_s)
    return [
        rate,
        times(rate, "req/s: Droveway's as a multiple of this", "≥ 1.2 portkey, ≥ 9 litellm 2"),
        median_of(
            "CPU µs per request at 32 in flight",
            cost_us,
            target="≤ 480 (360)",
            slower=world.messages.slower,
            by_service=parts,
        ),
    ]


def limiter(world: World) -> list[Figure]:
    """One decision over six limits, asked over the bus as the router asks."""
    if world.deployed is None or world.left_s() < 10:
        return []
    found = decisions(world.deployed, seconds=3 * world.scale)
    who = world.deployed.target.name

    later, slower = world.messages.later, world.messages.slower

    def figure(
        name: str, value: float, target: str = "", digits: int = 0, slower: float = 0
    ) -> Figure:
        return Figure(
            name=f"limiter: {name}",
            target=target,
            slower=slower,
            values={who: value},
            digits=digits,
        )

    return [
        figure(
            "decision with six limits, there and back, p50 alone, µs",
            found.alone_us, "≤ 250", slower=later,
        ),
        figure("a message and its answer through the same broker, p50, µs", found.reply_us),
        figure(
            f"the same decision at {STEADY_PER_S:,}/s, p99, ms",
            found.steady_p99_ms, "≤ 2", 2, slower=later,
        ),
        figure(
            "decisions/s per core, 64 in flight",
            found.per_core_s, "≥ 20,000 (35,000)", slower=1 / slower,
        ),
        figure("the decision itself, without bus and log, CPU µs", found.pure_us, digits=1),
    ]  # fmt: skip


def recorded(world: World) -> list[Figure]:
    """The rows of requests, counted where they end."""
    if world.deployed is None or world.left_s() < 30:
        return []
    found = recording(world.deployed, seconds=9 * world.scale)
    who = world.deployed.target.name
    where = f"CPU µs per request at {STEADY_REQUESTS_PER_S:,}/s"
    figures = (
        ("metrics", "≤ 30", found.metrics_us),
        ("limiter, which counts the same rows for budgets", "", found.limiter_us),
        ("door: rows made and sent", "≤ 10", found.door_us),
        ("caller: rows made and sent", "≤ 10", found.caller_us),
    )
    return [
        Figure(
            name=f"recording: {where}, {name}",
            target=target,
            slower=world.messages.slower,
            values={who: value},
            digits=1,
        )
        for name, target, value in figures
    ]


def translation(world: World) -> list[Figure]:
    """What checking and translating costs by itself, in this process."""
    who = world.through[0].name
    return [
        Figure(
            name=f"translation: {cost.name}, CPU µs",
            target=f"≤ {cost.bound_us:g}" if cost.bound_us else "",
            values={who: sum(cost.parts_us.values())},
            digits=1,
            by_service={who: cost.parts_us} if len(cost.parts_us) > 1 else {},
        )
        for cost in costs()
    ]


def yardstick(world: World) -> list[Figure]:
    """Known work: tells how fast the machine is now, compared with another run's."""
    who, now = world.direct.name, world.messages

    def figure(name: str, value: float, then: str = "") -> Figure:
        target = f"{then} when targets were set" if then else ""
        return Figure(name=f"yardstick: {name}", target=target, values={who: value})

    return [
        figure(
            "CPU µs of an aiohttp POST, 1 in flight", post_us(world.direct, 1), f"{POST_THEN_US}"
        ),
        figure("CPU µs of the same, 32 in flight", post_us(world.direct, _SATURATING)),
        figure("message and answer by nats-py, p50 alone, µs", now.reply_us, f"{REPLY_THEN_US}"),
        figure("CPU µs of the same, both sides, 64 in flight", now.busy_us, f"{BUSY_THEN_US}"),
    ]


def memory(world: World) -> list[Figure]:
    """Memory after the start and after everything else; comes last."""
    loaded = {target.name: memory_kib(target) for target in world.through}
    return [
        _memory("memory (PSS) before any request, MB", "", world.idle_kib),
        _memory("memory (PSS) after this run, MB", "≤ 330, one process ≤ 150", loaded),
    ]


def _memory(name: str, target: str, kib: Mapping[str, Mapping[str, int]]) -> Figure:
    split = {
        who: {service: one / _KIB_PER_MB for service, one in parts.items()}
        for who, parts in kib.items()
    }
    values = {who: sum(parts.values()) for who, parts in split.items()}
    return Figure(name=name, target=target, values=values, by_service=split)


MEASURES: dict[str, Callable[[World], list[Figure]]] = {
    "yardstick": yardstick,
    "latency": latency_alone,
    "open-loop": latency_open_loop,
    "saturation": saturation,
    "unpaced": streams_unpaced,
    "paced": streams_paced,
    "first-token": first_token,
    "limiter": limiter,
    "recording": recorded,
    "translation": translation,
    "slow-streams": slow_streams,
    "memory": memory,
}
NOT_QUICK = frozenset({"slow-streams"})
