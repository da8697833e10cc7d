"""Sums of hours as lines: two tables, folded into one line per group."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from droveway.contracts.reports import Dimension, Only, ReportLine
from droveway.metrics.ledger.tables import attempt_hours, request_hours
from droveway.metrics.reports.rates import Rates
from droveway.metrics.reports.sources import (
    ATTEMPT_HOURS,
    REQUEST_HOURS,
    Group,
    Source,
    Span,
    by_target,
    names_of,
    words,
)

MAX_GROUPS = 50_000
"""Read of each table; of more, those that cost most, or have most requests."""
_SAME = (
    "estimated", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
    "cache_write_1h_tokens", "reasoning_tokens", "unpriced_tokens",
)  # fmt: skip
_ATTEMPTS = ("cost_nano_usd", "attempts", "completed", "first_token_us", "first_tokens", *_SAME)
_REQUESTS = ("requests", "completed", "failed", "interrupted", "cancelled")
_WITHOUT: tuple[int, ...] = (0,) * len(_REQUESTS)


class Lines(NamedTuple):
    """One line per group."""

    by_group: dict[Group, ReportLine]
    complete: bool
    """Every group was read."""


class Folding:
    """One group's sums as they are found, one row per account where their rates differ."""

    def __init__(self) -> None:
        self.attempts = [0] * len(_ATTEMPTS)
        self.requests = [0] * len(_REQUESTS)
        self.nano_cny = 0

    def line(self, group: Group, *, with_requests: bool) -> ReportLine:
        """The group's line."""
        cost, attempts, completed, first_token_us, first_tokens, *same = self.attempts
        counted: dict[str, Any] = dict(zip(_SAME, same, strict=True))
        if with_requests:
            counted |= zip(_REQUESTS, self.requests, strict=True)
        return ReportLine(
            group=group,
            attempts=attempts,
            attempts_completed=completed,
            cost_nano_usd=cost,
            cost_nano_cny=self.nano_cny,
            first_token_us=first_token_us // first_tokens if first_tokens > 0 else None,
            **counted,
        )


async def read_lines(
    connection: AsyncConnection, by: Sequence[Dimension], span: Span, only: Only, rates: Rates
) -> Lines:
    """The sums of a span by group."""
    with_requests = not by_target(by, only)
    keyed: tuple[Dimension, ...] = (*by, *(("tenant",) if rates.of_tenant else ()))
    found: dict[Group, Folding] = {}
    spent, complete = await _read(
        connection, ATTEMPT_HOURS, attempt_hours, _ATTEMPTS, keyed, span, only
    )
    for group, sums in spent:
        folding = found.setdefault(group[: len(by)], Folding())
        folding.attempts = [a + b for a, b in zip(folding.attempts, sums, strict=True)]
        folding.nano_cny += rates.nano_cny(group[-1] if rates.of_tenant else "", sums[0])
    if with_requests:
        counted, all_requests = await _read(
            connection, REQUEST_HOURS, request_hours, _REQUESTS, by, span, only
        )
        complete = complete and all_requests
        for group, sums in counted:
            found.setdefault(group, Folding()).requests = list(sums)
    return Lines(
        {group: one.line(group, with_requests=with_requests) for group, one in found.items()},
        complete,
    )


async def _read(
    connection: AsyncConnection, source: Source, table: Any, names: tuple[str, ...],
    by: Sequence[Dimension], span: Span, only: Only,
) -> tuple[list[tuple[Group, tuple[int, ...]]], bool]:  # fmt: skip
    sums = [func.sum(table.c[name]).label(f"sum_{name}") for name in names]
    query = select(*source.of(by), *sums).where(*source.where(span, only))
    if by:
        query = query.group_by(*names_of(by)).order_by(sums[0].desc()).limit(MAX_GROUPS + 1)
    rows = (await connection.execute(query)).all()
    found = [
        (words(by, row[: len(by)]), tuple(int(value or 0) for value in row[len(by) :]))
        for row in rows[:MAX_GROUPS]
    ]
    return found, len(rows) <= MAX_GROUPS
