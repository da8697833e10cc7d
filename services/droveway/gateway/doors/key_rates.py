"""How fast one key may ask over the bus: its flood costs the gateway little, and others go on.

Over HTTP a connection has one request at a time and an address so many connections; on the bus one
write holds a hundred thousand requests.
"""

import logging
import time
from collections import Counter
from typing import NamedTuple

from droveway.contracts import client
from droveway.gateway.doors.client_frames import FrameCoder, failed
from droveway.gateway.refusal import refuse
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError
from droveway.runtime.rare_log import RareLog

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
        self._bus = bus
        self._max_per_s = max_per_s
        self._counts: Counter[str] = Counter()
        self._ends_s = 0.0
        self._refused = 0
        self._dropped = 0
        self._floods = RareLog(logging.getLogger(__name__), "key_floods", max_per_s=max_per_s)
        text = f"More than {max_per_s} requests of this key in one second at one gateway."
        frame = failed(refuse("overloaded", text).failure, (), {})
        self._answers = {
            packed: FrameCoder("", packed=packed).encode(frame) for packed in (False, True)
        }

    def takes(self, key_id: str, payload: bytes, reply: str) -> bool:
        """Counts one request of a key; False: it is beyond the bound, and nothing is left to do."""
        if (now_s := time.monotonic()) >= self._ends_s:
            self._ends_s = now_s + WINDOW_S
            self._counts.clear()  # so it never holds more keys than asked within one window
        self._counts[key_id] += 1
        count = self._counts[key_id]
        if count <= self._max_per_s:
            return True
        self._floods.warn(key=key_id[:64])
        if count > 2 * self._max_per_s:
            self._dropped += 1
            return False
        try:
            self._bus.publish(reply, self._answers[client.is_msgpack(payload)])
            self._refused += 1
        except BusError:
            self._dropped += 1
        return False

    def statistics(self) -> KeyRateStatistics:
        """A snapshot for gauges."""
        return KeyRateStatistics(self._refused, self._dropped)
