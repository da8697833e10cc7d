"""All that wait for one place: how much, whose it is, and how fast it moves.

A request that waits for several places stands in the line of each.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from droveway.router.places import PlaceKey
from droveway.router.queue import Entry
from droveway.router.throughput import Throughput


class Line:
    """What is known of one place while anybody waits for it."""

    __slots__ = ("_alarm", "_tokens", "served", "trying", "waiting")

    def __init__(self, now_s: float) -> None:
        self.served = Throughput(now_s)
        self.trying = 0
        """Those that have been called, and don't know yet whether there is room."""
        self.waiting = 0
        self._tokens: Counter[tuple[int, str]] = Counter()
        """By class and tenant."""
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def over(self) -> bool:
        """Whether nobody waits any more."""
        return not self.waiting and not self.trying

    def enter(self, entry: Entry) -> None:
        """One more waits."""
        self.waiting += 1
        self._tokens[entry.priority, entry.tenant] += entry.tokens

    def leave(self, entry: Entry) -> None:
        """One less waits."""
        self.waiting -= 1
        self._tokens[entry.priority, entry.tenant] -= entry.tokens
        if not self._tokens[entry.priority, entry.tenant]:
            del self._tokens[entry.priority, entry.tenant]

    def expected_s(self, now_s: float, priority: int, tenant: str, tokens: int) -> float | None:
        """How long one more would wait: for all that is more urgent, and for its turns."""
        urgent = sum(n for (rank, _), n in self._tokens.items() if rank < priority)
        same = {name: n for (rank, name), n in self._tokens.items() if rank == priority}
        same[tenant] = same.get(tenant, 0) + tokens
        ahead = urgent + min(same[tenant] * len(same), sum(same.values()))
        return self.served.wait_s(now_s, ahead)

    def alarm(self, in_s: float, ring: Callable[[], None]) -> None:
        """Calls `ring` then at the latest."""
        loop = asyncio.get_running_loop()
        if self._alarm is not None:
            if self._alarm.when() <= loop.time() + in_s:
                return
            self._alarm.cancel()
        self._alarm = loop.call_later(in_s, self._ring, ring)

    def silence(self) -> None:
        """The alarm isn't needed any more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _ring(self, ring: Callable[[], None]) -> None:
        self._alarm = None
        ring()


class Lines:
    """The lines of all places for which somebody waits."""

    def __init__(self) -> None:
        self._by_place: dict[PlaceKey, Line] = {}

    def __getitem__(self, key: PlaceKey) -> Line:
        return self._by_place[key]

    def __contains__(self, key: object) -> bool:
        return key in self._by_place

    def open(self, key: PlaceKey, now_s: float) -> Line:
        """The place's line, a new one if nobody waits there."""
        found = self._by_place.get(key)
        if found is None:
            found = self._by_place[key] = Line(now_s)
        return found

    def of_credential(self, provider: str, credential: str) -> set[PlaceKey]:
        """Places under a provider's credential for which somebody waits."""
        return {key for key in self._by_place if key[:2] == (provider, credential)}

    def close_if_over(self, key: PlaceKey) -> None:
        """Forgets a line in which nobody is left."""
        line = self._by_place.get(key)
        if line is not None and line.over:
            line.silence()
            del self._by_place[key]
