"""When a snapshot is written, and by whom: a standby, or an owner that has none."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from droveway.limiter.snapshots import Snapshot, Snapshots
from droveway.runtime.errors import BusError

_TICK_S = 1.0
_dice = random.Random()  # noqa: S311 - waits, not secrets
STANDBYS = 1
OWNERS = 3
"""Patience: an owner writes one only when none has come for so many times as long."""


class Schedule:
    """When the next snapshot is due."""

    def __init__(self, batches: int, every_s: float) -> None:
        self._batches = batches
        self._every_s = every_s
        self._sequence = 0
        self._stored_s = time.monotonic()

    @property
    def age_s(self) -> float:
        """Since one was stored, or known to be, by this process."""
        return time.monotonic() - self._stored_s

    def stored(self, sequence: int) -> None:
        """There is one of that sequence of the log."""
        if sequence > self._sequence >= 0:
            self._sequence = sequence
            self._stored_s = time.monotonic()

    def replaced(self, sequence: int) -> None:
        """This process has stored one."""
        self._sequence = sequence
        self._stored_s = time.monotonic()

    def hurry(self) -> None:
        """What is stored doesn't fit the log: the next one is due at once, whatever others say."""
        self._sequence, self._stored_s = -1, 0.0

    def due(self, sequence: int, patience: int = 1) -> bool:
        """Whether the log has come far enough; `patience`: so many times as far as usual."""
        behind = sequence - self._sequence
        return behind >= patience * self._batches or (
            behind > 0 and self.age_s >= patience * self._every_s
        )


async def write_when_due(
    snapshots: Snapshots,
    schedule: Schedule,
    patience: int,
    sequence: Callable[[], int],
    take: Callable[[], Awaitable[Snapshot]],
) -> None:
    """Writes one whenever it is due, unless another process has; until cancelled.

    Args:
        snapshots: Where to.
        schedule: When.
        patience: `STANDBYS` or `OWNERS`.
        sequence: How far the log has come.
        take: Makes one.
    """
    while True:
        # Standbys that started together don't write at once.
        await asyncio.sleep(_TICK_S * (0.5 + _dice.random()))
        if not schedule.due(sequence(), patience):
            continue
        try:
            schedule.stored(await snapshots.sequence())
        except BusError:
            continue
        if schedule.due(sequence(), patience):
            snapshot = await take()
            if await snapshots.write(snapshot):
                schedule.replaced(snapshot.sequence)
