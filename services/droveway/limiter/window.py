"""`N per W`: never more than N in any interval of length W.

Sixty sub-windows; an amount counts until its whole sub-window has left the interval, so the bound
holds at every instant at the price of up to one sub-window (W/60) of extra waiting. A token bucket
of N with rate N/W would allow nearly 2N in some intervals.
"""

PARTS = 60


class SlidingWindow:
    """What was taken, by sub-window, whatever the limit; times are the log's milliseconds.

    Sub-window p holds the times t with p * W <= 60 * t < (p + 1) * W, all in integers.
    """

    __slots__ = ("_leaves_ms", "_parts", "_used", "window_ms")

    def __init__(self, window_ms: int, parts: dict[int, int] | None = None) -> None:
        self.window_ms = window_ms
        self._parts = {} if parts is None else parts
        """Ascending."""
        self._used = sum(self._parts.values())
        self._leaves_ms = self._leave_of(next(iter(self._parts))) if self._parts else 0
        """When the oldest sub-window leaves; 0: there is none."""

    def used(self, now_ms: int) -> int:
        """What counts at `now_ms`."""
        if now_ms >= self._leaves_ms:
            self._expire(now_ms)
        return self._used

    def add(self, at_ms: int, amount: int) -> None:
        """Counts `amount`, which is never negative, at `at_ms`."""
        parts = self._parts
        part = at_ms * PARTS // self.window_ms
        if part in parts:
            parts[part] += amount
        else:
            if parts and part < (last := next(reversed(parts))):
                part = last  # a clock that stepped back: later is safe
            parts[part] = parts.get(part, 0) + amount
            if not self._leaves_ms:
                self._leaves_ms = self._leave_of(part)
        self._used += amount

    def refund(self, added_ms: int, amount: int) -> None:
        """Takes back of what was added at `added_ms`; what has left already stays gone."""
        part = added_ms * PARTS // self.window_ms
        if (held := self._parts.get(part)) is not None:
            amount = min(amount, held)
            self._parts[part] = held - amount
            self._used -= amount

    def wait_ms(self, now_ms: int, excess: int) -> int:
        """Until `excess` of what counts has left; the whole window where there isn't as much."""
        self.used(now_ms)
        for part, amount in self._parts.items():
            excess -= amount
            if excess <= 0:
                return self._leave_of(part) - now_ms
        return self.window_ms

    def reset_ms(self, now_ms: int) -> int:
        """Until nothing counts."""
        if not self.used(now_ms):
            return 0
        for part in reversed(self._parts):
            if self._parts[part]:
                return self._leave_of(part) - now_ms
        raise AssertionError("what is used stands in a part")

    def state(self, at_ms: int) -> dict[int, int]:
        """What `__init__` takes; empty when nothing counts at `at_ms`."""
        self.used(at_ms)
        return {part: amount for part, amount in self._parts.items() if amount}

    def _leave_of(self, part: int) -> int:
        return -(-(part + PARTS + 1) * self.window_ms // PARTS)

    def _expire(self, now_ms: int) -> None:
        parts = self._parts
        while parts:
            first = next(iter(parts))
            leaves_ms = self._leave_of(first)
            if leaves_ms > now_ms:
                self._leaves_ms = leaves_ms
                return
            self._used -= parts.pop(first)
        self._leaves_ms = 0
