"""USAGE as the ledger reads it: pages, its end, and whether it is still the stream that it was."""

import functools
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

from droveway.contracts.envelope import PREFIX
from droveway.contracts.jetstream import USAGE
from droveway.metrics.ledger.position import Position
from droveway.metrics.ledger.writer import Page, Stamped
from droveway.metrics.quick_rows import rows_of
from droveway.metrics.settings import MetricsSettings
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import DirectGet, Stored
from droveway.runtime.errors import BusError
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)

PATTERN = f"{PREFIX}.usage.*"
_MS = 1_000
_TO_THE_S = len("2026-01-01T00:00:00")
_TO_THE_MS = _TO_THE_S + len(".000")


class UsageStream:
    """Reads behind a position."""

    def __init__(self, bus: Bus, own: MetricsSettings) -> None:
        self._bus = bus
        self._settings = own
        self.problem = "not read yet"
        self.last_sequence = 0
        """Of the stream's last message, as of the last look."""
        self.invalid = 0
        """Rows that can't be read; a message of which none can counts as one."""
        self._doubtful = True
        self._bad = RareLog(log, "usage_row_malformed")

    def doubt(self) -> None:
        """The broker may have lost rows, or begun anew: the next look finds out."""
        self._doubtful = True

    async def look(self) -> None:
        """Asks for the stream's end; a stream that doesn't answer is a problem, and no error."""
        try:
            await self._end()
        except BusError as error:
            self.problem = f"the stream {USAGE} doesn't answer: {error}"

    async def pages(self, reader: DirectGet, behind: int) -> tuple[Iterator[Page], bool]:
        """What comes behind a sequence, and whether that was all.

        Pages are made as they are wanted; a message is whole in one of them, so that a page has
        more than `page_rows` only if its one message has.

        Raises:
            BusError: The stream can't be read now.
        """
        own = self._settings
        try:
            found = await reader.page(PATTERN, behind + 1, own.page_rows, own.page_bytes)
        except BusError as error:
            self.problem = f"the stream {USAGE} doesn't answer: {error}"
            raise
        self.problem = ""
        if not found.messages:
            return iter(()), True
        self.last_sequence = max(self.last_sequence, found.messages[-1].sequence)
        return self._pages(found.messages), found.complete

    async def right_place(self, reader: DirectGet, standing: Position) -> int | None:
        """Another sequence to read behind, when the one that is counted isn't this stream's.

        A broker that lost power can have lost its last rows, and an operator can have made the
        stream anew: then new rows bear sequences that are counted already. They are told by their
        time; what is read twice is counted once.

        Raises:
            BusError: The stream can't be read now.
        """
        if not self._doubtful:
            return None
        end = await self._end()
        there = None
        if end < standing.sequence or not await self._is_same(reader, standing):
            there = await self._behind(reader, standing.stored_ms, end)
            log_event(
                log, "usage_made_anew", level=logging.WARNING,
                counted=standing.sequence, last=end, continued_behind=there,
            )  # fmt: skip
        self._doubtful = False
        return None if there == standing.sequence else there

    async def _is_same(self, reader: DirectGet, standing: Position) -> bool:
        """Whether the last row that was counted is still the one at its sequence."""
        if not (standing.sequence and standing.stored_ms):
            return True
        found = await reader.page(PATTERN, standing.sequence, 1, self._settings.page_bytes)
        if not found.messages or found.messages[0].sequence != standing.sequence:
            return True  # it is older than the stream keeps rows
        return stored_ms(found.messages[0]) == standing.stored_ms

    async def _behind(self, reader: DirectGet, since_ms: int, end: int) -> int:
        """The sequence before the first row of that time or later; the stream's end if none is."""
        since = datetime.fromtimestamp(since_ms / _MS, UTC)
        found = await reader.page(PATTERN, since, 1, self._settings.page_bytes)
        return found.messages[0].sequence - 1 if found.messages else end

    async def _end(self) -> int:
        answer = await self._bus.jetstream(f"STREAM.INFO.{USAGE}", {}, self._settings.read_within_s)
        self.last_sequence = int(answer["state"]["last_seq"])
        return self.last_sequence

    def _pages(self, messages: list[Stored]) -> Iterator[Page]:
        rows: list[Stamped] = []
        last = messages[0]
        for message in messages:
            found = self._rows(message)
            if rows and len(rows) + len(found) > self._settings.page_rows:
                yield Page(rows, last.sequence, stored_ms(last))
                rows = []
            rows += found
            last = message
        yield Page(rows, last.sequence, stored_ms(last))

    def _rows(self, message: Stored) -> list[Stamped]:
        def malformed(reason: str) -> None:
            self.invalid += 1
            self._bad.warn(sequence=message.sequence, reason=reason[:200])

        at_ms = stored_ms(message)
        return [Stamped(row, at_ms) for row in rows_of(message.payload, malformed)]


def stored_ms(message: Stored) -> int:
    """When the broker stored it, in Unix milliseconds."""
    return _unix_ms(message.stored_at[:_TO_THE_MS])


@functools.lru_cache(64)
def _unix_ms(stamp: str) -> int:
    seconds = datetime.fromisoformat(f"{stamp[:_TO_THE_S]}+00:00").timestamp()
    return int(seconds) * _MS + int(stamp[_TO_THE_S + 1 :])
