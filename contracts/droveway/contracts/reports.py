"""Operator or door to metrics: what was used and what it cost, as the ledger's SQL has it.

One question, one answer, within `MAX_ANSWER_BYTES`; one of the running metrics services takes it.
Money is counted in nano-dollars, the ledger's unit, and shown in yuan at the account's rate. Sums
go by whole hours in UTC, by the broker's time of each row.
"""

from typing import Annotated, Literal, get_args

import msgspec

from droveway.contracts.comparison import ComparisonAsked, ComparisonMade
from droveway.contracts.envelope import MAX_NUMBER, Id, NanoUsd, NoId, Text, UnixNs
from droveway.contracts.envelope import subject as _subject
from droveway.contracts.fill import FillAsked, FillTold

METRICS = "metrics"
"""The queue group in which questions are taken."""
MAX_LINES = 5_000
"""Of one report; of more the most expensive ones are told, and `complete` is false."""
MAX_ANSWER_BYTES = 768 * 1024
"""Of one answer; lines that don't fit are left out likewise."""
RECENT_ERRORS = 10
"""Of one dashboard."""
LATENCIES = 1_000
"""The newest requests whose latencies a dashboard is made of."""

Dimension = Literal["tenant", "key", "provider", "model", "target", "mode", "day", "hour"]
"""By what lines are told apart: `model` is the client's name for it, `target` the provider's."""
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
Mode = Literal["streaming", "whole"]
UnixMs = Annotated[int, msgspec.Meta(ge=0, lt=MAX_NUMBER)]
"""Milliseconds since 1970."""
Micros = int
"""A duration in microseconds."""
NanoCny = int
"""10^-9 yuan."""


def report_subject() -> str:
    """`droveway.v1.report`."""
    return _subject("report")


