"""How fast one key may ask over the bus: its flood costs the gateway little, and others go on.

Over HTTP a connection has one request at a time and an address so many connections; on the bus one
write holds a hundred thousand requests.
"""

import time
from collections import Counter
from typing import NamedTuple

from droveway.gateway.doors.overload import Overload
from droveway.runtime.bus import Bus

WINDOW_S = 1.0
"""Requests are counted anew this often."""


class KeyRateStatistics(NamedTuple):
    """A snapshot for gauges."""

    refused: int
    """Requests beyond the rate that were told so, at the price of one message."""
    dropped: int
    """Requests beyond twice the rate: not answered."""


class KeyRates:
    """Counts each key's requests of this second; those beyond the bound end here."""

    def __init__(self, bus: Bus, max_per_s: int) -> None:
        self._max_per_s = max_per_s
        self._counts: Counter[str] = Counter()
        self._ends_s = 0.0
        self._refused = 0
        self._dropped = 0
        text = f"More than {max_per_s} requests of this key in one second at one gateway."
        self._floods = Overload(bus, "key_floods", text, max_per_s=max_per_s)

    def takes(self, key_id: str, payload: bytes, reply: str) -> bool:
        """Counts one request of a key; False: it is beyond the bound, and nothing is left to do."""
        if (now_s := time.monotonic()) >= self._ends_s:
            self._ends_s = now_s + WINDOW_S
            self._counts.clear()  # so it never holds more keys than asked within one window
        self._counts[key_id] += 1
        count = self._counts[key_id]
        if count <= self._max_per_s:
            return True
        self._floods.note(key_id)
        if count <= 2 * self._max_per_s and self._floods.tell(payload, reply):
            self._refused += 1
        else:
            self._dropped += 1
        return False

    def statistics(self) -> KeyRateStatistics:
        """A snapshot for gauges."""
        return KeyRateStatistics(self._refused, self._dropped)
