"""Makes the sums of hours again from their rows, and compares."""

from collections import Counter
from typing import Any

from sqlalchemy import Table, select

from droveway.metrics.ledger import sums
from droveway.metrics.ledger.costs import decode_price
from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.sums import HOUR_MS, Sums
from droveway.metrics.ledger.tables import (
    attempt_hours,
    attempts,
    outcome_hours,
    positions,
    prices,
    request_hours,
    requests,
)
from droveway.metrics.ledger.writer import UNPRICED

_LOOKS = 2
"""At an hour: the service may have written between two questions."""
_CHUNK = 1_000


async def differing_hours(database: Database, first: int) -> tuple[int, list[str]]:
    """How many hours from `first` on were compared, and which sums differ.

    Raises:
        LedgerAway: The database is away.
    """
    hours = await _hours(database, first)
    wrong: list[str] = []
    for hour in hours:
        for _ in range(_LOOKS):
            found = await _compare(database, hour)
            if not found:
                break
        wrong += found
    return len(hours), wrong


async def _hours(database: Database, first: int) -> list[int]:
    found: set[int] = set()
    async with database.reading() as connection:
        for table in (attempt_hours, request_hours, outcome_hours):
            query = select(table.c.hour).where(table.c.hour >= first).distinct()
            found.update((await connection.execute(query)).scalars())
        for rows in (attempts, requests):
            query = (
                select((rows.c.stored_ms // HOUR_MS).label("hour"))
                .where(rows.c.stored_ms >= first * HOUR_MS)
                .distinct()
            )
            found.update((await connection.execute(query)).scalars())
    return sorted(found)


async def _compare(database: Database, hour: int) -> list[str]:
    made = Sums()
    async with database.reading() as connection:
        await connection.execute(select(positions.c.sequence))  # the snapshot begins here
        for table, add in ((attempts, _add_attempt), (requests, _add_request)):
            at = table.c.stored_ms
            query: Any = select(table)
            if table is attempts:
                joined = attempts.outerjoin(prices, prices.c.price_id == attempts.c.price_id)
                query = select(attempts, prices.c.price).select_from(joined)
            query = query.where(at >= hour * HOUR_MS, at < (hour + 1) * HOUR_MS)
            result = await connection.stream(query)
            async for some in result.partitions(_CHUNK):
                for row in some:
                    add(made, tuple(row))
        kept = {
            table: [tuple(row) for row in await connection.execute(_of(table, hour))]
            for table in (attempt_hours, outcome_hours, request_hours)
        }
    told = {
        attempt_hours: sums.attempt_hours(made.attempts()),
        outcome_hours: sums.outcome_hours(made.attempts()),
        request_hours: sums.request_hours(made.requests()),
    }
    return [
        f"{table.name} of hour {hour}: {' '.join(map(str, row[1 : len(table.primary_key)]))}"
        for table in told
        for row in _difference(told[table], kept[table], len(table.primary_key))
    ]


def _of(table: Table, hour: int) -> Any:
    return select(table).where(table.c.hour == hour)


def _add_attempt(made: Sums, row: tuple[Any, ...]) -> None:
    *values, price = row
    unpriced = price is not None and decode_price(price).source == UNPRICED
    made.add_attempt(tuple(values), unpriced=unpriced)


def _add_request(made: Sums, row: tuple[Any, ...]) -> None:
    made.add_request(row)


def _difference(
    told: list[tuple[Any, ...]], kept: list[tuple[Any, ...]], keys: int
) -> list[tuple[Any, ...]]:
    """Rows that only one side has; a sum of zeros is as good as none."""
    one, other = (Counter(row for row in side if any(row[keys:])) for side in (told, kept))
    by_key = {row[:keys]: row for row in ((one - other) + (other - one))}
    return [by_key[found] for found in sorted(by_key, key=str)]
