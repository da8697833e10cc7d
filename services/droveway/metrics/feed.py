"""Reads USAGE page by page behind the ledger's position, and has each page written.

There is no consumer in the broker and nothing to acknowledge: the position stands in the database,
in the same transaction as what it counts. The stream is looked at a few times a second, which costs
less than to hear each row when it comes. Whatever fails, the position says where to go on.

Of several replicas the one that came last counts. One that finds itself replaced stands by, and
takes over when its successor stays silent.
"""

import asyncio
import logging
import time
from typing import NamedTuple, Protocol

from droveway.contracts.jetstream import USAGE
from droveway.metrics.ledger import position
from droveway.metrics.ledger.database import Database, LedgerAway, RowRefused
from droveway.metrics.ledger.migrate import migrate
from droveway.metrics.ledger.position import Moved, Position
from droveway.metrics.ledger.totals import Totals, totals
from droveway.metrics.ledger.writer import Counted, Page, Writer
from droveway.metrics.settings import MetricsSettings
from droveway.metrics.usage_stream import UsageStream
from droveway.otel.logs import log_event
from droveway.runtime.backoff import full_jitter_s
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import reading
from droveway.runtime.errors import BusError
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)

_RETRY_BASE_S = 0.2
_RETRY_CAP_S = 5.0
_BEATS = 3
"""In the time after which a silent writer is replaced."""
_SAY_AGAIN_S = 60.0
_LEAVE_WITHIN_S = 2.0


class Counters(Protocol):
    """Who is told what was counted."""

    def begin(self, so_far: Totals) -> None:
        """This process counts from here on."""

    def count(self, counted: Counted) -> None:
        """A transaction is committed."""

    def end(self) -> None:
        """Another process counts now."""


class UsageStatistics(NamedTuple):
    """A snapshot for gauges."""

    rows: int
    """Rows that this process has newly counted."""
    repeated: int
    """Rows that the stream had once more: counted once."""
    invalid: int
    """Rows that can't be read, or messages of which none can; they are given up."""
    connected: int
    """1 while the stream answers."""
    lag_rows: int
    """Messages of the stream that aren't counted yet; one has a row or more."""


class LedgerStatistics(NamedTuple):
    """A snapshot for gauges."""

    counting: int
    """1 in the one replica that counts."""
    connected: int
    """1 while the database answers."""
    sequence: int
    """Of USAGE: all rows up to it are counted."""
    refused: int
    """Rows that the database took for wrong: left out."""
    failed: int
    """Reads and writes that were repeated, since stream or database didn't answer."""


