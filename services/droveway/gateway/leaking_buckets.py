"""How often each of many has done a thing lately: what is counted leaks away at a steady rate."""

from collections import OrderedDict
from collections.abc import Iterable

BURST_S = 5
"""So many seconds' worth may come at once."""
MAX_BUCKETS = 10_000
"""Beyond it the one that was counted longest ago is forgotten."""


class LeakingBuckets:
    """One bucket for each name.

    Args:
        per_s: So many leak away in a second.
        most: Buckets that are remembered.
    """

    def __init__(self, per_s: int, most: int = MAX_BUCKETS) -> None:
        self.per_s = per_s
        self.burst = per_s * BURST_S
        """The most at once."""
        self._most = most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def keep(self, names: Iterable[str]) -> None:
        """Forgets all others."""
        known = frozenset(names)
        self._levels = OrderedDict(
            (name, level) for name, level in self._levels.items() if name in known
        )

    def excess(self, name: str, now_s: float) -> float:
        """By how many one more would be too many; above 0 it is."""
        return self._level(name, now_s) + 1 - self.burst

    def count(self, name: str, now_s: float) -> None:
        """One more, at `now_s` of a clock that never steps back."""
        self._levels[name] = (self._level(name, now_s) + 1, now_s)
        self._levels.move_to_end(name)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)

    def _level(self, name: str, now_s: float) -> float:
        level, at_s = self._levels.get(name, (0.0, now_s))
        return max(0.0, level - (now_s - at_s) * self.per_s)
