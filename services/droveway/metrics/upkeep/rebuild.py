"""Empties what the stream still has, and moves the position back: the service counts it again.

Sums of hours that the stream has only in part, or no longer, are kept as they are.
"""

from typing import NamedTuple

from sqlalchemy import Table, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from droveway.contracts.jetstream import USAGE
from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.sums import HOUR_MS
from droveway.metrics.ledger.tables import HOURS, attempts, positions, requests
from droveway.metrics.usage_stream import PATTERN, stored_ms
from droveway.runtime.bus.direct_get import DirectGet
from droveway.runtime.errors import DrovewayError

_PAGE_BYTES = 256 * 1024


class NothingToRebuildFrom(DrovewayError):
    """The stream has no row, or the ledger has never counted any."""


class Rebuilt(NamedTuple):
    """What was emptied."""

    sequence: int
    """Rows behind it are counted again."""
    rows: int
    from_hour: int
    """Sums of this hour (since 1970) and later ones are made again."""


class Beginning(NamedTuple):
    """The stream's first row."""

    sequence: int
    stored_ms: int


async def beginning(reader: DirectGet) -> Beginning:
    """Where the stream begins now.

    Raises:
        NothingToRebuildFrom: It is empty.
        BusError: It can't be read.
    """
    page = await reader.page(PATTERN, 1, 1, _PAGE_BYTES)
    if not page.messages:
        raise NothingToRebuildFrom(f"the stream {USAGE} has no row: nothing was changed")
    return Beginning(page.messages[0].sequence, stored_ms(page.messages[0]))


async def rebuild(database: Database, begins: Beginning) -> Rebuilt:
    """Empties and moves back, in one transaction.

    Raises:
        NothingToRebuildFrom: Nothing was ever counted.
        LedgerAway: Nothing was changed.
    """
    async with database.writing() as connection:
        ours = positions.c.stream == USAGE
        counted = select(positions.c.stored_ms).where(ours)
        counted_ms = (await connection.execute(counted)).scalar_one_or_none()
        if counted_ms is None:
            raise NothingToRebuildFrom("the ledger has counted nothing yet: nothing was changed")
        back = update(positions).where(ours).values(sequence=begins.sequence - 1, stored_ms=0)
        await connection.execute(back.values(beat=positions.c.beat + 1))
        from_hour = await _first_whole_hour(connection, begins, counted_ms)
        await connection.execute(update(positions).where(ours).values(summed_from_hour=from_hour))
        rows = 0
        for table in (attempts, requests):
            emptied = delete(table).where(table.c.stored_ms >= begins.stored_ms)
            rows += (await connection.execute(emptied)).rowcount
        for table in HOURS:
            await connection.execute(delete(table).where(table.c.hour >= from_hour))
    return Rebuilt(begins.sequence - 1, rows, from_hour)


async def _first_whole_hour(connection: AsyncConnection, begins: Beginning, counted_ms: int) -> int:
    """The first hour of which the stream has all that was counted, and hour 0 nothing."""
    hour = begins.stored_ms // HOUR_MS
    kept = [first for table in HOURS if (first := await _first_hour(connection, table))]
    if begins.sequence > 1 or min(kept, default=hour) < hour:
        hour += 1
    if any([await _is_folded(connection, table) for table in HOURS]):
        hour = max(hour, min(kept, default=counted_ms // HOUR_MS + 1))
    return hour


async def _first_hour(connection: AsyncConnection, table: Table) -> int | None:
    found: int | None = (
        await connection.execute(select(func.min(table.c.hour)).where(table.c.hour > 0))
    ).scalar_one()
    return found


async def _is_folded(connection: AsyncConnection, table: Table) -> bool:
    query = select(table.c.hour).where(table.c.hour == 0).limit(1)
    return (await connection.execute(query)).first() is not None
