"""The dashboard's JSON: the fields that small programs read, with what their numbers really are.

Source: `get_dashboard_stats` of the monitoring article that many such programs began from; its
fields keep their names, and an empty one has all of them beside its `error`.
"""

from datetime import UTC, datetime

import msgspec
from msgspec import UNSET, UnsetType

from droveway.contracts.reports import Latencies, StatsMade

EMPTY = "No data available"
_NANO = 1e9
_NOTHING = Latencies(0, 0, 0, 0, 0, 0)


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of the newest 1,000 requests that weren't cancelled."""

    p50: float
    p95: float
    p99: float
    avg: float
    min: float
    max: float


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Input and output together."""

    total: int
    avg_per_request: float
    """Of completed requests."""


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """What all attempts cost."""

    total_usd: float
    avg_per_request_usd: float
    """Of completed requests."""
    total_cny: float


class ErrorSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A request that failed or was interrupted."""

    timestamp: str
    status_code: int
    error_type: str
    """Its code, as errors are answered."""


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """Totals of a time, latencies, and the last ten errors."""

    timestamp: str
    """When it was made."""
    since: str
    total_requests: int
    """Accepted ones; who was refused by a limit isn't among them."""
    success_count: int
    error_count: int
    """Failed or interrupted."""
    cancelled_count: int
    """Their clients left first; that is neither."""
    success_rate: float
    """Per cent of all requests."""
    error_rate: float
    latency: Latency
    tokens: Tokens
    cost: Money
    recent_errors: tuple[ErrorSeen, ...]
    """The oldest first."""
    error: str | UnsetType = UNSET
    """Only where there was no request."""


def dashboard_of(made: StatsMade, now_ms: int) -> Dashboard:
    """The dashboard of some numbers."""
    total = made.total
    requests, completed = total.requests or 0, total.completed or 0
    failed = (total.failed or 0) + (total.interrupted or 0)
    tokens = total.input_tokens + total.output_tokens
    usd = total.cost_nano_usd / _NANO
    return Dashboard(
        timestamp=moment_text(now_ms),
        since=moment_text(made.since_ms),
        total_requests=requests,
        success_count=completed,
        error_count=failed,
        cancelled_count=total.cancelled or 0,
        success_rate=100 * completed / max(1, requests),
        error_rate=100 * failed / max(1, requests),
        latency=_latency(made.latencies or _NOTHING),
        tokens=Tokens(total=tokens, avg_per_request=tokens / max(1, completed)),
        cost=Money(
            total_usd=usd,
            avg_per_request_usd=usd / max(1, completed),
            total_cny=total.cost_nano_cny / _NANO,
        ),
        recent_errors=tuple(
            ErrorSeen(timestamp=moment_text(one.at_ms), status_code=one.status, error_type=one.code)
            for one in made.errors
        ),
        error=UNSET if requests else EMPTY,
    )


def moment_text(at_ms: int) -> str:
    """RFC 3339, UTC, to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _latency(told: Latencies) -> Latency:
    return Latency(
        p50=told.p50_us / 1000,
        p95=told.p95_us / 1000,
        p99=told.p99_us / 1000,
        avg=told.mean_us / 1000,
        min=told.min_us / 1000,
        max=told.max_us / 1000,
    )
