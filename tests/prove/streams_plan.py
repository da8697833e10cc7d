"""What client processes are told to ask; drawn from a seed in one place."""

import random
from collections.abc import Sequence

import msgspec

CUTS = ("cut-after", "fin-after", "end-after", "error-after", "stall-after", "malformed-after")
"""The provider breaks in mid-answer, after so many tokens."""
FAULTS = (*CUTS, "no-done", "500", "reset-before-headers", "slow-first-token-200", "one-byte")
"""In the words of the simulator."""
SHORTEST, LONGEST = 10, 60
"""Tokens of a stream; short ones are more frequent."""
LATEST_LEAVE_S = 0.15


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """One stream: of which model, at which gateway, and when its client leaves, if it does."""

    model: str
    port: int
    leave_after_s: float | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that one client process asks."""

    client: str
    """`raw`, `bus`, or an SDK's name."""
    key: str
    asks: Sequence[Ask]
    at_once: int
    until_s: float
    """The monotonic second after which no further stream is begun."""
    history: str
    """Where to write what was seen."""
    nats_url: str = ""
    seed_file: str = ""
    """Of the key's NATS user; both for `bus` only."""


def draw(
    rng: random.Random, count: int, ports: Sequence[int], *, faulty: float = 0, leaving: float = 0
) -> list[Ask]:
    """So many streams, some of whose providers break, some of whose clients leave."""
    return [_one(rng, ports, faulty, leaving) for _ in range(count)]


def _one(rng: random.Random, ports: Sequence[int], faulty: float, leaving: float) -> Ask:
    tokens = round(rng.triangular(SHORTEST, LONGEST, SHORTEST))
    model = f"numbered-{tokens}"
    if rng.random() < faulty:
        model = f"fault-{model}+{_fault(rng, tokens)}"
    leave_after_s = rng.uniform(0, LATEST_LEAVE_S) if rng.random() < leaving else None
    return Ask(model, rng.choice(ports), leave_after_s)


def _fault(rng: random.Random, tokens: int) -> str:
    name = rng.choice(FAULTS)
    return f"{name}-{rng.randrange(tokens)}" if name in CUTS else name
