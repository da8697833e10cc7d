"""What rows of the last seconds add up to, as a whole and by model, provider and key.

The window is a ring of slices; memory is bounded by their number and that of names in each.
"""

from collections import deque
from typing import Literal, NamedTuple

from droveway.cli.cost import Costs
from droveway.cli.top_durations import Durations
from droveway.contracts.usage import AttemptRecorded, RequestRecorded, Row

SLICES = 30
MAX_NAMES = 100
"""Models, providers and keys, each, in one slice; further ones count as `other`."""
OTHER = "other"
_REMEMBERED = 10_000
"""Ids of rows, since a row may be stored twice."""

Dimension = Literal["model", "provider", "key"]
_DIMENSIONS: tuple[Dimension, ...] = ("model", "provider", "key")


class Sums:
    """What was counted of one name; of a provider `requests` are attempts."""

    __slots__ = (
        "cancelled", "completed", "cost_nano", "failed", "first", "input_tokens", "output_tokens",
        "requests", "total",
    )  # fmt: skip

    def __init__(self) -> None:
        self.requests = self.completed = self.failed = self.cancelled = 0
        self.input_tokens = self.output_tokens = self.cost_nano = 0
        self.total, self.first = Durations(), Durations()

    def ended(self, outcome: str) -> None:
        """One has ended."""
        self.requests += 1
        self.completed += outcome == "completed"
        self.cancelled += outcome == "cancelled"
        self.failed += outcome not in ("completed", "cancelled")

    def used(self, row: AttemptRecorded, cost_nano: int) -> None:
        """An attempt's tokens and money."""
        self.input_tokens += row.usage.input_tokens
        self.output_tokens += row.usage.output_tokens
        self.cost_nano += cost_nano

    def took(self, total_ms: float, first_ms: float | None) -> None:
        """How long it was; to the first token only of a stream."""
        self.total.add(total_ms)
        if first_ms is not None:
            self.first.add(first_ms)

    def merge(self, other: "Sums") -> None:
        """Adds all of `other`."""
        for name in ("requests", "completed", "failed", "cancelled", "input_tokens"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.output_tokens += other.output_tokens
        self.cost_nano += other.cost_nano
        self.total.merge(other.total)
        self.first.merge(other.first)

    @property
    def success(self) -> float | None:
        """The share of completed ones among those that no client cancelled."""
        judged = self.completed + self.failed
        return self.completed / judged if judged else None


class _Slice:
    """One stretch of the window."""

    __slots__ = ("all", "by", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.all = Sums()
        self.by: dict[Dimension, dict[str, Sums]] = {one: {} for one in _DIMENSIONS}

    def of(self, dimension: Dimension, name: str) -> Sums:
        names = self.by[dimension]
        if name not in names and len(names) >= MAX_NAMES:
            name = OTHER
        return names.setdefault(name, Sums())


class Totals(NamedTuple):
    """The window added up."""

    window_s: float
    all: Sums
    by: dict[Dimension, dict[str, Sums]]


class Window:
    """Rows of the last `window_s` seconds, by the broker's time."""

    def __init__(self, window_s: int, costs: Costs) -> None:
        self._costs = costs
        self._slice_ms = max(1, window_s * 1000 // SLICES)
        self._slices: deque[_Slice] = deque(maxlen=SLICES)
        self._seen: dict[str | bytes, None] = {}
        self.newest_ms = 0
        """When the newest row was stored."""

    def take(self, row: Row, stored_ms: int) -> None:
        """Counts a row once."""
        row_id = row.attempt_id if isinstance(row, AttemptRecorded) else row.request_id
        if row_id in self._seen:
            return
        self._seen[row_id] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self.newest_ms = max(self.newest_ms, stored_ms)
        slice_ = self._slice(stored_ms)
        if isinstance(row, RequestRecorded):
            _count_request(slice_, row)
        else:
            cost_nano = int(self._costs.of(row).usd * 10**9)
            _count_attempt(slice_, row, cost_nano)

    def totals(self, now_ms: int) -> Totals:
        """All that was stored within the window that ends at `now_ms`."""
        oldest = now_ms // self._slice_ms - SLICES + 1
        found = Totals(SLICES * self._slice_ms / 1000, Sums(), {one: {} for one in _DIMENSIONS})
        for slice_ in self._slices:
            if slice_.number < oldest:
                continue
            found.all.merge(slice_.all)
            for dimension, names in slice_.by.items():
                for name, sums in names.items():
                    found.by[dimension].setdefault(name, Sums()).merge(sums)
        return found

    def _slice(self, stored_ms: int) -> _Slice:
        number = stored_ms // self._slice_ms
        if not self._slices or number > self._slices[-1].number:
            self._slices.append(_Slice(number))
        return self._slices[-1]


def _count_request(slice_: _Slice, row: RequestRecorded) -> None:
    first_us = row.times.first_frame_us if row.stream else None
    key = slice_.of("key", f"{row.tenant}/{row.key_id}")
    for sums in (slice_.all, slice_.of("model", row.model), key):
        sums.ended(row.outcome)
        sums.took(row.times.ended_us / 1000, None if first_us is None else first_us / 1000)


def _count_attempt(slice_: _Slice, row: AttemptRecorded, cost_nano: int) -> None:
    provider = slice_.of("provider", row.provider)
    provider.ended(row.outcome)
    first_us = row.times.first_token_us if row.stream else None
    provider.took(row.times.ended_us / 1000, None if first_us is None else first_us / 1000)
    model = slice_.of("model", row.asked_model or row.model)
    key = slice_.of("key", f"{row.tenant}/{row.key_id}")
    for sums in (slice_.all, provider, model, key):
        sums.used(row, cost_nano)
