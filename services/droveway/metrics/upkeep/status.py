"""How the ledger is: how far it has counted, what it holds, and its schema."""

from typing import Any, NamedTuple

from alembic.runtime.migration import MigrationContext
from sqlalchemy import func, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from droveway.contracts.jetstream import USAGE
from droveway.metrics.ledger import position
from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.migrate import latest
from droveway.metrics.ledger.position import Position
from droveway.metrics.ledger.tables import HOURS, attempts, metadata, positions, prices, requests


class LedgerStatus(NamedTuple):
    """What `read_status` found."""

    database: str
    """Its address without a password."""
    schema: str
    """Empty: no tables yet."""
    latest_schema: str
    """What this program knows last."""
    position: Position | None
    """None: nothing was ever counted."""
    rows: dict[str, int]
    """By table."""
    oldest_ms: int | None
    """Of the rows."""
    bytes: int


async def read_status(database: Database) -> LedgerStatus:
    """Looks at all of it; a ledger that has no tables yet is no error.

    Raises:
        LedgerAway: The database is away.
    """
    async with database.reading() as connection:
        schema = await connection.run_sync(_schema)
        size = await _bytes(connection, database)
        if not schema:
            return LedgerStatus(database.name, "", latest(), None, {}, None, size)
        rows = {
            table.name: (
                await connection.execute(select(func.count()).select_from(table))
            ).scalar_one()
            for table in (attempts, requests, prices, *HOURS)
        }
        oldest = [
            moment
            for table in (attempts, requests)
            if (moment := await _oldest(connection, table.c.stored_ms)) is not None
        ]
        standing = await standing_of(connection)
    return LedgerStatus(
        database.name, schema, latest(), standing, rows, min(oldest, default=None), size
    )


async def standing_of(connection: AsyncConnection) -> Position | None:
    """How far the stream is counted; None: nothing was ever counted."""
    begun = select(positions.c.sequence).where(positions.c.stream == USAGE)
    if (await connection.execute(begun)).first() is None:
        return None
    return await position.look(connection)


async def _oldest(connection: AsyncConnection, column: Any) -> int | None:
    found: int | None = (await connection.execute(select(func.min(column)))).scalar_one()
    return found


def _schema(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or ""


async def _bytes(connection: AsyncConnection, database: Database) -> int:
    if database.is_sqlite:
        sizes = [
            (await connection.execute(text(f"PRAGMA {what}"))).scalar_one()
            for what in ("page_count", "page_size")
        ]
        return int(sizes[0] * sizes[1])
    found = 0
    for name in metadata.tables:
        size = text("SELECT coalesce(pg_total_relation_size(to_regclass(:name)), 0)")
        found += (await connection.execute(size, {"name": name})).scalar_one()
    return found
