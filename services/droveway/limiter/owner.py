"""The owner: decides in the read loop, appends what it decided, and answers what stands there.

question --> decide --> pending --+                        +--> answers
question --> decide --> pending --+--> one append, acked --+--> answers
(while that append is in flight, further decisions pile up for the next one)
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from droveway.contracts.envelope import encode
from droveway.contracts.events import BudgetCrossed, encode_json, events_subject
from droveway.contracts.limits import Alive, Op, owner_subject
from droveway.limiter.decisions import Decisions
from droveway.limiter.group_commit import Author, Counts, GroupCommit
from droveway.limiter.log import Appended, Log
from droveway.limiter.settings import LimiterSettings
from droveway.limiter.snapshots import Snapshot
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import DirectGet
from droveway.runtime.errors import BusError, Disconnected

log = logging.getLogger(__name__)

EVENTS = events_subject("limiter")
_STALL_S = 0.25
"""A tick so late says that this process stood still: somebody else may own the partition."""


class Owner:
    """One ownership, from the takeover to the fence, or the end of connection or process."""

    def __init__(
        self,
        bus: Bus,
        partition: int,
        log_: Log,
        decisions: Decisions,
        author: Author,
        appended: Appended,
        counts: Counts,
        own: LimiterSettings,
    ) -> None:
        self.decisions = decisions
        self.open = True
        """It takes questions; no more once it leaves."""
        self.now_ms = author.now_ms
        self._bus = bus
        self._alive_subject = owner_subject(partition)
        self._commits = GroupCommit(log_, author, appended, counts, own)
        self._counts = counts
        self._settings = own
        self._lost = asyncio.Event()
        self._withheld: list[Work] | None = None
        """What waits until the book holds nothing but what stands in the log."""

    # What comes in, in the read loop

    def offer(self, work: "Work") -> bool:
        """Does `work` now, or once a snapshot is taken; False: too much is pending, it's left."""
        if self.pending >= self._settings.max_pending:
            self._counts.refused_full += 1
            return False
        if self._withheld is not None:
            self._withheld.append(work)
        else:
            work(self)
        return True

    def record(self, ops: Sequence[Op], after: Callable[[], None] = lambda: None) -> None:
        """Has `ops` appended, then runs `after`; without ops it still waits for those before."""
        self._commits.record(ops, after)

    def answer(self, reply: str, payload: bytes, ops: Sequence[Op] = ()) -> None:
        """Sends `payload` to `reply` once `ops`, and all decided before, stand in the log."""
        if not ops and self._commits.settled:
            self._send(reply, payload)
        else:
            self.record(ops, lambda: self._send(reply, payload))

    def on_rival(self, sequence: int) -> None:
        """Another process says that it owns the partition."""
        if sequence > self.sequence:
            self._commits.doubt()

    def lose(self) -> None:
        """The connection is lost, or was."""
        self._lost.set()

    @property
    def sequence(self) -> int:
        """Of its last append."""
        return self._commits.sequence

    @property
    def pending(self) -> int:
        """What waits for the log."""
        return len(self._commits) + len(self._withheld or ())

    # Its life

    async def run(
        self,
        reader: DirectGet,
        leave: asyncio.Event,
        beside: Callable[["Owner"], Coroutine[Any, Any, None]],
    ) -> None:
        """Owns the partition until `leave`, all answered then; `beside` runs as long.

        Raises:
            ExceptionGroup: Of `Fenced`: somebody else owns it. Of `BusError`: the connection was
                lost.
        """
        beginnings = (self._live(), self._watch_link(), self._end_at(leave), beside(self))
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [tasks.create_task(beginning) for beginning in beginnings]
                await self._commits.run(reader)
                for task in helpers:
                    task.cancel()
        finally:
            self.open = False
        self._say_alive(leaving=True)

    async def snapshot(self) -> Snapshot:
        """The book, at a moment when it holds what the log holds and nothing else."""
        self._withheld = []
        done = asyncio.Event()
        self.record((), done.set)
        await done.wait()
        taken = Snapshot(self.decisions.book.snapshot(), self.sequence, self.now_ms())
        withheld, self._withheld = self._withheld, None
        for work in withheld:
            work(self)
        return taken

    def tell_events(self) -> None:
        """Publishes which budgets are nearly spent."""
        crossed = self.decisions.crossed
        while crossed:
            event = BudgetCrossed(
                at_ms=time.time_ns() // 1_000_000,
                instance=self._bus.instance,
                **crossed.pop(0)._asdict(),
            )
            self._send(EVENTS, encode_json(event))

    async def _live(self) -> None:
        """Says that it lives; lets leases run out."""
        every_s = self._settings.alive_every_ms / 1000
        ticked_s = time.monotonic()
        while True:
            if time.monotonic() - ticked_s > _STALL_S:
                self._commits.doubt()
            else:
                self._say_alive()
                self._expire()
            ticked_s = time.monotonic()
            await asyncio.sleep(every_s)

    def _expire(self) -> None:
        if self._withheld is None:
            ops = self.decisions.expire(self.now_ms())
            if ops:
                self.record(ops)
        self.tell_events()

    def _say_alive(self, *, leaving: bool = False) -> None:
        alive = Alive(owner=self._bus.instance, sequence=self.sequence, leaving=leaving)
        try:
            self._bus.publish(self._alive_subject, encode(alive))
        except BusError:
            self.lose()

    async def _watch_link(self) -> None:
        await self._lost.wait()
        raise Disconnected("the connection to NATS was lost")

    async def _end_at(self, leave: asyncio.Event) -> None:
        await leave.wait()
        self.open = False
        self._commits.close()

    def _send(self, reply: str, payload: bytes) -> None:
        try:
            self._bus.publish(reply, payload)
        except BusError as error:
            self._counts.unsent += 1
            log_event(log, "decision_unsent", level=logging.DEBUG, reason=str(error))


Work = Callable[[Owner], None]
