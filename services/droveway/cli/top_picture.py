"""One moment of the system, as `droveway top` shows it: the numbers, before any drawing."""

from collections.abc import Iterable

import msgspec

from droveway.cli.top_window import Dimension, Sums, Totals
from droveway.contracts import discovery

_NANO = 1e9
_HOUR_S = 3_600.0


class Percentiles(msgspec.Struct, frozen=True):
    """Durations in milliseconds; None: there were none."""

    p50: float | None
    p95: float | None
    p99: float | None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What one model, provider or key did in the window, or all of them."""

    name: str
    requests: int
    """Of a provider: attempts."""
    per_s: float
    success: float | None
    """Completed ones among those that no client cancelled; None: there were none."""
    failed: int
    cancelled: int
    total_ms: Percentiles
    first_token_ms: Percentiles
    """Of streams."""
    tokens_per_s: float
    """Input and output."""
    input_tokens: int
    output_tokens: int
    usd_per_h: float
    """At the pace of the window."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One process that answers."""

    service: str
    instance: str
    version: str
    started: str
    unready: str
    """Why it takes no work; empty: it does."""
    owner: bool = False
    """Of a limiter: it decides."""
    open_requests: int | None = None
    """Of a gateway."""
    usage_lag_rows: int | None = None
    """Of metrics: rows that the ledger doesn't have yet."""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    at_ms: int
    """Unix milliseconds."""
    window_s: float
    in_flight: int | None
    """None: no gateway answers."""
    all: Line
    models: tuple[Line, ...]
    """The busiest first; so are providers and keys."""
    providers: tuple[Line, ...]
    keys: tuple[Line, ...]
    services: tuple[Service, ...]


def picture(totals: Totals, found: Iterable[discovery.Stats], at_ms: int) -> Picture:
    """The numbers of the window and what services tell of themselves."""
    services = tuple(map(_service, found))
    open_requests = [one.open_requests for one in services if one.open_requests is not None]
    return Picture(
        at_ms=at_ms,
        window_s=totals.window_s,
        in_flight=sum(open_requests) if open_requests else None,
        all=_line("all", totals.all, totals.window_s),
        models=_lines(totals, "model"),
        providers=_lines(totals, "provider"),
        keys=_lines(totals, "key"),
        services=services,
    )


def _lines(totals: Totals, dimension: Dimension) -> tuple[Line, ...]:
    lines = [_line(name, sums, totals.window_s) for name, sums in totals.by[dimension].items()]
    return tuple(sorted(lines, key=lambda one: (-one.requests, -one.usd_per_h, one.name)))


def _line(name: str, sums: Sums, window_s: float) -> Line:
    return Line(
        name=name,
        requests=sums.requests,
        per_s=sums.requests / window_s,
        success=sums.success,
        failed=sums.failed,
        cancelled=sums.cancelled,
        total_ms=Percentiles(*map(sums.total.percentile, (0.5, 0.95, 0.99))),
        first_token_ms=Percentiles(*map(sums.first.percentile, (0.5, 0.95, 0.99))),
        tokens_per_s=(sums.input_tokens + sums.output_tokens) / window_s,
        input_tokens=sums.input_tokens,
        output_tokens=sums.output_tokens,
        usd_per_h=sums.cost_nano / _NANO / window_s * _HOUR_S,
    )


def _service(one: discovery.Stats) -> Service:
    told = one.metadata
    return Service(
        service=one.name.removeprefix("droveway-"),
        instance=one.id,
        version=one.version,
        started=one.started,
        unready=told.get("unready", ""),
        owner=told.get("owner") == "true",
        open_requests=_count(told.get("open_requests", "")),
        usage_lag_rows=_count(told.get("usage_lag_rows", "")),
    )


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None
