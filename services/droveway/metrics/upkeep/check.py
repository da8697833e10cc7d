"""Compares the ledger with the stream, row by row, and its sums with its rows."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Table, func, select

from droveway.contracts.usage import MAX_ROWS, AttemptRecorded, RequestRecorded, Row, rows_of
from droveway.metrics.ledger.costs import decode_price
from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.rows import attempt_values, request_values
from droveway.metrics.ledger.sums import HOUR_MS
from droveway.metrics.ledger.tables import attempts, prices, requests
from droveway.metrics.upkeep.check_sums import differing_hours
from droveway.metrics.upkeep.status import standing_of
from droveway.metrics.usage_stream import PATTERN, stored_ms
from droveway.runtime.bus.direct_get import DirectGet, Stored

PAGE_MESSAGES = 10_000 // MAX_ROWS
PAGE_BYTES = 4 * 1024 * 1024
MAX_FINDINGS = 100
"""Told one by one; all are counted."""
_MARGIN_MS = HOUR_MS
"""Rows about to be let go are in the stream only; their hours aren't whole in the rows."""


class Finding(NamedTuple):
    """One thing that is wrong."""

    what: str
    """`missing`, `different`, `extra` or `sum`."""
    where: str


class Checked(NamedTuple):
    """What was found."""

    rows: int
    """Of the stream, that were compared."""
    sequence: int
    """All rows up to it were."""
    hours: int
    """Whose sums were made again."""
    wrong: dict[str, int]
    """How many, by what is wrong; empty: nothing."""
    findings: tuple[Finding, ...]


class Checking:
    """One pass; rows that were stored less than `rows_kept_ms` ago must be there."""

    def __init__(
        self, database: Database, reader: DirectGet, now_ms: int, rows_kept_ms: int
    ) -> None:
        self._database = database
        self._reader = reader
        self._since_ms = now_ms - rows_kept_ms + _MARGIN_MS
        self._wrong: dict[str, int] = {}
        self._findings: list[Finding] = []
        self._compared = self._owned = 0

    async def run(self) -> Checked:
        """Compares everything that was counted when it began.

        Raises:
            LedgerAway: The database is away.
            BusError: The stream can't be read.
        """
        async with self._database.reading() as connection:
            standing = await standing_of(connection)
        if standing is None:
            return Checked(0, 0, 0, {}, ())
        await self._compare_rows(standing.sequence)
        await self._count_extra(standing.stored_ms)
        hours = await self._compare_sums(standing.summed_from_hour)
        return Checked(self._compared, standing.sequence, hours, self._wrong, tuple(self._findings))

    async def _compare_rows(self, until: int) -> None:
        sequence, complete = 1, False
        while sequence <= until and not complete:
            page = await self._reader.page(PATTERN, sequence, PAGE_MESSAGES, PAGE_BYTES)
            complete = page.complete or not page.messages
            messages = [one for one in page.messages if one.sequence <= until]
            if messages:
                sequence = messages[-1].sequence + 1
                await self._compare(messages)
            complete = complete or len(messages) < len(page.messages)

    async def _compare(self, messages: Sequence[Stored]) -> None:
        told = [*self._told(messages)]
        tried = [row.attempt_id for _, _, row in told if isinstance(row, AttemptRecorded)]
        asked = [row.request_id for _, _, row in told if isinstance(row, RequestRecorded)]
        by_attempt = await self._read(attempts, attempts.c.attempt_id, tried)
        by_request = await self._read(requests, requests.c.request_id, asked)
        for sequence, at_ms, row in told:
            self._compared += 1
            if isinstance(row, AttemptRecorded):
                known = by_attempt.get(row.attempt_id)
                where = f"{sequence}: attempt {row.attempt_id.hex()} of {row.request_id}"
                same = known is not None and _is_attempt(row, at_ms, known)
            else:
                known = by_request.get(row.request_id)
                where = f"{sequence}: request {row.request_id}"
                same = known is not None and _is_request(row, at_ms, known)
            if known is None:
                self._found("missing", where)
            elif not same:
                self._found("different", where)
            if known is not None and known["stored_ms"] == at_ms:
                self._owned += 1

    def _told(self, messages: Sequence[Stored]) -> Iterator[tuple[int, int, Row]]:
        """Sequence, time and row; what is none was given up when it was counted."""
        for message in messages:
            if (at_ms := stored_ms(message)) >= self._since_ms:
                for row in rows_of(message.payload, lambda _: None):
                    yield message.sequence, at_ms, row

    async def _read(self, table: Table, column: Any, ids: list[Any]) -> dict[Any, Any]:
        if not ids:
            return {}
        query: Any = select(table).where(column.in_(ids))
        if table is attempts:
            joined = attempts.outerjoin(prices, prices.c.price_id == attempts.c.price_id)
            query = select(attempts, prices.c.price).select_from(joined).where(column.in_(ids))
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return {row[column.name]: row for row in rows}

    async def _count_extra(self, until_ms: int) -> None:
        """Rows that no message of the stream has become."""
        there = 0
        async with self._database.reading() as connection:
            for table in (attempts, requests):
                at = table.c.stored_ms
                query = select(func.count()).where(at >= self._since_ms, at <= until_ms)
                there += (await connection.execute(query)).scalar_one()
        if there > self._owned:
            number = there - self._owned
            self._wrong["extra"] = number
            self._findings.append(Finding("extra", f"{number} rows that the stream hasn't"))

    async def _compare_sums(self, summed_from_hour: int) -> int:
        """Hours whose rows are all there; the number of them."""
        first = max(-(-self._since_ms // HOUR_MS), summed_from_hour)
        number, wrong = await differing_hours(self._database, first)
        for where in wrong:
            self._found("sum", where)
        return number

    def _found(self, what: str, where: str) -> None:
        self._wrong[what] = self._wrong.get(what, 0) + 1
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(Finding(what, where))


def _is_attempt(row: AttemptRecorded, at_ms: int, known: Any) -> bool:
    """Whether a row is what is kept, or rightly left out for that."""
    if row.witness and row.witness != known["witness"]:
        return True  # an exact row goes before it, or another witness was first
    if known["price"] is None:
        return False
    values = attempt_values(row, at_ms, decode_price(known["price"]), known["price_id"])
    return _same(values, [known[column.name] for column in attempts.columns], at_ms, known)


def _is_request(row: RequestRecorded, at_ms: int, known: Any) -> bool:
    values = request_values(row, at_ms)
    return _same(values, [known[column.name] for column in requests.columns], at_ms, known)


def _same(told: Sequence[Any], kept: Sequence[Any], at_ms: int, known: Any) -> bool:
    """The second is the time: of a row that came twice the first one's stands."""
    there = bytes(kept[0]) if isinstance(kept[0], memoryview) else kept[0]
    return (told[0], *told[2:]) == (there, *kept[2:]) and known["stored_ms"] <= at_ms
