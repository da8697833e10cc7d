"""What limits promise, checked exactly and without the limiter's code: integers, every instant.

`N per W` is kept when at no admission more than N stands in (t - W, t], that one included: an
interval with more than N would end at one. Each counter costs O(1) per admission, so a history may
have millions. Whoever has the log feeds `LimitModel`; whoever has bare admissions calls
`over_admissions`.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from droveway.contracts.limits import Admit, Op, Settle


class Admission(NamedTuple):
    """So much was taken of one counter."""

    at_ms: int
    counter: str
    amount: int
    limit: int
    window_ms: int
    burst: int = 0
    """At most so many at once, spread evenly over the window; 0: any time within it."""


class Over(NamedTuple):
    """An admission after which more stood in an interval than the limit allows."""

    at_ms: int
    counter: str
    counted: int
    """For a burst: in the whole units that the limit is told in, rounded up."""
    limit: int


class Entry:
    """One amount that counts from its time on; a settlement may make it smaller."""

    __slots__ = ("amount", "at_ms")

    def __init__(self, at_ms: int, amount: int) -> None:
        self.at_ms = at_ms
        self.amount = amount


class Interval:
    """What stands in the last `window_ms` of one counter."""

    def __init__(self, window_ms: int) -> None:
        self.window_ms = window_ms
        self._entries: deque[Entry] = deque()
        self._sum = 0

    def take(self, at_ms: int, amount: int) -> tuple[Entry, int]:
        """The new entry, and what stands in (at_ms - window, at_ms] with it."""
        while self._entries and self._entries[0].at_ms <= at_ms - self.window_ms:
            self._sum -= self._entries.popleft().amount
        entry = Entry(at_ms, amount)
        self._entries.append(entry)
        self._sum += amount
        return entry, self._sum

    def lessen(self, entry: Entry, amount: int) -> None:
        """The entry counts as `amount` from now on."""
        if self._entries and entry.at_ms >= self._entries[0].at_ms:
            self._sum -= entry.amount - amount
        entry.amount = amount


class Bucket:
    """Time scaled by the limit, so that one unit is exactly `window_ms` long."""

    def __init__(self, limit: int, window_ms: int) -> None:
        self.limit = limit
        self.window_ms = window_ms
        self._empty_at = 0

    def take(self, at_ms: int, amount: int) -> int:
        """What is in it with the new amount, in units, rounded up."""
        now = at_ms * self.limit
        self._empty_at = max(self._empty_at, now) + amount * self.window_ms
        return -(-(self._empty_at - now) // self.window_ms)


def over_admissions(history: Iterable[Admission]) -> list[Over]:
    """The admissions that broke their limit; a counter's entries come in order of time."""
    intervals: dict[str, Interval] = {}
    buckets: dict[str, Bucket] = {}
    over: list[Over] = []
    for one in history:
        if one.burst:
            bucket = buckets.setdefault(one.counter, Bucket(one.limit, one.window_ms))
            counted, limit = bucket.take(one.at_ms, one.amount), one.burst
        else:
            interval = intervals.setdefault(one.counter, Interval(one.window_ms))
            counted, limit = interval.take(one.at_ms, one.amount)[1], one.limit
        if counted > limit:
            over.append(Over(one.at_ms, one.counter, counted, limit))
    return over


class _Reserved(NamedTuple):
    counter: str
    entry: Entry


class _Request:
    def __init__(self) -> None:
        self.reserved: list[_Reserved] = []
        self.running: list[str] = []
        self.reservation = (0, 0)
        self.settled: set[bytes] = set()
        self.last_ms = 0


class LimitModel:
    """The log's operations in order, against the limits by counter name.

    What is admitted must have room then and there; what is settled counts as used in its place, and
    what was used beyond the reservation counts from the settlement on. A burst is judged for
    requests only: what a bucket of tokens gets back depends on what has drained.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = limits
        self._intervals: dict[str, Interval] = {}
        self._buckets: dict[str, Bucket] = {}
        self._running: dict[str, int] = {}
        self._requests: dict[str, _Request] = {}
        self.over: list[Over] = []
        self.admissions = 0

    def feed(self, ops: Iterable[Op]) -> None:
        """The next operations."""
        for op in ops:
            if isinstance(op, Admit):
                self._admit(op)
            elif isinstance(op, Settle):
                self._settle(op)

    def _admit(self, op: Admit) -> None:
        self.admissions += 1
        request = (
            self._requests.setdefault(op.request_id, _Request()) if op.lease_until_ms else None
        )
        for charge in op.charges:
            self._charge(op.at_ms, charge.counter, charge.amount, request)
        for counter in op.leases:
            self._running[counter] = self._running.get(counter, 0) + 1
            self._judge(op.at_ms, counter, self._running[counter], self._limits[counter])
        if request is not None:
            request.running.extend(op.leases)
            request.reservation = (op.reserved_input, op.reserved_output)
            request.last_ms = op.at_ms

    def _charge(self, at_ms: int, counter: str, amount: int, request: _Request | None) -> None:
        _, kind, window, *_ = counter.split("|", 3)
        length, _, rate = window.partition(":")
        if rate:
            if kind != "requests":
                return
            burst, limit = (int(number) for number in rate.split("/"))
            bucket = self._buckets.setdefault(counter, Bucket(limit, int(length)))
            self._judge(at_ms, counter, bucket.take(at_ms, amount), burst)
            return
        interval = self._intervals.setdefault(counter, Interval(int(length)))
        entry, counted = interval.take(at_ms, amount)
        self._judge(at_ms, counter, counted, self._limits[counter])
        if kind != "requests" and request is not None:
            request.reserved.append(_Reserved(counter, entry))

    def _settle(self, op: Settle) -> None:
        request = self._requests.get(op.request_id)
        if request is None or op.attempt_id in request.settled:
            return
        request.settled.update({op.attempt_id} if op.attempt_id else ())
        keeps_all = op.estimated and request.reservation == (op.input_tokens, op.output_tokens)
        if not keeps_all:
            request.reserved = [one for one in request.reserved if self._stays(op, one, request)]
        leaving = [*request.running]
        if not op.final:
            leaving = [*{name for name in leaving if name.startswith(f"c:{op.target}|")}]
        for counter in leaving:
            request.running.remove(counter)
            self._running[counter] -= 1
        if op.final:
            del self._requests[op.request_id]

    def _stays(self, op: Settle, one: _Reserved, request: _Request) -> bool:
        """Settles one reservation, unless it is another attempt's or still needed."""
        kind = one.counter.split("|")[1]
        used = {"input_tokens": op.input_tokens, "output_tokens": op.output_tokens}
        actual = used.get(kind, op.input_tokens + op.output_tokens)
        interval = self._intervals[one.counter]
        if one.counter.startswith("c:"):
            if not self._is_of_attempt(op, one, request):
                return True
        elif not op.final:
            interval.take(op.at_ms, actual)
            return True
        reserved = one.entry.amount
        interval.lessen(one.entry, min(actual, reserved))
        if actual > reserved:
            interval.take(op.at_ms, actual - reserved)
        return False

    def _is_of_attempt(self, op: Settle, one: _Reserved, request: _Request) -> bool:
        if not op.target:
            return one.entry.at_ms == request.last_ms
        scope = f"c:{op.target}|"
        times = [other.entry.at_ms for other in request.reserved if other.counter.startswith(scope)]
        return one.counter.startswith(scope) and one.entry.at_ms == min(times)

    def _judge(self, at_ms: int, counter: str, counted: int, limit: int) -> None:
        if counted > limit:
            self.over.append(Over(at_ms, counter, counted, limit))