class Only(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is counted; an empty field leaves all."""

    tenant: NoId = ""
    key_id: NoId = ""
    provider: NoId = ""
    model: Text = ""
    target: Text = ""
    mode: Literal["", "streaming", "whole"] = ""


class ReportAsked(msgspec.Struct, frozen=True, kw_only=True, tag="report.asked.v1", tag_field="t"):
    """Sums of a time, a line for each group."""

    by: Annotated[tuple[Dimension, ...], msgspec.Meta(max_length=len(DIMENSIONS))] = ()
    since_ms: UnixMs
    until_ms: UnixMs
    only: Only = Only()
    measures: bool = True
    """Also what only rows tell: percentiles, and first tokens of cache hits and misses."""
    max_lines: Annotated[int, msgspec.Meta(ge=1, le=MAX_LINES)] = MAX_LINES


class StatsAsked(msgspec.Struct, frozen=True, kw_only=True, tag="stats.asked.v1", tag_field="t"):
    """The dashboard of a time: totals, latencies, errors."""

    since_ms: UnixMs
    until_ms: UnixMs
    only: Only = Only()


class BillAsked(msgspec.Struct, frozen=True, kw_only=True, tag="bill.asked.v1", tag_field="t"):
    """What one request cost, line by line."""

    request_id: Id


class Measures(msgspec.Struct, frozen=True, array_like=True):
    """Of rows, which are kept for days only; None where there is no row that tells it.

    Latencies are those of completed requests; of completed attempts, where lines are by target.
    """

    p50_us: Micros | None = None
    p95_us: Micros | None = None
    p99_us: Micros | None = None
    hit_first_token_us: Micros | None = None
    """Mean, of completed attempts that read from a cache."""
    miss_first_token_us: Micros | None = None
    """Mean, of those that didn't."""
    hits: int = 0
    misses: int = 0


class ReportLine(msgspec.Struct, frozen=True, array_like=True):
    """Sums of one group."""

    group: tuple[str, ...] = ()
    """One word for each dimension: `2026-11-23`, `2026-11-23T14`, `streaming`; may be empty."""
    requests: int | None = None
    """None: not known by target. So are the four that follow."""
    completed: int | None = None
    failed: int | None = None
    interrupted: int | None = None
    cancelled: int | None = None
    attempts: int = 0
    attempts_completed: int = 0
    estimated: int = 0
    """Attempts whose tokens were counted by us, or told by a witness."""
    input_tokens: int = 0
    """The cached and written ones too."""
    output_tokens: int = 0
    """The reasoning ones too."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    unpriced_tokens: int = 0
    """At the default price, since nobody knows theirs."""
    cost_nano_usd: NanoUsd = 0
    cost_nano_cny: NanoCny = 0
    first_token_us: Micros | None = None
    """Mean, of attempts that had one."""
    measures: Measures = Measures()

    @property
    def cache_hit_rate(self) -> float | None:
        """Read tokens as a share of the input; None without input."""
        return self.cache_read_tokens / self.input_tokens if self.input_tokens > 0 else None


class ReportMade(msgspec.Struct, frozen=True, kw_only=True, tag="report.made.v1", tag_field="t"):
    """Lines by time where they are told apart by it, else the most expensive first."""

    by: tuple[Dimension, ...]
    since_ms: UnixMs
    """The asked time, widened to whole hours."""
    until_ms: UnixMs
    lines: tuple[ReportLine, ...]
    total: ReportLine
    """Of all, told or not."""
    complete: bool = True
    """No line is left out."""
    measured_since_ms: UnixMs | None = None
    """From when on rows stand for `measures`; None: there are none, or too many to look at."""
    projected_nano_usd: NanoUsd | None = None
    """What a whole month costs at the pace of this time; None where it is under an hour."""


class Latencies(msgspec.Struct, frozen=True, array_like=True):
    """Of the newest requests, cancelled ones aside."""

    p50_us: Micros
    p95_us: Micros
    p99_us: Micros
    mean_us: Micros
    min_us: Micros
    max_us: Micros


class RecentError(msgspec.Struct, frozen=True, array_like=True):
    """A request that failed or was interrupted."""

    at_ms: UnixMs
    status: int
    code: str


class StatsMade(msgspec.Struct, frozen=True, kw_only=True, tag="stats.made.v1", tag_field="t"):
    """The dashboard's numbers."""

    since_ms: UnixMs
    until_ms: UnixMs
    total: ReportLine
    latencies: Latencies | None = None
    """None: there was no such request."""
    errors: tuple[RecentError, ...] = ()
    """The newest, in the order in which they came."""


class BillLine(msgspec.Struct, frozen=True, array_like=True):
    """Tokens of one kind; `tokens * rate` is its cost in femto-dollars (10^-15)."""

    kind: str
    """`input`, `cache_read`, `cache_write`, `cache_write_1h`, `output`."""
    tokens: int
    rate: int
    """Nano-dollars per million tokens."""
    full_rate: int
    """What the same tokens would cost without a cache."""

    @property
    def femto_usd(self) -> int:
        """The line's cost."""
        return self.tokens * self.rate


class AttemptBill(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt's lines; they and `rounding_femto_usd` add up to `cost_nano_usd` exactly."""

    attempt_id: bytes
    attempt: int
    provider: str
    target: Text
    outcome: str
    code: str = ""
    witness: str = ""
    estimated: bool = False
    began_ns: UnixNs
    lines: tuple[BillLine, ...]
    above_input_tokens: int = 0
    """Rates of requests with more input than this; 0: the ordinary ones."""
    source: str
    """Where the price is from, as in the price book."""
    rounding_femto_usd: int = 0
    """Up to the next whole nano-dollar."""
    cost_nano_usd: NanoUsd


class BillMade(msgspec.Struct, frozen=True, kw_only=True, tag="bill.made.v1", tag_field="t"):
    """A request's attempts, each with its lines; without any there is no row of it."""

    request_id: Id
    tenant: str = ""
    key_id: str = ""
    model: Text = ""
    outcome: str = ""
    """Empty while the request's own row isn't there."""
    attempts: tuple[AttemptBill, ...] = ()
    cost_nano_usd: NanoUsd = 0
    cost_nano_cny: NanoCny = 0


class ReportRefused(
    msgspec.Struct, frozen=True, kw_only=True, tag="report.refused.v1", tag_field="t"
):
    """No answer; the reason is for people."""

    reason: Text
    again: bool = False
    """Whether the same question may be answered later."""


Question = ReportAsked | StatsAsked | BillAsked | ComparisonAsked | FillAsked
Answer = ReportMade | StatsMade | BillMade | ComparisonMade | FillTold | ReportRefused

question_decoder = msgspec.msgpack.Decoder(Question)
answer_decoder = msgspec.msgpack.Decoder(Answer)
