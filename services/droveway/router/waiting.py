"""Where requests wait for room: at providers, and in their clients' own limits if those may wait.

A request is called when there may be room at one of its places, and one after the other: the next
one is called when the one before has found some. Who hasn't found any goes back to where it stood.
Room is heard of (a caller's word, a settled attempt, the end of a cooldown), never polled by all
that wait: at most the first of a line looks for itself, by the time that it was told.
"""

import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import CLASSES
from droveway.router.lines import Lines
from droveway.router.places import PlaceKey, Places, places_of
from droveway.router.queue import Bounds, Entry, FairQueue
from droveway.router.routes import Candidate

_SOONEST_S = 0.02
"""Between two looks of the first in a line."""
LOOK_S = 0.05
"""Until the first in a line looks, where nobody could say when there will be room."""
_MOST_CALLED = 32
"""At once, however much room there is."""


Tell = Callable[[Failure | None], None]
"""Calls a request, since there may be room; or tells it why it can't wait any longer."""


class QueueStatistics(NamedTuple):
    """A snapshot for gauges."""

    waiting: int
    limit: int
    tokens: int
    tokens_limit: int
    called: int
    """Requests that were called since there might be room; again, if there was none."""
    passed: int
    """Requests that found room after they had waited."""
    refused_full: int
    """Requests refused since the queue was full."""
    refused_late: int
    """Requests refused since their turn wouldn't have come in time."""
    expired: int
    """Requests whose time was over while they waited."""


class WaitingRoom:
    """All requests of one router that wait."""

    def __init__(self, bounds: Bounds) -> None:
        self.queue = FairQueue(bounds, len(CLASSES))
        self.lines = Lines()
        self.on_credential_full: Callable[[], None] = lambda: None
        """What to do when a request begins to wait for room in a credential's limits."""
        self._bounds = bounds
        self._waiting: dict[Entry, Tell] = {}
        self.counts = {"called": 0, "passed": 0, "refused_full": 0, "refused_late": 0, "expired": 0}

    def room(self, provider: str, free: int) -> None:
        """A caller that was full has room for so many calls again."""
        self._call({PlaceKey(provider)}, min(free, _MOST_CALLED))

    def settled(self, provider: str, credential: str) -> None:
        """An attempt has ended that counted in a credential's limits."""
        self._call(self.lines.of_credential(provider, credential), 1)

    def taken(self, candidates: Iterable[Candidate]) -> Places:
        """Where others wait for room that each of the candidates needs; empty: one is free of it.

        Who comes now goes behind them.
        """
        found: set[PlaceKey] = set()
        for candidate in candidates:
            lacking = [key for key in places_of(candidate) if key in self.lines]
            if not lacking:
                return frozenset()
            found.update(lacking)
        return frozenset(found)

    def statistics(self) -> QueueStatistics:
        """A snapshot for gauges."""
        return QueueStatistics(
            waiting=len(self.queue),
            limit=self._bounds.requests,
            tokens=self.queue.tokens,
            tokens_limit=self._bounds.tokens,
            **self.counts,
        )

    def expected_s(self, entry: Entry) -> float | None:
        """How long it would wait at the place where it goes fastest; None: not known."""
        now_s = time.monotonic()
        waits = [
            line.expected_s(now_s, entry.priority, entry.tenant, entry.tokens)
            for line in (self.lines[key] for key in entry.places if key in self.lines)
        ]
        known = [wait for wait in waits if wait is not None]
        return min(known) if waits and len(known) == len(waits) == len(entry.places) else None

    def enter(self, entry: Entry, tell: Tell, again_s: float | None) -> None:
        """It waits now; those who must go for it are told.

        With `again_s` None it stands behind others, who look for room.
        """
        for victim in self.queue.push(entry):
            self.counts["refused_full"] += 1
            if victim is entry:
                tell(full())
                return
            self._leave_lines(victim)
            self._waiting.pop(victim)(full())
        self._enter_lines(entry, tell, again_s)

    def go_back(self, entry: Entry, tell: Tell, tried: Places, again_s: float) -> None:
        """It was called in vain, and knows when to look again."""
        self.queue.put_back(entry)
        self._enter_lines(entry, tell, again_s)
        self._end_try(tried, keep=entry.places)

    def passed(self, entry: Entry) -> None:
        """It has found room: so may the next."""
        now_s = time.monotonic()
        for key in entry.places:
            if key in self.lines:
                self.lines[key].served.note(now_s, entry.tokens)
        self.counts["passed"] += 1
        self.queue.settled(entry)
        self._end_try(entry.places)

    def gave_up(self, entry: Entry) -> None:
        """It was called, and doesn't need the room: the next one may."""
        self.queue.settled(entry)
        self._end_try(entry.places)

    def leave(self, entry: Entry) -> None:
        """It doesn't wait any more."""
        if self.queue.discard(entry):
            del self._waiting[entry]
            self._leave_lines(entry)

    def _enter_lines(self, entry: Entry, tell: Tell, again_s: float | None) -> None:
        now_s = time.monotonic()
        self._waiting[entry] = tell
        for key in entry.places:
            line = self.lines.open(key, now_s)
            first = line.over
            line.enter(entry)
            if again_s is not None or first:
                self._watch(key, LOOK_S if again_s is None else again_s)

    def _leave_lines(self, entry: Entry) -> None:
        for key in entry.places:
            self.lines[key].leave(entry)
            self.lines.close_if_over(key)

    def _end_try(self, tried: Places, keep: Places = frozenset()) -> None:
        for key in tried:
            self.lines[key].trying -= 1
        for key in tried - keep:
            if self.lines[key].waiting and not self.lines[key].trying:
                self._call({key}, 1)
        for key in tried:
            self.lines.close_if_over(key)

    def _call(self, keys: set[PlaceKey], count: int) -> None:
        """The next ones for these places look whether there is room."""
        for _ in range(count if keys else 0):
            entry = self.queue.take(lambda places: not keys.isdisjoint(places))
            if entry is None:
                return
            self.counts["called"] += 1
            for key in entry.places:
                line = self.lines[key]
                line.leave(entry)
                line.trying += 1
            self._waiting.pop(entry)(None)

    def _watch(self, key: PlaceKey, in_s: float) -> None:
        def ring() -> None:
            if not self.lines[key].trying:  # else whoever tries knows more in a moment
                self._call({key}, 1)

        self.lines[key].alarm(max(_SOONEST_S, in_s), ring)


def full(expected_s: float = 1.0) -> Failure:
    """What one is told whom the queue doesn't take."""
    text = "Too many requests wait for the providers of this model"
    return failure("overloaded", text, retry_after_ms=max(1, math.ceil(expected_s * 1000)))
