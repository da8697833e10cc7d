"""Usage rows on their way to JetStream: off the client's path, bounded, sent until acknowledged.

Rows of one tenant that wait at the same time share a message, which is sent again as it is. A row
may be stored twice when an acknowledgement is lost; its id is the ledger's primary key.
"""

import asyncio
import heapq
import itertools
import logging
import time
from typing import NamedTuple

from droveway.contracts import usage
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus, Inbox, read_jetstream
from droveway.runtime.errors import BusError
from droveway.runtime.row_queue import Message, RowQueue

log = logging.getLogger(__name__)

GATHER_S = 0.02
"""How long a row may wait for company before it is published."""
SPOOL_DRAIN_S = 5.0
"""How long a service that ends waits for its rows to be stored."""
RESEND_AFTER_S = 2.0
"""A message that wasn't acknowledged for this long is sent again."""


class SpoolStatistics(NamedTuple):
    """A snapshot for gauges."""

    waiting: int
    unacknowledged: int
    limit: int
    stored: int
    failed: int
    """Rows that were refused or not acknowledged in time, as often as that; they are repeated."""


class _Sent(NamedTuple):
    message: Message
    inbox: Inbox
    sent_s: float


class Spool:
    """Publishes rows with a bounded window of unacknowledged ones."""

    def __init__(self, bus: Bus, limit_rows: int, window_rows: int = 512) -> None:
        self._bus = bus
        self._limit_rows = limit_rows
        self._window_rows = window_rows
        self._queue = RowQueue()
        self._ready: list[tuple[int, Message]] = []
        """A heap of messages that aren't sent, or have to be once more; the oldest goes first."""
        self._sent: dict[int, _Sent] = {}
        self._numbers = itertools.count()
        self._unstored = self._unacknowledged = 0
        """Rows: all that are here; those of `_sent`."""
        self._stored = 0
        self._failed = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._blocked_until_s = 0.0
        self._gathering = self._held = False

    @property
    def full(self) -> bool:
        """Whether accepting more work would mean losing rows: doors refuse then."""
        return self._unstored >= self._limit_rows

    def put(self, row: usage.Row) -> None:
        """Takes a row of work that was accepted; never refuses, since the work is done.

        Rows leave together, `GATHER_S` after the first: one write and one read for all of them.
        """
        self._queue.put(row)
        self._unstored += 1
        self._empty.clear()
        if not self._gathering:
            self._gathering = True
            asyncio.get_running_loop().call_later(GATHER_S, self._gathered)

    def _gathered(self) -> None:
        self._gathering = False
        self._pump()

    async def run(self) -> None:
        """Repeats what wasn't acknowledged, until cancelled."""
        while True:
            await asyncio.sleep(RESEND_AFTER_S / 4)
            overdue_s = time.monotonic() - RESEND_AFTER_S
            for number, sent in list(self._sent.items()):
                if sent.sent_s < overdue_s:
                    self._repeat(number, "no acknowledgement")
            self._pump()

    async def drain(self, limit_s: float) -> None:
        """Waits until all rows are stored; after `limit_s` says how many aren't."""
        self._pump()
        try:
            async with asyncio.timeout(limit_s):
                await self._empty.wait()
        except TimeoutError:
            log_event(log, "rows_unstored", level=logging.ERROR, rows=self._unstored)

    def statistics(self) -> SpoolStatistics:
        """A snapshot for gauges."""
        return SpoolStatistics(
            waiting=self._unstored - self._unacknowledged,
            unacknowledged=self._unacknowledged,
            limit=self._limit_rows,
            stored=self._stored,
            failed=self._failed,
        )

    def _pump(self) -> None:
        """Sends what the window has room for."""
        while time.monotonic() >= self._blocked_until_s:
            if not self._ready:
                room = self._window_rows - self._unacknowledged
                # In the order of their numbers they are a heap.
                self._ready = [(next(self._numbers), one) for one in self._queue.take(room)]
            if not self._ready:
                break
            number, message = self._ready[0]
            if not self._publish(number, message):
                self._block()
                break
            heapq.heappop(self._ready)
        self._held = bool(self._ready or self._queue)

    def _publish(self, number: int, message: Message) -> bool:
        def acknowledged(data: bytes) -> None:
            try:
                read_jetstream(data)
            except BusError as error:
                self._repeat(number, str(error))
                return
            self._acknowledged(number)

        def nobody() -> None:
            self._repeat(number, "the stream USAGE isn't there")

        inbox = self._bus.open_inbox(acknowledged, nobody)
        try:
            self._bus.publish(message.subject, message.payload, inbox.subject)
        except BusError:
            inbox.close()
            return False
        self._sent[number] = _Sent(message, inbox, time.monotonic())
        self._unacknowledged += message.rows
        return True

    def _acknowledged(self, number: int) -> None:
        if (message := self._taken_back(number)) is None:
            return
        self._stored += message.rows
        self._unstored -= message.rows
        if not self._unstored:
            self._empty.set()
        elif self._held:  # others wait for company, or for their time
            self._pump()

    def _repeat(self, number: int, reason: str) -> None:
        if (message := self._taken_back(number)) is None:
            return
        heapq.heappush(self._ready, (number, message))
        self._held = True
        if not self._failed or time.monotonic() >= self._blocked_until_s:
            log_event(log, "row_unstored", level=logging.WARNING, reason=reason)
        self._failed += message.rows
        self._block()

    def _taken_back(self, number: int) -> Message | None:
        """What was sent by that number; None: it is no longer out."""
        sent = self._sent.pop(number, None)
        if sent is None:
            return None
        sent.inbox.close()
        self._unacknowledged -= sent.message.rows
        return sent.message

    def _block(self) -> None:
        self._blocked_until_s = time.monotonic() + RESEND_AFTER_S / 4
