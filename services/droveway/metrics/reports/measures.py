"""What only rows tell: percentiles of latencies, and first tokens of cache hits and misses."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from droveway.contracts.reports import Dimension, Measures, Only
from droveway.metrics.ledger.tables import attempts, requests
from droveway.metrics.reports.sources import (
    ATTEMPTS,
    REQUESTS,
    Group,
    Span,
    by_target,
    names_of,
    words,
)

_COMPLETED = "completed"
_PERCENTILES = (50, 95, 99)
_Ranks = tuple[int | None, int | None, int | None]
_NO_RANKS: _Ranks = (None, None, None)
_Firsts = tuple[int | None, int | None, int, int]
"""Means of hits and of misses, and how many there were of each."""
_NO_FIRSTS: _Firsts = (None, None, 0, 0)


class Measured(NamedTuple):
    """Measures by group."""

    by_group: dict[Group, Measures]
    since_ms: int | None
    """From when on there are rows; None: there are none, or too many to look at."""


async def read_measures(
    connection: AsyncConnection, by: Sequence[Dimension], span: Span, only: Only, max_rows: int
) -> Measured:
    """The measures of a span, unless more than `max_rows` attempts or requests would be read."""
    since_ms: int | None = None
    for source, table in ((ATTEMPTS, attempts), (REQUESTS, requests)):
        counted = select(table.c.stored_ms).where(*source.where(span, Only())).limit(max_rows + 1)
        inner = counted.subquery()
        number, oldest = (
            await connection.execute(select(func.count(), func.min(inner.c.stored_ms)))
        ).one()
        if number > max_rows:
            return Measured({}, None)
        if oldest is not None:
            since_ms = min(oldest, since_ms or oldest)
    if since_ms is None:
        return Measured({}, None)
    told = await _percentiles(connection, by, span, only)
    firsts = await _first_tokens(connection, by, span, only)
    return Measured(
        {
            group: _measures(told.get(group, _NO_RANKS), firsts.get(group, _NO_FIRSTS))
            for group in {*told, *firsts}
        },
        since_ms,
    )


def _measures(ranks: _Ranks, firsts: _Firsts) -> Measures:
    hit_us, miss_us, hits, misses = firsts
    return Measures(*ranks, hit_us, miss_us, hits, misses)


async def _percentiles(
    connection: AsyncConnection, by: Sequence[Dimension], span: Span, only: Only
) -> dict[Group, _Ranks]:
    """By nearest rank, which is a latency that somebody had."""
    target = by_target(by, only)
    source, table = (ATTEMPTS, attempts) if target else (REQUESTS, requests)
    groups = [source.columns[one] for one in by]
    partition = groups or None
    ranked = (
        select(
            *source.of(by),
            table.c.ended_us.label("us"),
            func.row_number()
            .over(partition_by=partition, order_by=table.c.ended_us)
            .label("place"),
            func.count().over(partition_by=partition).label("number"),
        )
        .where(*source.where(span, only), table.c.outcome == _COMPLETED)
        .subquery()
    )
    columns: list[Any] = [ranked.c[f"by_{number}"] for number in range(len(by))]
    picked = [
        func.max(case((ranked.c.place == (ranked.c.number * percent + 99) // 100, ranked.c.us)))
        for percent in _PERCENTILES
    ]
    rows = await connection.execute(select(*columns, *picked).group_by(*columns))
    at = len(by)
    return {
        words(by, row[:at]): (row[at], row[at + 1], row[at + 2])
        for row in rows
        if row[at] is not None
    }


async def _first_tokens(
    connection: AsyncConnection, by: Sequence[Dimension], span: Span, only: Only
) -> dict[Group, _Firsts]:
    hit = attempts.c.cache_read_tokens > 0
    query = (
        select(
            *ATTEMPTS.of(by),
            func.avg(case((hit, attempts.c.first_token_us))),
            func.avg(case((~hit, attempts.c.first_token_us))),
            func.count(case((hit, 1))),
            func.count(case((~hit, 1))),
        )
        .where(
            *ATTEMPTS.where(span, only),
            attempts.c.outcome == _COMPLETED,
            attempts.c.first_token_us.is_not(None),
        )
        .group_by(*names_of(by))
    )
    at = len(by)
    return {
        words(by, row[:at]): (_whole(row[at]), _whole(row[at + 1]), row[at + 2], row[at + 3])
        for row in await connection.execute(query)
        if row[at + 2] or row[at + 3]
    }


def _whole(mean: Any) -> int | None:
    return None if mean is None else int(mean)
