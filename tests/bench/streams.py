"""The measures of streamed answers: chunks, first tokens, and many streams at once."""

from collections import defaultdict

from tests.bench.figures import Figure, Rounds, median_of, percentile, split_cpu, times
from tests.bench.world import World, memory_kib

_UNPACED_STREAMS = 32
_PACED_STREAMS = 64
_PACED_PER_S = 6_400
_SLOW_STREAMS = 1_000
_SLOW_S = 8.0


def streams_unpaced(world: World) -> list[Figure]:
    """32 streams of 200 chunks that are all there at once."""
    per_s: Rounds = defaultdict(list)
    cost_us: Rounds = defaultdict(list)
    for _ in range(world.rounds):
        for target in world.through:
            sample = world.load(
                target, "mock-c200-p0", stream=True, connections=_UNPACED_STREAMS, duration_s=2.5
            )
            if sample is not None:
                per_s[target.name].append(sample.outcome.chunks / sample.outcome.counted_s)
                split = split_cpu(sample.cpu_us, sample.outcome.all_chunks)
                cost_us[target.name].append(sum(split.values()))
    rate = median_of("chunks/s, 32 unpaced streams", per_s)
    return [
        rate,
        times(rate, "chunks/s: Droveway's as a multiple of this", "≥ 2 portkey, ≥ 40 litellm 2"),
        median_of("CPU µs per chunk, unpaced", cost_us, digits=1),
    ]


def streams_paced(world: World) -> list[Figure]:
    """64 streams with a chunk each 10 ms: how models really write, only faster."""
    per_s: Rounds = defaultdict(list)
    cost_us: Rounds = defaultdict(list)
    parts: dict[str, dict[str, float]] = {}
    for _ in range(max(1, world.rounds - 1)):
        for target in world.through:
            sample = world.load(
                target, "mock-c200-p10", stream=True, connections=_PACED_STREAMS, duration_s=4
            )
            if sample is not None:
                per_s[target.name].append(sample.outcome.chunks / sample.outcome.counted_s)
                split = split_cpu(sample.cpu_us, sample.outcome.all_chunks)
                cost_us[target.name].append(sum(split.values()))
                parts[target.name] = split
    return [
        median_of(f"chunks/s, 64 streams paced at 10 ms ({_PACED_PER_S:,} offered)", per_s),
        median_of(
            "CPU µs per chunk, 64 paced streams",
            cost_us,
            target="≤ 40 (20)",
            slower=world.messages.slower,
            digits=1,
            by_service=parts,
        ),
    ]


def first_token(world: World) -> list[Figure]:
    """How much later the first token comes."""
    added: Rounds = defaultdict(list)
    for _ in range(world.rounds):
        own_ms = 0.0
        for target in world.targets:
            sample = world.load(target, "mock-c10-p2", stream=True, connections=1, duration_s=1.2)
            if sample is not None and sample.outcome.first_tokens_ms:
                p50_ms = percentile(sample.outcome.first_tokens_ms, 50)
                added[target.name].append(p50_ms - own_ms)
                own_ms = own_ms or p50_ms
    name = "added first token p50 at 1 in flight, ms"
    return [median_of(name, added, target="≤ 2.5 (1.2)", digits=2)]


def slow_streams(world: World) -> list[Figure]:
    """A thousand streams open at once: what each costs in memory."""
    if world.deployed is None:
        return []
    target = world.deployed.target
    before = memory_kib(target)
    held: dict[str, int] = {}

    def look() -> None:
        held.update(memory_kib(target))

    sample = world.load(
        target,
        "mock-c60-p1000",
        stream=True,
        connections=_SLOW_STREAMS,
        duration_s=_SLOW_S / world.scale,
        ramp_s=_SLOW_S / 2,
        meanwhile=(_SLOW_S * 0.75, look),
    )
    if sample is None:
        return []
    each = {name: (held[name] - before[name]) / _SLOW_STREAMS for name in ("gateway", "caller")}
    return [
        Figure(
            name=f"KiB of {name} per stream, 1,000 open",
            target="≤ 60 (30)",
            values={target.name: kib},
            digits=1,
        )
        for name, kib in each.items()
    ]
