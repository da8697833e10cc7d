"""How many of a gateway's requests one key may have open over the bus, so that others find room."""

from collections import Counter
from typing import NamedTuple

from droveway.gateway.doors.overload import Overload
from droveway.runtime.bus import Bus


class KeyShareStatistics(NamedTuple):
    """A snapshot for gauges."""

    largest: int
    """Open requests over the bus of the key that has most."""
    limit: int
    refused: int
    """Requests beyond a key's share."""


class KeyShares:
    """Counts each key's open requests; none has more than `max_open`."""

    def __init__(self, bus: Bus, max_open: int) -> None:
        self._max_open = max_open
        self._open: Counter[str] = Counter()
        self._refused = 0
        text = f"This key has {max_open} requests open over the bus at one gateway already."
        self._overload = Overload(bus, "key_share_full", text)

    def takes(self, key_id: str, payload: bytes, reply: str) -> bool:
        """Counts one more as open; False: it has been answered, and nothing is left to do."""
        if self._open.get(key_id, 0) >= self._max_open:
            self._refused += 1
            self._overload.note(key_id)
            self._overload.tell(payload, reply)
            return False
        self._open[key_id] += 1
        return True

    def leave(self, key_id: str) -> None:
        """One of those has ended."""
        self._open[key_id] -= 1
        if not self._open[key_id]:
            del self._open[key_id]  # so it holds no more keys than requests are open

    def statistics(self) -> KeyShareStatistics:
        """A snapshot for gauges."""
        largest = max(self._open.values(), default=0)
        return KeyShareStatistics(largest, self._max_open, self._refused)
