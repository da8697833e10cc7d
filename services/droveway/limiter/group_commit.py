"""Group commit: one append in flight, and all that is decided meanwhile goes into the next one."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from droveway.contracts.envelope import encode
from droveway.contracts.limits import Op
from droveway.limiter.log import Appended, Log
from droveway.limiter.settings import LimiterSettings
from droveway.runtime.bus.direct_get import DirectGet


class _RawBatch(msgspec.Struct, frozen=True, array_like=True, tag="b"):
    """A `Batch` whose operations are encoded already."""

    owner: str
    number: int
    at_ms: int
    ops: list[msgspec.Raw]


class _Pending(NamedTuple):
    """What waits for an append."""

    ops: list[msgspec.Raw]
    size_bytes: int
    after: Callable[[], None]
    """Run once it stands in the log."""


class Counts:
    """What outlives one ownership."""

    def __init__(self) -> None:
        self.refused_full = 0
        """Messages left undone since too much was pending."""
        self.unsent = 0
        """Answers that couldn't be sent."""
        self.appended_ops = 0
        self.batch_ops = 0
        """Of the last append."""


class Author(NamedTuple):
    """In whose name batches are appended."""

    instance: str
    next_number: Callable[[], int]
    """Never the same twice in a process."""
    now_ms: Callable[[], int]
    """The log's time."""


class GroupCommit:
    """One ownership's appends, in order."""

    def __init__(
        self, log_: Log, author: Author, appended: Appended, counts: Counts, own: LimiterSettings
    ) -> None:
        self.sequence = appended.sequence
        """Of the last append."""
        self._sent_s = appended.sent_s
        self._log = log_
        self._author = author
        self._counts = counts
        self._settings = own
        self._pending: deque[_Pending] = deque()
        self._wake = asyncio.Event()
        self._appending = False
        self._doubtful = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def settled(self) -> bool:
        """All decided stands in the log, which it owned a moment ago.

        So what changes nothing may be said without asking the log again.
        """
        return not self._pending and not self._appending and self._is_fresh()

    def record(self, ops: Sequence[Op], after: Callable[[], None]) -> None:
        """Has `ops` appended, then runs `after`; without ops it still waits for those before."""
        raw = [msgspec.Raw(encode(op)) for op in ops]
        self._pending.append(_Pending(raw, sum(map(len, raw)), after))
        self._wake.set()

    def doubt(self) -> None:
        """There is reason to believe that somebody else owns the log: an append will tell."""
        self._doubtful = True
        self._wake.set()

    def close(self) -> None:
        """Nothing more comes: `run` returns after what is pending."""
        self._closed = True
        self._wake.set()

    async def run(self, reader: DirectGet) -> None:
        """Appends what is recorded until it is closed.

        Raises:
            Fenced: Somebody else owns the log.
            Disconnected: The connection was lost.
        """
        while self._pending or not self._closed:
            await self._wake.wait()
            self._wake.clear()
            while self._pending or self._doubtful:
                await self._commit(reader)

    async def _commit(self, reader: DirectGet) -> None:
        group = self._take()
        ops = [op for pending in group for op in pending.ops]
        if ops or self._doubtful or not self._is_fresh():
            self._doubtful = False
            await self._append(reader, ops)
        for pending in group:
            pending.after()

    async def _append(self, reader: DirectGet, ops: list[msgspec.Raw]) -> None:
        instance, next_number, now_ms = self._author
        number = next_number()
        batch = encode(_RawBatch(owner=instance, number=number, at_ms=now_ms(), ops=ops))
        self._appending = True
        try:
            appended = await self._log.append(reader, instance, number, batch, self.sequence)
        finally:
            self._appending = False
        self.sequence, self._sent_s = appended
        self._counts.appended_ops += len(ops)
        self._counts.batch_ops = len(ops)

    def _take(self) -> list[_Pending]:
        """As much of what is pending as one append may hold."""
        group: list[_Pending] = []
        size_bytes = 0
        while self._pending:
            size_bytes += self._pending[0].size_bytes
            if group and size_bytes > self._settings.max_batch_bytes:
                break
            group.append(self._pending.popleft())
        return group

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._sent_s < self._settings.fresh_ms / 1000
