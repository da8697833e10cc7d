"""All counters of the book by name: windows, buckets and places among concurrent requests."""

from collections.abc import Iterator

from droveway.limiter.counters import Counter, parse
from droveway.limiter.gcra import Gcra
from droveway.limiter.records import BucketRecord, Record, WindowRecord
from droveway.limiter.window import SlidingWindow


class Meters:
    """What was taken of each counter; those that count nothing are forgotten by and by."""

    __slots__ = ("_to_check", "buckets", "running", "windows")

    def __init__(self) -> None:
        self.windows: dict[str, SlidingWindow] = {}
        self.buckets: dict[str, Gcra] = {}
        """By `Counter.base`."""
        self.running: dict[str, int] = {}
        self._to_check: list[str] = []

    def charge(self, name: str, at_ms: int, amount: int) -> None:
        """Counts `amount` at `at_ms`."""
        window = self.windows.get(name)
        if window is not None:
            window.add(at_ms, amount)
            return
        counter = parse(name)
        if counter.unit_ns:
            bucket = self.buckets.get(counter.base)
            if bucket is None:
                bucket = self.buckets[counter.base] = Gcra()
            bucket.add(at_ms, amount, counter.unit_ns)
        else:
            window = self.windows[name] = SlidingWindow(counter.window_ms)
            window.add(at_ms, amount)
        self._forget_idle(at_ms)

    def settle(self, name: str, taken_ms: int, reserved: int, actual: int, at_ms: int) -> None:
        """Puts what was used for what was taken; what is more counts from now."""
        if actual > reserved:
            self.charge(name, at_ms, actual - reserved)
        elif (window := self.windows.get(name)) is not None:
            window.refund(taken_ms, reserved - actual)
        elif (counter := parse(name)).unit_ns and (found := self.buckets.get(counter.base)):
            found.refund(taken_ms, reserved - actual, counter.unit_ns)

    def enter(self, name: str) -> None:
        """One more at the same time."""
        self.running[name] = self.running.get(name, 0) + 1

    def leave(self, name: str) -> None:
        """One less at the same time."""
        left = self.running.get(name, 0) - 1
        if left > 0:
            self.running[name] = left
        else:
            self.running.pop(name, None)

    def used(self, counter: Counter, now_ms: int) -> int:
        """What counts of it at `now_ms`."""
        if (window := self.windows.get(counter.base)) is not None:
            return window.used(now_ms)
        if (bucket := self.buckets.get(counter.base)) is not None:
            return bucket.used(now_ms, counter.unit_ns)
        return self.running.get(counter.base, 0)

    def wait_ms(self, counter: Counter, now_ms: int, excess: int) -> int:
        """Until `excess` of what counts has left."""
        if counter.unit_ns:
            bucket = self.buckets.get(counter.base)
            return 0 if bucket is None else bucket.wait_ms(now_ms, excess, counter.unit_ns)
        window = self.windows.get(counter.base)
        return 0 if window is None else window.wait_ms(now_ms, excess)

    def reset_ms(self, counter: Counter, now_ms: int) -> int:
        """Until nothing counts; 0 for concurrency."""
        found = (self.buckets if counter.unit_ns else self.windows).get(counter.base)
        return 0 if found is None else found.reset_ms(now_ms)

    def records(self, at_ms: int) -> Iterator[Record]:
        """What counts at `at_ms`, by name; `running` follows from the holds."""
        for name, window in sorted(self.windows.items()):
            if parts := window.state(at_ms):
                yield WindowRecord(name, window.window_ms, parts)
        for name, bucket in sorted(self.buckets.items()):
            if state := bucket.state(at_ms):
                yield BucketRecord(name, *state)

    def restore(self, record: WindowRecord | BucketRecord) -> None:
        """Takes back one of `records`."""
        if isinstance(record, WindowRecord):
            self.windows[record.name] = SlidingWindow(record.window_ms, record.parts)
        else:
            self.buckets[record.name] = Gcra(record.tat_ns, record.busy_since_ms, record.slacks)

    def _forget_idle(self, at_ms: int) -> None:
        """Looks at two for each one that is made, so that idle ones don't pile up."""
        for _ in range(2):
            if not self._to_check:
                self._to_check = [*self.windows, *self.buckets]
            name = self._to_check.pop()
            if (window := self.windows.get(name)) is not None:
                if not window.used(at_ms):
                    del self.windows[name]
            elif (bucket := self.buckets.get(name)) is not None and bucket.state(at_ms) is None:
                del self.buckets[name]
