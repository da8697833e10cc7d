"""A standby: has the owner's state, remembers what it may leave unanswered, notices its silence.

What it hears of the log live may never come to stand there, so that only wakes it: it reads what is
stored. Its takeover is an append like any other, so it may be wrong about the owner's death.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from droveway.contracts.admission import DECIDE_WITHIN_MS
from droveway.contracts.envelope import MALFORMED, encode
from droveway.contracts.limits import Batch
from droveway.limiter.book import Book
from droveway.limiter.clock import LogClock
from droveway.limiter.log import Appended, Fenced, Log
from droveway.limiter.settings import LimiterSettings
from droveway.limiter.snapshot_writer import Schedule
from droveway.limiter.snapshots import Snapshot, Snapshots
from droveway.otel.logs import log_event
from droveway.runtime.bus.direct_get import DirectGet

log = logging.getLogger(__name__)

_STALL_S = 0.1
"""A tick so late, or a load so long, says that what came may lie unread."""
_UNREAD_S = 0.15
"""By then what lay unread is read, and a living owner was heard."""


class _BatchHead(msgspec.Struct, frozen=True, array_like=True, tag="b"):
    """The beginning of a `Batch`: what a listener wants to know of it."""

    owner: str
    number: int
    at_ms: int


_head_decoder = msgspec.msgpack.Decoder(_BatchHead)


class Taken(NamedTuple):
    """The partition as its new owner begins."""

    book: Book
    appended: Appended
    now_ms: int


class Standby:
    """One process's following of the log, from an empty memory on."""

    def __init__(
        self,
        instance: str,
        log_: Log,
        snapshots: Snapshots,
        schedule: Schedule,
        clock: LogClock,
        own: LimiterSettings,
    ) -> None:
        self._instance = instance
        self._log = log_
        self._snapshots = snapshots
        self._schedule = schedule
        self._clock = clock
        self._settings = own
        self._wake = asyncio.Event()
        self.book = Book(own.remembered_decisions)
        self.sequence = 0
        """Of the last batch that is in the book."""
        self.at_ms = 0
        """That batch's time."""
        self.loaded = False
        self._last_owner = ""
        self._began_s = self._heard_s = time.monotonic()
        self._owner_heard = False
        self._leaving = False
        self.answered_s = 0.0
        """Questions that were heard before it are answered, or their routers ask again."""
        self._behind_since_s: float | None = None

    # What it hears

    def on_batch(self, payload: bytes, _reply: str) -> None:
        """Somebody appends."""
        try:
            batch = _head_decoder.decode(payload)
        except MALFORMED:
            return
        if batch.owner == self._instance:
            return
        if batch.owner == self._last_owner:
            self._clock.heard(batch.at_ms)
            self._sign_of_life()
        self._note_behind()  # of anybody else the log tells whether it was taken

    def on_alive(self, owner: str, sequence: int, *, leaving: bool) -> None:
        """Another process owns the partition, or leaves it.

        One that stood still says so too, until its next append is refused: it doesn't know what
        stands in the log.
        """
        if owner != self._last_owner and sequence < self.sequence:
            return
        self._sign_of_life()
        self._leaving = leaving
        if leaving:
            self.answered_s = self._heard_s
        if sequence > self.sequence:
            self._note_behind()
        if leaving:
            self._wake.set()

    # What it does

    async def load(self, reader: DirectGet) -> None:
        """Rebuilds the state: the newest snapshot and all batches behind it.

        Raises:
            BusError: Something can't be read now.
        """
        snapshot = await self._snapshots.load()
        first, last, _ = await self._log.standing()
        if snapshot is not None:
            self._restore(snapshot)
        if self.sequence > last:
            log_event(
                log, "limits_log_shortened", level=logging.ERROR, last=last, known=self.sequence
            )
            self.sequence = last
            self._schedule.hurry()
        elif last > self.sequence and first > self.sequence + 1:
            log_event(log, "limits_log_gap", level=logging.ERROR, first=first, known=self.sequence)
        await self._catch_up(reader)
        self.loaded = True

    async def until_taken(self, reader: DirectGet, numbers: Callable[[], int]) -> Taken:
        """Follows the log until this process owns it.

        Raises:
            BusError: The log can't be read or written now.
        """
        ticked_s, own = self._began_s, self._settings
        while True:
            now_s = time.monotonic()
            if now_s - ticked_s > _STALL_S:
                grace_from_s = now_s - max(0.0, own.silent_after_ms / 1000 - _UNREAD_S)
                self._heard_s = max(self._heard_s, grace_from_s)
            ticked_s = now_s
            if self._is_vacant(now_s):
                taken = await self._take_over(reader, numbers())
                if taken is not None:
                    return taken
            elif self._behind_since_s is not None:
                await self._catch_up(reader)
            await self._pause()

    async def snapshot(self) -> Snapshot:
        """The state that it has now."""
        return Snapshot(self.book.snapshot(), self.sequence, self.at_ms)

    @property
    def lag_s(self) -> float:
        """For how long it has known that something stands in the log that isn't in its book."""
        since_s = self._behind_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    @property
    def follows(self) -> bool:
        """It has the state of an owner that lives."""
        silent_s = time.monotonic() - self._heard_s
        within_s = self.lag_s < self._settings.max_lag_s > silent_s
        return self.loaded and self._owner_heard and within_s

    def _restore(self, snapshot: Snapshot) -> None:
        try:
            self.book = Book.restore(snapshot.chunks)
        except MALFORMED as error:
            # Of another version, say: what the log still has is better than nothing.
            log_event(log, "snapshot_unreadable", level=logging.ERROR, reason=str(error)[:200])
            self._schedule.hurry()
            return
        self.sequence, self.at_ms = snapshot.sequence, snapshot.at_ms
        self._schedule.stored(snapshot.sequence)

    def _sign_of_life(self) -> None:
        self._heard_s = time.monotonic()
        self.answered_s = self._heard_s - DECIDE_WITHIN_MS / 1000
        self._owner_heard = True
        self._leaving = False

    def _note_behind(self) -> None:
        if self._behind_since_s is None:
            self._behind_since_s = time.monotonic()

    def _is_vacant(self, now_s: float) -> bool:
        if self._leaving or (self._last_owner == self._instance and not self._owner_heard):
            return True  # its own log, since nobody came when the connection was lost
        return now_s - self._heard_s > self._settings.silent_after_ms / 1000

    async def _take_over(self, reader: DirectGet, number: int) -> Taken | None:
        """Appends an empty batch; None when somebody else was faster."""
        before = self._last_owner
        (_, _, broker_ms), _ = await asyncio.gather(self._log.standing(), self._catch_up(reader))
        if self._last_owner not in (before, self._instance):
            self._sign_of_life()  # the one before is gone, and this one has just begun
            return None
        now_ms = self._clock.begin(broker_ms, self.at_ms)
        batch = Batch(owner=self._instance, number=number, at_ms=now_ms)
        try:
            appended = await self._log.append(
                reader, self._instance, number, encode(batch), self.sequence
            )
        except Fenced:
            self._sign_of_life()
            self._note_behind()
            return None
        return Taken(self.book, appended, now_ms)

    async def _catch_up(self, reader: DirectGet) -> None:
        """Applies all that is stored behind what it has."""
        since_s, complete = self._behind_since_s, False
        while not complete:
            entries, complete = await self._log.page(reader, self.sequence)
            for sequence, batch in entries:
                for op in batch.ops:
                    self.book.apply(op, batch.at_ms)
                self.sequence, self.at_ms = sequence, max(self.at_ms, batch.at_ms)
                if self.loaded and batch.owner not in (self._last_owner, self._instance):
                    self._sign_of_life()  # it has just begun
                self._last_owner = batch.owner
        if self._behind_since_s == since_s:
            self._behind_since_s = None

    async def _pause(self) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(self._settings.follow_every_ms / 1000):
                await self._wake.wait()
        except TimeoutError:
            return
