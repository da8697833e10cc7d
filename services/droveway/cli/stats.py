"""`droveway stats`: the dashboard as text."""

import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from droveway.cli.admin_session import check_id, print_json, printable, run
from droveway.cli.report import ANSWER_WITHIN_S
from droveway.contracts.reports import Only, StatsAsked
from droveway.runtime.dashboard import Dashboard, dashboard_of
from droveway.runtime.errors import SettingsError
from droveway.runtime.reports import ask_stats, moment_ms, month_of

_WIDE = 60


def show(data: Path, key_id: str, since: str, console: Console | None) -> None:
    """Prints the dashboard of all keys or of one; as JSON where there is no console.

    Raises:
        SettingsError: `since` is no time.
        EntryMissing: `key_id` is no id.
        ReportUnavailable: No metrics service answers.
    """
    if key_id:
        check_id(key_id)
    now_ms = time.time_ns() // 1_000_000
    try:
        since_ms = moment_ms(since, now_ms) if since else month_of(now_ms)
    except ValueError as error:
        raise SettingsError(f"--since {error}") from None
    asked = StatsAsked(since_ms=since_ms, until_ms=now_ms, only=Only(key_id=key_id))
    made = run(data, lambda bus: ask_stats(bus, asked, ANSWER_WITHIN_S))
    dashboard = dashboard_of(made, now_ms)
    if console is None:
        print_json(dashboard)
        return
    for line in lines(dashboard, key_id):
        console.print(line, markup=False)


def lines(found: Dashboard, key_id: str = "") -> Iterator[str]:
    """The dashboard as text; of no request it says so instead of printing zeros."""
    yield "=" * _WIDE
    yield f"  Droveway: dashboard of {f'the key {key_id}' if key_id else 'all keys'}"
    yield "=" * _WIDE
    yield f"  Updated: {found.timestamp}, since {found.since}"
    yield "-" * _WIDE
    if not found.total_requests:
        yield "  No data available: no request has been accepted in this time"
        yield "=" * _WIDE
        return
    yield f"  Requests: {found.total_requests:,}"
    yield f"  Completed: {found.success_count:,} ({found.success_rate:.2f}%)"
    yield f"  Failed: {found.error_count:,} ({found.error_rate:.2f}%)"
    if found.cancelled_count:
        yield f"  Cancelled by their clients: {found.cancelled_count:,}"
    yield "-" * _WIDE
    latency = found.latency
    yield "  Latency of the newest requests (ms):"
    yield f"    P50: {latency.p50:.2f}"
    yield f"    P95: {latency.p95:.2f}"
    yield f"    P99: {latency.p99:.2f}"
    yield f"    Mean: {latency.avg:.2f}"
    yield f"    Min/max: {latency.min:.2f} / {latency.max:.2f}"
    yield "-" * _WIDE
    tokens, cost = found.tokens, found.cost
    yield f"  Tokens: {tokens.total:,}, {tokens.avg_per_request:,.1f} per completed request"
    yield f"  Cost: ${cost.total_usd:,.4f} (¥{cost.total_cny:,.4f})"
    yield f"    per completed request: ${cost.avg_per_request_usd:.6f}"
    if found.recent_errors:
        yield "-" * _WIDE
        yield "  Last errors:"
    for error in found.recent_errors:
        yield f"    {error.timestamp}  {error.status_code}  {printable(error.error_type)}"
    yield "=" * _WIDE
