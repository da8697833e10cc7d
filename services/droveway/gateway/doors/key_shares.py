"""How many of a gateway's requests one key may have open over the bus, so that others find room.

What is refused here costs one message: no task, no span, no line for each.
"""

import logging
from collections import Counter
from typing import NamedTuple

from droveway.contracts import client
from droveway.gateway.doors.client_frames import FrameCoder, failed
from droveway.gateway.refusal import refuse
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)


class Overload:
    """Says `overloaded` to whoever is over one bound, in an answer that was written before."""

    def __init__(self, bus: Bus, event: str, text: str = "") -> None:
        self.refused = 0
        self._bus = bus
        self._line = RareLog(log, event)
        frame = failed(refuse("overloaded", text).failure, (), {})
        self._answers = {
            packed: FrameCoder("", packed=packed).encode(frame) for packed in (False, True)
        }

    def tell(self, key_id: str, payload: bytes, reply: str) -> None:
        """Answers the request `payload`, if the bus takes it, and counts it."""
        self.refused += 1
        self._line.warn(key=key_id[:64])
        try:
            self._bus.publish(reply, self._answers[client.is_msgpack(payload)])
        except BusError:
            return  # the client's own clock ends it


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
        text = f"This key has {max_open} requests open over the bus at one gateway already."
        self._overload = Overload(bus, "key_share_full", text)

    def takes(self, key_id: str, payload: bytes, reply: str) -> bool:
        """Counts one more as open; False: it has been answered, and nothing is left to do."""
        if self._open.get(key_id, 0) >= self._max_open:
            self._overload.tell(key_id, payload, reply)
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
        return KeyShareStatistics(largest, self._max_open, self._overload.refused)
