"""Follows USAGE, so that the money of a key is what its rows say.

A row that is heard is only a reason to look: rows are read from the stream by their sequence, each
once, and the sequence up to which they are counted stands in the limiter's log.
"""

import asyncio
import logging
from collections.abc import Iterator
from typing import NamedTuple

from droveway.contracts.envelope import PREFIX
from droveway.contracts.jetstream import USAGE
from droveway.limiter.log import unix_ms
from droveway.limiter.owner import Owner
from droveway.limiter.settings import LimiterSettings
from droveway.limiter.usage_rows import AttemptUsed, rows_of
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import DirectGet, Stored, reading
from droveway.runtime.errors import BusError
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)

PATTERN = f"{PREFIX}.usage.*"
_CHECKPOINT_MESSAGES = 100
"""So many messages with rows of another kind are passed by before the log is told."""
_SAY_AGAIN_S = 60.0
_AGAIN_S = 0.5
"""Wait before an unanswered read is repeated, and for the price book."""


class _Part(NamedTuple):
    """Rows that are counted at once."""

    attempts: list[tuple[AttemptUsed, int]]
    """Each with the Unix milliseconds at which it was stored."""
    sequence: int
    """Of the last message."""


class SpendStatistics(NamedTuple):
    """A snapshot for gauges."""

    sequence: int
    """Of USAGE: all rows up to it are counted, or aren't about money."""
    rows: int
    """Rows of attempts that were counted."""
    malformed: int
    failed: int
    """Reads that weren't answered; each is repeated."""


class SpendFollower:
    """Counts the rows for whoever owns the partition."""

    def __init__(self, bus: Bus, own: LimiterSettings) -> None:
        self._bus = bus
        self._settings = own
        self._wake = asyncio.Event()
        self._sequence = self._rows = self._malformed = self._failed = 0
        self._bad_row = RareLog(log, "usage_row_malformed")
        self._made_anew = RareLog(log, "usage_made_anew", every_s=_SAY_AGAIN_S)

    async def run(self, owner: Owner) -> None:
        """Follows until cancelled."""
        own = self._settings
        self._sequence = owner.decisions.book.usage_seq
        nudges = await self._bus.subscribe(PATTERN, lambda _payload, _reply: self._wake.set())
        try:
            async with reading(self._bus, USAGE, own.read_within_s) as reader:
                while True:
                    wait_s = await self._look(reader, owner)
                    await asyncio.sleep(own.usage_pause_ms / 1000)
                    await self._pause(wait_s)
        finally:
            nudges.close()

    def statistics(self) -> SpendStatistics:
        """A snapshot for gauges."""
        return SpendStatistics(self._sequence, self._rows, self._malformed, self._failed)

    async def _look(self, reader: DirectGet, owner: Owner) -> float:
        """Counts all that is there; returns the seconds until the next look."""
        if not owner.decisions.priced:
            return _AGAIN_S
        try:
            if not await self._catch_up(reader, owner):
                await self._check(reader)
        except BusError as error:
            self._failed += 1
            log_event(log, "usage_unread", level=logging.WARNING, reason=str(error))
            return _AGAIN_S
        return self._settings.usage_check_every_s

    async def _catch_up(self, reader: DirectGet, owner: Owner) -> bool:
        """Whether there was anything."""
        own = self._settings
        found, complete = False, False
        while not complete:
            page = await reader.page(PATTERN, self._sequence + 1, own.usage_rows, own.usage_bytes)
            complete = page.complete or not page.messages
            for part in self._parts(page.messages):
                found = True
                await self._fold(owner, part)
        return found

    async def _fold(self, owner: Owner, part: _Part) -> None:
        rows, last = part
        if rows or last - owner.decisions.book.usage_seq >= _CHECKPOINT_MESSAGES:
            stored = asyncio.Event()

            def fold(owner: Owner) -> None:
                owner.record(owner.decisions.fold(last, rows), stored.set)

            while not owner.offer(fold):  # noqa: ASYNC110 - decisions go first
                await asyncio.sleep(self._settings.usage_pause_ms / 1000)
            await stored.wait()
            owner.tell_events()
        self._rows += len(rows)
        self._sequence = last

    def _parts(self, messages: list[Stored]) -> Iterator[_Part]:
        """Messages in as few parts as `usage_rows` allows; none is parted itself."""
        attempts: list[tuple[AttemptUsed, int]] = []
        last = 0
        for message in messages:
            found = self._attempts(message)
            if attempts and len(attempts) + len(found) > self._settings.usage_rows:
                yield _Part(attempts, last)
                attempts = []
            attempts += found
            last = message.sequence
        if messages:
            yield _Part(attempts, last)

    def _attempts(self, message: Stored) -> list[tuple[AttemptUsed, int]]:
        def malformed(reason: str) -> None:
            self._malformed += 1
            self._bad_row.warn(sequence=message.sequence, reason=reason[:200])

        at_ms = unix_ms(message.stored_at)
        rows = rows_of(message.payload, malformed)
        return [(row, at_ms) for row in rows if isinstance(row, AttemptUsed)]

    async def _check(self, reader: DirectGet) -> None:
        """Says so when USAGE has fewer rows than are counted: then it was made anew.

        Its rows are not counted before it is as long again, and what callers settled stays open:
        budgets are kept, by what callers say instead of by rows.
        """
        last = await reader.last(PATTERN)
        end = last.sequence if last is not None else 0
        if end < self._sequence:
            self._made_anew.warn(last=end, counted=self._sequence)

    async def _pause(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()
