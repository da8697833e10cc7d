"""Usage rows on their way to JetStream: off the client's path, bounded, sent until acknowledged.

A row may be stored twice when an acknowledgement is lost; its id is the ledger's primary key.
"""

import asyncio
import logging
import time
from collections import deque
from typing import NamedTuple

from droveway.contracts import usage
from droveway.contracts.envelope import encode
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus, Inbox, read_jetstream
from droveway.runtime.errors import BusError

log = logging.getLogger(__name__)

GATHER_S = 0.01
"""How long a row may wait for company before it is published."""
SPOOL_DRAIN_S = 5.0
"""How long a service that ends waits for its rows to be stored."""
RESEND_AFTER_S = 2.0
"""A row that wasn't acknowledged for this long is sent again."""


class SpoolStatistics(NamedTuple):
    """A snapshot for gauges."""

    waiting: int
    unacknowledged: int
    limit: int
    stored: int
    failed: int
    """Publishes that were refused or not acknowledged in time; each is repeated."""


class _Sent(NamedTuple):
    subject: str
    payload: bytes
    inbox: Inbox
    sent_s: float


class Spool:
    """Publishes rows with a bounded window of unacknowledged ones."""

    def __init__(self, bus: Bus, limit_rows: int, window_rows: int = 512) -> None:
        self._bus = bus
        self._limit_rows = limit_rows
        self._window_rows = window_rows
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._sent: dict[int, _Sent] = {}
        self._next = 0
        self._stored = 0
        self._failed = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._blocked_until_s = 0.0
        self._gathering = False

    @property
    def full(self) -> bool:
        """Whether accepting more work would mean losing rows: doors refuse then."""
        return len(self._waiting) + len(self._sent) >= self._limit_rows

    def put(self, row: usage.Row) -> None:
        """Takes a row of work that was accepted; never refuses, since the work is done.

        Rows leave together, `GATHER_S` after the first: one write and one read for all of them.
        """
        self._waiting.append((usage.usage_subject(row.tenant), encode(row)))
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
            log_event(
                log, "rows_unstored", level=logging.ERROR, rows=len(self._waiting) + len(self._sent)
            )

    def statistics(self) -> SpoolStatistics:
        """A snapshot for gauges."""
        return SpoolStatistics(
            waiting=len(self._waiting),
            unacknowledged=len(self._sent),
            limit=self._limit_rows,
            stored=self._stored,
            failed=self._failed,
        )

    def _pump(self) -> None:
        while (
            self._waiting
            and len(self._sent) < self._window_rows
            and time.monotonic() >= self._blocked_until_s
        ):
            subject, payload = self._waiting.popleft()
            if not self._publish(subject, payload):
                self._waiting.appendleft((subject, payload))
                self._block()

    def _publish(self, subject: str, payload: bytes) -> bool:
        number = self._next
        self._next += 1

        def acknowledged(data: bytes) -> None:
            try:
                read_jetstream(data)
            except BusError as error:
                self._repeat(number, str(error))
                return
            if (sent := self._sent.pop(number, None)) is not None:
                sent.inbox.close()
                self._stored += 1
                if not self._sent and not self._waiting:
                    self._empty.set()
                elif self._waiting:
                    self._pump()

        def nobody() -> None:
            self._repeat(number, "the stream USAGE isn't there")

        inbox = self._bus.open_inbox(acknowledged, nobody)
        try:
            self._bus.publish(subject, payload, inbox.subject)
        except BusError:
            inbox.close()
            return False
        self._sent[number] = _Sent(subject, payload, inbox, time.monotonic())
        return True

    def _repeat(self, number: int, reason: str) -> None:
        sent = self._sent.pop(number, None)
        if sent is None:
            return
        sent.inbox.close()
        self._waiting.appendleft((sent.subject, sent.payload))
        if not self._failed or time.monotonic() >= self._blocked_until_s:
            log_event(log, "row_unstored", level=logging.WARNING, reason=reason)
        self._failed += 1
        self._block()

    def _block(self) -> None:
        self._blocked_until_s = time.monotonic() + RESEND_AFTER_S / 4
