"""Money of one key or tenant: what is spent in each running period, and what is open.

Periods are calendar periods in UTC, by the broker's clock: it stored the row that says what was
spent. `open_nano` is reserved, or settled without a row yet.
"""

from datetime import UTC, datetime
from typing import NamedTuple

from droveway.contracts.access import Period

PERIODS: tuple[Period, ...] = ("hour", "day", "month", "total")
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
_MOST_NANO = 2**62
"""More than any budget, and not too large for a snapshot."""


class Span(NamedTuple):
    """One period: from `start_ms` until before `end_ms`; None: without end."""

    start_ms: int
    end_ms: int | None


def span_of(period: Period, at_ms: int) -> Span:
    """The period that `at_ms`, in Unix milliseconds, lies in."""
    if period == "total":
        return Span(0, None)
    if period == "month":
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
        start = datetime(at.year, at.month, 1, tzinfo=UTC)
        end = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
        return Span(int(start.timestamp()) * 1000, int(end.timestamp()) * 1000)
    length_ms = _HOUR_MS if period == "hour" else _DAY_MS
    start_ms = at_ms - at_ms % length_ms
    return Span(start_ms, start_ms + length_ms)


class Calendar:
    """`span_of` for times that mostly stay within one period."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: dict[Period, Span] = {}

    def span(self, period: Period, at_ms: int) -> Span:
        """The period that `at_ms` lies in."""
        known = self._spans.get(period)
        if (
            known is None
            or at_ms < known.start_ms
            or (known.end_ms is not None and at_ms >= known.end_ms)
        ):
            known = self._spans[period] = span_of(period, at_ms)
        return known


class Account:
    """One key's or tenant's money."""

    __slots__ = ("_spent", "open_nano")

    def __init__(self) -> None:
        self.open_nano = 0
        self._spent: dict[Period, tuple[int, int]] = {}
        """By period: its start in Unix ms, and what was spent since."""

    def spend(self, nano: int, at_ms: int, calendar: Calendar) -> None:
        """Counts `nano` in the periods of `at_ms`; in one that is over it changes nothing.

        Negative takes back what was estimated at that time.
        """
        for period in PERIODS:
            start_ms = calendar.span(period, at_ms).start_ms
            known_ms, spent = self._spent.get(period, (start_ms, 0))
            if start_ms > known_ms:
                self._spent[period] = (start_ms, min(_MOST_NANO, max(0, nano)))
            elif start_ms == known_ms:
                self._spent[period] = (start_ms, min(_MOST_NANO, max(0, spent + nano)))

    def spent(self, period: Period, start_ms: int) -> int:
        """What was spent in the period that began at `start_ms`."""
        known_ms, spent = self._spent.get(period, (0, 0))
        return spent if known_ms >= start_ms else 0

    def state(self) -> dict[Period, tuple[int, int]]:
        """What is spent, by period with its start."""
        return self._spent

    def restore(self, spent: dict[Period, tuple[int, int]]) -> None:
        """Takes back `state`."""
        self._spent = spent
