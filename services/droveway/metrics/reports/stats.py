"""The dashboard: totals of a time, latencies of the newest requests, the last errors."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from droveway.contracts.reports import (
    LATENCIES,
    RECENT_ERRORS,
    Latencies,
    Only,
    RecentError,
    ReportLine,
    StatsAsked,
    StatsMade,
)
from droveway.metrics.ledger.rows import name
from droveway.metrics.ledger.tables import requests
from droveway.metrics.reports.rates import Rates
from droveway.metrics.reports.sources import REQUESTS, Span, span_of
from droveway.metrics.reports.sums import read_lines

MAX_NEWEST = 50_000
"""Requests among which latencies and errors are looked for: a quarter of a second in SQLite."""
_READ = (
    "stored_ms", "tenant", "key_id", "provider", "model", "stream", "outcome", "status", "code",
    "ended_us",
)  # fmt: skip
_FAILED = ("failed", "interrupted")


async def make_stats(
    connection: AsyncConnection, asked: StatsAsked, rates: Rates, max_rows: int
) -> StatsMade:
    """Answers it; latencies and errors are looked for in the newest of all requests."""
    span = span_of(asked.since_ms, asked.until_ms)
    total = await read_lines(connection, (), span, asked.only, rates)
    return StatsMade(
        since_ms=span.since_ms,
        until_ms=span.until_ms,
        total=total.by_group.get((), ReportLine()),
        latencies=await _latencies(connection, span, asked.only, max_rows),
        errors=await _errors(connection, span, asked.only, max_rows),
    )


def latencies_of(durations_us: list[int]) -> Latencies | None:
    """Percentiles by nearest rank; None of nothing."""
    if not durations_us:
        return None
    ordered = sorted(durations_us)
    number = len(ordered)

    def at(percent: int) -> int:
        return ordered[-(-number * percent // 100) - 1]

    return Latencies(at(50), at(95), at(99), sum(ordered) // number, ordered[0], ordered[-1])


async def _latencies(
    connection: AsyncConnection, span: Span, only: Only, max_rows: int
) -> Latencies | None:
    newest = _newest(span, max_rows)
    query = (
        select(newest.c.ended_us)
        .where(*_of(newest, only), newest.c.outcome != "cancelled")
        .order_by(newest.c.stored_ms.desc())
        .limit(LATENCIES)
    )
    return latencies_of([*(await connection.execute(query)).scalars()])


async def _errors(
    connection: AsyncConnection, span: Span, only: Only, max_rows: int
) -> tuple[RecentError, ...]:
    newest = _newest(span, max_rows)
    query = (
        select(newest.c.stored_ms, newest.c.status, newest.c.code)
        .where(*_of(newest, only), newest.c.outcome.in_(_FAILED))
        .order_by(newest.c.stored_ms.desc())
        .limit(RECENT_ERRORS)
    )
    rows = (await connection.execute(query)).all()
    return tuple(RecentError(*row) for row in reversed(rows))


def _newest(span: Span, max_rows: int) -> Any:
    """So many rows are looked at: a key that is seldom used isn't searched for in all of them."""
    return (
        select(*(requests.c[one] for one in _READ))
        .where(*REQUESTS.where(span, Only()))
        .order_by(requests.c.stored_ms.desc())
        .limit(min(max_rows, MAX_NEWEST))
        .subquery()
    )


def _of(newest: Any, only: Only) -> list[Any]:
    wanted = {
        "tenant": only.tenant, "key_id": only.key_id, "provider": only.provider,
        "model": name(only.model),
    }  # fmt: skip
    found = [newest.c[one] == value for one, value in wanted.items() if value]
    if only.mode:
        found.append(newest.c.stream.is_(only.mode == "streaming"))
    return found
