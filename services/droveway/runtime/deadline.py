"""Deadlines: remaining milliseconds on the wire, a monotonic clock inside."""

import time
from typing import NamedTuple


class Deadline(NamedTuple):
    """A point on this process's monotonic clock, in seconds."""

    at_s: float

    @classmethod
    def after_ms(cls, remaining_ms: float) -> "Deadline":
        """The deadline `remaining_ms` from now."""
        return cls(time.monotonic() + remaining_ms / 1000)

    def remaining_s(self) -> float:
        """Seconds left; 0 when it has passed."""
        return max(0.0, self.at_s - time.monotonic())

    def remaining_ms(self) -> int:
        """Milliseconds left, as they go on the wire; 0 when it has passed."""
        return int(self.remaining_s() * 1000)

    @property
    def passed(self) -> bool:
        """Whether nothing is left."""
        return time.monotonic() >= self.at_s
