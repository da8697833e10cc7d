"""Sums of a time as lines, bounded in number and bytes."""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from droveway.contracts.envelope import encode
from droveway.contracts.reports import (
    MAX_ANSWER_BYTES,
    Dimension,
    ReportAsked,
    ReportLine,
    ReportMade,
)
from droveway.metrics.reports.measures import Measured, read_measures
from droveway.metrics.reports.rates import Rates
from droveway.metrics.reports.sources import HOUR_MS, Span, span_of
from droveway.metrics.reports.sums import read_lines

_HEAD_BYTES = 4_096
"""Of an answer without its lines."""
_TIMES = frozenset({"day", "hour"})
_NOT_MEASURED = Measured({}, None)


async def make_report(
    connection: AsyncConnection, asked: ReportAsked, rates: Rates, now_ms: int, max_rows: int
) -> ReportMade:
    """Answers it; `max_rows` bounds the rows that percentiles are made of."""
    by: tuple[Dimension, ...] = tuple(dict.fromkeys(asked.by))
    span = span_of(asked.since_ms, asked.until_ms)
    found = await read_lines(connection, by, span, asked.only, rates)
    total = found
    measured = whole = _NOT_MEASURED
    if by:
        total = await read_lines(connection, (), span, asked.only, rates)
    if asked.measures:
        measured = await read_measures(connection, by, span, asked.only, max_rows)
        whole = measured
        if by and measured.since_ms is not None:
            whole = await read_measures(connection, (), span, asked.only, max_rows)
    lines = [_with(line, measured) for line in found.by_group.values()]
    kept = fitting(_ordered(lines), asked.max_lines)
    sums = _with(total.by_group.get((), ReportLine()), whole)
    return ReportMade(
        by=by,
        since_ms=span.since_ms,
        until_ms=span.until_ms,
        lines=tuple(_by_time(by, kept)),
        total=sums,
        complete=found.complete and len(kept) == len(lines),
        measured_since_ms=measured.since_ms,
        projected_nano_usd=projected(sums.cost_nano_usd, span, now_ms),
    )


def projected(nano_usd: int, span: Span, now_ms: int) -> int | None:
    """What the month in which a span ends costs as a whole, at the span's pace up to now."""
    end_ms = min(span.until_ms, now_ms)
    if end_ms - span.since_ms < HOUR_MS:
        return None
    return at_pace(nano_usd, span.since_ms, end_ms)


def at_pace(nano_usd: int, since_ms: int, end_ms: int) -> int:
    """What the month in which a time ends costs as a whole, at that time's pace."""
    moment = datetime.fromtimestamp((end_ms - 1) / 1000, UTC)
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return nano_usd * int((after - first).total_seconds() * 1000) // (end_ms - since_ms)


def _with(line: ReportLine, measured: Measured) -> ReportLine:
    measures = measured.by_group.get(line.group)
    return line if measures is None else msgspec.structs.replace(line, measures=measures)


def _ordered(lines: list[ReportLine]) -> list[ReportLine]:
    """What is kept where there are too many goes first."""
    return sorted(lines, key=lambda line: (-line.cost_nano_usd, -(line.requests or 0), line.group))


def _by_time(by: tuple[Dimension, ...], lines: list[ReportLine]) -> Iterable[ReportLine]:
    return sorted(lines, key=lambda line: line.group) if _TIMES.intersection(by) else lines


def fitting(
    lines: list[ReportLine], max_lines: int, max_bytes: int = MAX_ANSWER_BYTES - _HEAD_BYTES
) -> list[ReportLine]:
    """The first lines that fit into one answer."""
    left = max_bytes
    kept = []
    for line in lines[:max_lines]:
        left -= len(encode(line))
        if left < 0:
            break
        kept.append(line)
    return kept