class UsageFeed:
    """Has each row counted once."""

    def __init__(
        self,
        bus: Bus,
        database: Database,
        writer: Writer,
        own: MetricsSettings,
        counters: Counters,
    ) -> None:
        self._bus = bus
        self._database = database
        self._writer = writer
        self._settings = own
        self._counters = counters
        self.stream = UsageStream(bus, own)
        self.database_problem = "not opened yet"
        self.caught_up_ms = 0
        """Unix milliseconds at which all rows that the stream had were counted; 0: never, or
        another replica counts."""
        self._standing = Position(0, 0, 0, "", 0)
        self._opened = self._counting = self._replaced = False
        self._rows = self._repeated = self._refused = self._failed = self._failures = 0
        self._beat_s = 0.0
        self._trouble = RareLog(log, "ledger_trouble", every_s=_SAY_AGAIN_S)
        self._bad_row = RareLog(log, "usage_row_refused")

    async def run(self) -> None:
        """Counts, or stands by, until cancelled.

        Raises:
            SettingsError: The database can't be there, or a newer program has made it.
        """
        forget = self._bus.on_reconnected(self.stream.doubt)
        try:
            while True:
                wait_s = await self._try()
                await asyncio.sleep(wait_s)
        finally:
            forget()
            await self._leave()

    def usage(self) -> UsageStatistics:
        """A snapshot for gauges."""
        return UsageStatistics(
            rows=self._rows,
            repeated=self._repeated,
            invalid=self.stream.invalid,
            connected=int(not self.stream.problem),
            lag_rows=self.lag_rows,
        )

    def statistics(self) -> LedgerStatistics:
        """A snapshot for gauges."""
        return LedgerStatistics(
            counting=int(self._counting),
            connected=int(not self.database_problem),
            sequence=self._standing.sequence,
            refused=self._refused,
            failed=self._failed,
        )

    @property
    def position(self) -> int:
        """The sequence of USAGE up to which all rows are counted."""
        return self._standing.sequence

    @property
    def lag_rows(self) -> int:
        """Messages of the stream that aren't counted yet, as of the last look at its end."""
        return max(0, self.stream.last_sequence - self._standing.sequence)

    async def _try(self) -> float:
        """One run until something fails; the seconds to wait before the next."""
        try:
            if not self._opened:
                await migrate(self._database)
                self._opened = True
            await self._become_writer()
            await self._count()
        except Moved:
            return 0.0
        except BusError as error:
            self._trouble.warn(reason=str(error))
        except LedgerAway as error:
            self.database_problem = f"{self._database.name}: {error}"
            self._trouble.warn(database=self._database.name, reason=str(error))
        self._failed += 1
        self._failures += 1
        return full_jitter_s(self._failures - 1, base_s=_RETRY_BASE_S, cap_s=_RETRY_CAP_S)

    async def _leave(self) -> None:
        """Lets another replica take over at once."""
        if not self._counting:
            return
        self._end()
        try:
            async with asyncio.timeout(_LEAVE_WITHIN_S), self._database.writing() as connection:
                await position.leave(connection, self._standing)
        except (LedgerAway, Moved, TimeoutError) as error:
            log_event(log, "ledger_not_left", level=logging.DEBUG, reason=str(error))

    async def _become_writer(self) -> None:
        standing = await position.find(self._database)
        self._works(standing)
        if standing.writer != self._bus.instance:
            if self._counting:
                self._replaced = True
                self._end()
                log_event(log, "ledger_stands_by", writer=standing.writer)
            if self._replaced:
                standing = await self._silence(standing)
            async with self._database.writing() as connection:
                await position.take(connection, standing, self._bus.instance)
        async with self._database.reading() as connection:
            self._works(await position.look(connection))
            so_far = await totals(connection)
        if self._standing.writer != self._bus.instance:
            raise Moved("another replica was faster")
        self._counters.begin(so_far)
        self._counting = True
        self.stream.doubt()
        log_event(log, "ledger_counts", sequence=self._standing.sequence)

    async def _silence(self, standing: Position) -> Position:
        """Returns once nobody has moved the position for a while."""
        own = self._settings
        until_s = time.monotonic() + own.take_over_s
        while time.monotonic() < until_s:
            await asyncio.sleep(own.take_over_s / (2 * _BEATS))
            async with self._database.reading() as connection:
                now = await position.look(connection)
            self._works(now)
            if (now.writer, now.beat) != (standing.writer, standing.beat):
                standing, until_s = now, time.monotonic() + own.take_over_s
            if not now.writer:
                break
        return standing

    async def _count(self) -> None:
        """Page after page; ends by an error only."""
        own = self._settings
        async with reading(self._bus, USAGE, own.read_within_s) as reader:
            while True:
                if (there := await self.stream.right_place(reader, self._standing)) is not None:
                    await self._move(there)
                began_ms = time.time_ns() // 1_000_000
                pages, complete = await self.stream.pages(reader, self._standing.sequence)
                for page in pages:
                    await self._write(page)
                if time.monotonic() - self._beat_s > own.take_over_s / _BEATS:
                    await self._move(self._standing.sequence)
                self._failures = 0
                if complete:
                    self.caught_up_ms = began_ms
                    await asyncio.sleep(own.poll_s)

    async def _write(self, page: Page) -> None:
        try:
            self._counted(await self._writer.write(self._standing, page))
        except RowRefused:
            for row in page.rows:
                await self._write_one(
                    page._replace(
                        rows=[row],
                        sequence=self._standing.sequence,
                        stored_ms=self._standing.stored_ms,
                    )
                )
            self._counted(await self._writer.write(self._standing, page._replace(rows=[])))

    async def _write_one(self, page: Page) -> None:
        """A page of one row, which is left out if it is what the database refuses."""
        try:
            self._counted(await self._writer.write(self._standing, page))
        except RowRefused as error:
            self._refused += 1
            self._bad_row.warn(behind=page.sequence, reason=str(error))

    async def _move(self, sequence: int) -> None:
        async with self._database.writing() as connection:
            moved = await position.advance(
                connection, self._standing, sequence, self._standing.stored_ms
            )
        self._works(moved)

    def _counted(self, counted: Counted) -> None:
        self._works(counted.position)
        self._rows += len(counted.rows)
        self._repeated += counted.repeated
        self._counters.count(counted)

    def _works(self, standing: Position) -> None:
        self._standing = standing
        self._beat_s = time.monotonic()
        self.database_problem = ""

    def _end(self) -> None:
        self._counting = False
        self.caught_up_ms = 0
        self._counters.end()
