"""Writes a page of rows: rows, hourly sums and the stream's position in one transaction.

Rows come once nearly always, so they are inserted without asking; when the database finds one that
it has, all is taken back and the page is written again with a look at what is there.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from droveway.contracts.usage import AttemptRecorded, RequestRecorded, Row
from droveway.metrics.ledger import position, sums
from droveway.metrics.ledger.costs import Costs, Priced, PriceOf, key
from droveway.metrics.ledger.database import Database, RowRefused, reason_of
from droveway.metrics.ledger.position import Position
from droveway.metrics.ledger.present import drop, present_attempts, present_requests
from droveway.metrics.ledger.rows import (
    AttemptValues,
    RequestValues,
    attempt_values,
    request_values,
)
from droveway.metrics.ledger.statements import statements
from droveway.metrics.ledger.sums import AttemptSum, RequestSum, Sums

UNPRICED = "default"
"""The source of a price that nobody has named."""


class Stamped(NamedTuple):
    """A row, and when the broker had stored it."""

    row: Row
    stored_ms: int


class Page(NamedTuple):
    """What the stream has behind a position."""

    rows: Sequence[Stamped]
    sequence: int
    """Of its last message, be it a row or not."""
    stored_ms: int
    """Of the same."""


class Counted(NamedTuple):
    """What a transaction has newly counted."""

    position: Position
    rows: list[Row]
    repeated: int
    """Rows that were there."""
    attempts: list[AttemptSum]
    requests: list[RequestSum]
    replaced: list[AttemptSum]
    """Witnesses' rows in whose place exact ones have come: counted no longer."""


class _Rows:
    """A page's rows, each once: an exact one goes before a witness's of the same attempt."""

    def __init__(self, page: Page) -> None:
        self.attempts: dict[bytes, tuple[AttemptRecorded, int]] = {}
        self.requests: dict[str, tuple[RequestRecorded, int]] = {}
        for stamped in page.rows:
            row = stamped[0]
            if isinstance(row, RequestRecorded):
                self.requests.setdefault(row.request_id, stamped)  # type: ignore[arg-type]
            else:
                before = self.attempts.get(row.attempt_id)
                if before is None or takes_place(before[0].witness, row.witness):
                    self.attempts[row.attempt_id] = stamped  # type: ignore[assignment]


class Writer:
    """The one way into the tables of rows and hours."""

    def __init__(self, database: Database, price_of: PriceOf) -> None:
        self._database = database
        self._costs = Costs(database, price_of)
        self._sql = statements(database.engine.dialect)

    async def write(self, standing: Position, page: Page) -> Counted:
        """Counts what is new in `page` and moves the position behind it.

        Raises:
            Moved: Somebody else has moved the position: nothing was written.
            RowRefused: The database takes a value of the page for wrong: nothing was written.
            LedgerAway: Nothing was written, or nobody knows: the position tells.
        """
        rows = _Rows(page)
        prices = await self._costs.of(row for row, _ in rows.attempts.values())
        try:
            async with self._database.writing() as connection:
                moved = await position.advance(connection, standing, page.sequence, page.stored_ms)
                return await self._insert(connection, moved, page, rows, prices, [])
        except IntegrityError:
            pass
        try:
            async with self._database.writing() as connection:
                moved = await position.advance(connection, standing, page.sequence, page.stored_ms)
                replaced = await self._leave_out(connection, moved, rows)
                return await self._insert(connection, moved, page, rows, prices, replaced)
        except IntegrityError as error:
            raise RowRefused(reason_of(error)) from error

    async def _insert(
        self,
        connection: AsyncConnection,
        moved: Position,
        page: Page,
        rows: _Rows,
        prices: dict[tuple[str, str, int], Priced],
        replaced: list[AttemptSum],
    ) -> Counted:
        counted = Sums(moved.summed_from_hour)
        attempts = [*self._attempts(rows.attempts.values(), prices, counted)]
        requests = [*self._requests(rows.requests.values(), counted)]
        if attempts:
            await connection.exec_driver_sql(self._sql.insert_attempts, attempts)
        if requests:
            await connection.exec_driver_sql(self._sql.insert_requests, requests)
        by_attempts, by_requests = counted.attempts(), counted.requests()
        await self._add(connection, by_attempts, by_requests)
        new: list[Row] = [row for row, _ in rows.attempts.values()]
        new += [row for row, _ in rows.requests.values()]
        repeated = len(page.rows) - len(new)
        return Counted(moved, new, repeated, by_attempts, by_requests, replaced)

    async def _add(
        self,
        connection: AsyncConnection,
        attempts: list[AttemptSum],
        requests: list[RequestSum],
        sign: int = 1,
    ) -> None:
        for statement, values in (
            (self._sql.add_attempt_hours, sums.attempt_hours(attempts, sign)),
            (self._sql.add_outcome_hours, sums.outcome_hours(attempts, sign)),
            (self._sql.add_request_hours, sums.request_hours(requests)),
        ):
            if values:
                await connection.exec_driver_sql(statement, values)

    async def _leave_out(
        self, connection: AsyncConnection, moved: Position, rows: _Rows
    ) -> list[AttemptSum]:
        """Takes what is there out of `rows`, and witnesses' rows that an exact one follows."""
        taken_back = Sums(moved.summed_from_hour)
        for present in await present_attempts(connection, [*rows.attempts]):
            row, _ = rows.attempts[present.attempt_id]
            if takes_place(present.witness, row.witness):
                await drop(connection, present.attempt_id)
                taken_back.add_attempt(present.values, unpriced=present.source == UNPRICED)
            else:
                del rows.attempts[present.attempt_id]
        for request_id in await present_requests(connection, [*rows.requests]):
            del rows.requests[request_id]
        replaced = taken_back.attempts()
        await self._add(connection, replaced, [], -1)
        return replaced

    def _attempts(
        self,
        rows: Iterable[tuple[AttemptRecorded, int]],
        prices: dict[tuple[str, str, int], Priced],
        counted: Sums,
    ) -> Iterable[AttemptValues]:
        for row, stored_ms in rows:
            price, price_id = prices[key(row)]
            values = attempt_values(row, stored_ms, price, price_id)
            counted.add_attempt(values, unpriced=price.source == UNPRICED)
            yield values

    def _requests(
        self, rows: Iterable[tuple[RequestRecorded, int]], counted: Sums
    ) -> Iterable[RequestValues]:
        for row, stored_ms in rows:
            values = request_values(row, stored_ms)
            counted.add_request(values)
            yield values


def takes_place(present: str, other: str) -> bool:
    """Whether a row of the witness `other` takes the place of one of the witness `present`."""
    return bool(present) and not other
