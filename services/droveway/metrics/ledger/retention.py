"""Lets rows go after days and hours after months, in small bites, so that nothing waits for long.

What an hour has counted is added to hour 0 before it goes: totals never shrink.
"""

import asyncio
import logging
import time
from typing import NamedTuple

from sqlalchemy import ColumnElement, Table, delete, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from droveway.metrics.ledger import position, tables
from droveway.metrics.ledger.database import Database, LedgerAway
from droveway.metrics.ledger.position import Moved
from droveway.metrics.ledger.statements import adding
from droveway.metrics.ledger.sums import HOUR_MS
from droveway.otel.logs import log_event

log = logging.getLogger(__name__)

EVERY_S = 3_600.0
AGAIN_S = 60.0
"""Wait after the database was away, or while another replica counts."""
BITE_ROWS = 500
PAUSE_S = 0.05
"""Between two bites: pages are written meanwhile."""
_DAY_MS = 24 * HOUR_MS
_KEPT = ("tenant", "provider", "model", "outcome", "status")
"""Of an hour's key; the rest is empty in hour 0."""


class RetentionStatistics(NamedTuple):
    """A snapshot for gauges."""

    dropped: int
    """Rows of attempts and requests that were let go."""
    dropped_sums: int
    """Hours whose sums were let go."""


class Retention:
    """Drops what is older than the settings say."""

    def __init__(
        self, database: Database, instance: str, rows_kept_days: int, hours_kept_days: int
    ) -> None:
        self._database = database
        self._instance = instance
        self._rows_kept_ms = rows_kept_days * _DAY_MS
        self._hours_kept = hours_kept_days * 24
        self._dropped = self._dropped_sums = 0

    async def run(self) -> None:
        """Looks hourly, until cancelled."""
        while True:
            wait_s = EVERY_S
            try:
                await self.drop(time.time_ns() // 1_000_000)
            except Moved:
                wait_s = AGAIN_S
            except LedgerAway as error:
                log_event(log, "ledger_not_trimmed", reason=str(error))
                wait_s = AGAIN_S
            await asyncio.sleep(wait_s)

    async def drop(self, now_ms: int) -> None:
        """Lets go what is too old at `now_ms`, until nothing is left of it.

        Raises:
            Moved: Another replica counts, and does this too.
            LedgerAway: The rest stays for now.
        """
        while (dropped := await self._rows(now_ms - self._rows_kept_ms)) > 0:
            self._dropped += dropped
            await asyncio.sleep(PAUSE_S)
        while await self._hour(now_ms // HOUR_MS - self._hours_kept):
            self._dropped_sums += 1
            await asyncio.sleep(PAUSE_S)

    def statistics(self) -> RetentionStatistics:
        """A snapshot for gauges."""
        return RetentionStatistics(self._dropped, self._dropped_sums)

    async def _rows(self, before_ms: int) -> int:
        dropped = 0
        async with self._database.writing() as connection:
            await position.hold(connection, self._instance)
            for table in (tables.attempts, tables.requests):
                (key,) = table.primary_key
                oldest = (
                    select(key)
                    .where(table.c.stored_ms < before_ms)
                    .order_by(table.c.stored_ms)
                    .limit(BITE_ROWS)
                )
                dropped += (await connection.execute(delete(table).where(key.in_(oldest)))).rowcount
        return dropped

    async def _hour(self, before: int) -> bool:
        """Folds the oldest hour before `before` into hour 0; False when there is none."""
        async with self._database.writing() as connection:
            await position.hold(connection, self._instance)
            oldest = [
                hour
                for table in tables.HOURS
                if (hour := await _oldest(connection, table)) is not None and hour < before
            ]
            for table in tables.HOURS if oldest else ():
                await _fold(connection, table, min(oldest))
        return bool(oldest)


async def _oldest(connection: AsyncConnection, table: Table) -> int | None:
    hour = table.c.hour
    found: int | None = (
        await connection.execute(select(func.min(hour)).where(hour > 0))
    ).scalar_one()
    return found


async def _fold(connection: AsyncConnection, table: Table, hour: int) -> None:
    of_hour = table.c.hour == hour
    keys = [column.name for column in table.primary_key]
    kept = [table.c[name] for name in keys if name in _KEPT]
    values = [_value(table, name, keys) for name in table.columns.keys()]  # noqa: SIM118
    rest = select(*values).where(of_hour).group_by(*kept)
    statement = adding(table, connection.dialect).from_select(table.columns.keys(), rest)
    await connection.execute(statement)
    await connection.execute(delete(table).where(of_hour))


def _value(table: Table, name: str, keys: list[str]) -> ColumnElement[object]:
    column = table.c[name]
    if name not in keys:
        return func.sum(column)
    if name in _KEPT:
        return column
    return literal({"hour": 0, "stream": False}.get(name, ""), column.type)
