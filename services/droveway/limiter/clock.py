"""The log's clock: milliseconds that never step back and are never ahead of the broker's.

No wall clock of a process is read. A standby learns the time from the owner's batches, a new owner
goes on from there with its own monotonic clock. A clock that led would let windows end too early;
one that lags only refuses a little longer. A batch's time is past when it is heard, so none of them
makes the clock lead, and the one that came fastest makes it lag least.
"""

import math
import time
from collections.abc import Callable

_FORGET_AFTER_S = 30.0
"""Offsets are kept for once to twice this long: hosts' monotonic clocks drift apart."""


class LogClock:
    """One process's reading of the log's clock."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._largest: float | None = None
        self._largest_before: float | None = None
        self._since_s = 0.0
        self._offset_ms: float | None = None
        self._now_ms = 0

    def heard(self, at_ms: int) -> None:
        """A batch of the owner has just come."""
        now_s = self._monotonic()
        if now_s - self._since_s > _FORGET_AFTER_S:
            self._since_s = now_s
            self._largest_before, self._largest = self._largest, None
        offset_ms = at_ms - now_s * 1000
        if self._largest is None or offset_ms > self._largest:
            self._largest = offset_ms

    def begin(self, broker_ms: int, floor_ms: int) -> int:
        """This process owns the log from now on; returns its first time.

        Args:
            broker_ms: What the broker's clock showed a moment ago.
            floor_ms: The time of the log's last batch.
        """
        now_ms = self._monotonic() * 1000
        heard = [one for one in (self._largest, self._largest_before) if one is not None]
        offset_ms = min(broker_ms - now_ms, max(heard, default=math.inf))
        self._offset_ms = max(offset_ms, floor_ms - now_ms)
        self._now_ms = floor_ms
        return self.now_ms()

    def now_ms(self) -> int:
        """The owner's time; never less than it was.

        Raises:
            RuntimeError: This process hasn't owned the log yet.
        """
        if self._offset_ms is None:
            raise RuntimeError("the log's clock runs at its owner only: call begin first")
        self._now_ms = max(self._now_ms, int(self._monotonic() * 1000 + self._offset_ms))
        return self._now_ms
