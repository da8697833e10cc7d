"""A route's two channels side by side, as the ledger's rows tell: asked and answered on `report`.

A channel is judged by its attempts: what the other one had to answer in its place is its failure,
and none of its time. What clients were told stands beside it, by the channel that answered.
"""

from typing import Annotated

import msgspec

from droveway.contracts.access import Name
from droveway.contracts.envelope import MAX_NUMBER, NanoUsd, NoId

MAX_DAYS = 7
"""Of one comparison."""
MAX_ROWS = 2_000_000
"""Attempts that times are taken from; of more there are none."""
MAX_MODELS = 1_000
"""Names of models that one route's clients use in that time."""
MAX_ERRORS = 20
"""Kinds that one channel tells, the most frequent ones."""

UnixMs = Annotated[int, msgspec.Meta(ge=0, lt=MAX_NUMBER)]
"""Milliseconds since 1970."""
Micros = int
"""A duration in microseconds."""


class ComparisonAsked(
    msgspec.Struct, frozen=True, kw_only=True, tag="comparison.asked.v1", tag_field="t"
):
    """How do a route's channels fare?"""

    route: Name
    """Its `model` in the configuration."""
    since_ms: UnixMs
    until_ms: UnixMs


class Spread(msgspec.Struct, frozen=True, array_like=True):
    """Times of completed attempts; percentiles by nearest rank."""

    mean_us: Micros
    p50_us: Micros
    p95_us: Micros
    p99_us: Micros


class ErrorCount(msgspec.Struct, frozen=True, array_like=True):
    """How many attempts ended by one cause."""

    code: str
    count: int


class ChannelLine(msgspec.Struct, frozen=True, kw_only=True):
    """One channel."""

    channel: NoId
    requests: int = 0
    """Those that it answered, or that failed with it as the last one tried."""
    completed: int = 0
    failed: int = 0
    interrupted: int = 0
    cancelled: int = 0
    """By their clients: nobody's fault."""
    attempts: int = 0
    attempts_completed: int = 0
    attempts_cancelled: int = 0
    errors: Annotated[tuple[ErrorCount, ...], msgspec.Meta(max_length=MAX_ERRORS)] = ()
    total: Spread | None = None
    """From the caller's receipt to the end. None: there is none, or there are too many."""
    first_token: Spread | None = None
    """Of streamed ones."""
    input_tokens: int = 0
    """The cached and written ones too."""
    output_tokens: int = 0
    """The reasoning ones too."""
    cache_read_tokens: int = 0
    cost_nano_usd: NanoUsd = 0
    projected_nano_usd: NanoUsd | None = None
    """What a whole month costs at the route's pace of this time if this channel has all of it."""
    estimated_tokens: int = 0
    """Of input and output, what no provider told: of calls that were cut off or never answered."""

    @property
    def success_rate(self) -> float | None:
        """Completed attempts as a share of those that weren't cancelled; None of none."""
        counted = self.attempts - self.attempts_cancelled
        return self.attempts_completed / counted if counted else None


class ComparisonMade(
    msgspec.Struct, frozen=True, kw_only=True, tag="comparison.made.v1", tag_field="t"
):
    """The stable channel first; without lines there is no row of a canary in that time."""

    route: Name
    since_ms: UnixMs
    """Of the oldest row that counts; the asked time where there is none."""
    until_ms: UnixMs
    channels: Annotated[tuple[ChannelLine, ...], msgspec.Meta(max_length=2)] = ()
    cny_per_usd: float = 0.0
