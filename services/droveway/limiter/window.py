"""`N per W`: never more than N permits in any interval of length W.

A ring of sub-windows; a permit counts until its whole sub-window has left the interval, so the
bound holds at every instant at the price of up to one sub-window (W/60) of extra waiting. A token
bucket of N with rate N/W would allow nearly 2N in some intervals.
"""

from collections import deque
from typing import NamedTuple

PARTS = 60


class Standing(NamedTuple):
    """Where a window stands at one instant."""

    limit: int
    remaining: int
    wait_s: float
    """Until one more permit would be granted; 0 when it would be now."""
    reset_s: float
    """Until the window is empty."""


class SlidingWindow:
    """The permits of one limit; times are seconds of one monotonic clock."""

    __slots__ = ("_counts", "_part_s", "_used", "limit", "window_s")

    def __init__(self, limit: int, window_s: float) -> None:
        self.limit = limit
        self.window_s = window_s
        self._part_s = window_s / PARTS
        self._counts: deque[list[int]] = deque()
        self._used = 0

    def standing(self, now_s: float) -> Standing:
        """What the window allows at `now_s`."""
        self._expire(now_s)
        remaining = max(0, self.limit - self._used)
        wait_s = 0.0
        if not remaining:
            excess = self._used - self.limit + 1
            for part, count in self._counts:
                excess -= count
                if excess <= 0:
                    wait_s = self._leaves_s(part) - now_s
                    break
        reset_s = self._leaves_s(self._counts[-1][0]) - now_s if self._counts else 0.0
        return Standing(self.limit, remaining, wait_s, reset_s)

    def take(self, now_s: float) -> None:
        """Counts one permit; the caller has looked at `standing` of all its limits first."""
        part = int(now_s / self._part_s)
        if self._counts and self._counts[-1][0] >= part:
            self._counts[-1][1] += 1
        else:
            self._counts.append([part, 1])
        self._used += 1

    def resized(self, limit: int) -> "SlidingWindow":
        """The same permits under another limit: a reloaded configuration forgets nothing."""
        other = SlidingWindow(limit, self.window_s)
        # Copied: two limits of one length would otherwise count into each other.
        other._counts = deque([part, count] for part, count in self._counts)
        other._used = self._used
        return other

    def _leaves_s(self, part: int) -> float:
        return (part + PARTS + 1) * self._part_s

    def _expire(self, now_s: float) -> None:
        while self._counts and self._leaves_s(self._counts[0][0]) <= now_s:
            self._used -= self._counts.popleft()[1]
