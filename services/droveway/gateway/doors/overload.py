"""What a door on the bus says to whoever is over a bound, at the price of one message.

No task, no span and no line for each: a flood must cost the gateway little.
"""

import logging

from droveway.contracts import client
from droveway.gateway.doors.client_frames import FrameCoder, failed
from droveway.gateway.refusal import refuse
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)


class Overload:
    """Says `overloaded` to whoever is over one bound, in an answer that was written before."""

    def __init__(self, bus: Bus, event: str, text: str = "", **fields: int) -> None:
        self._bus = bus
        self._line = RareLog(log, event, **fields)
        frame = failed(refuse("overloaded", text).failure, (), {})
        self._answers = {
            packed: FrameCoder("", packed=packed).encode(frame) for packed in (False, True)
        }

    def note(self, key_id: str) -> None:
        """Logs, now and then, that the bound was passed."""
        self._line.warn(key=key_id[:64])

    def tell(self, payload: bytes, reply: str) -> bool:
        """Answers the request `payload`; False: the bus doesn't take it, its own clock ends it."""
        try:
            self._bus.publish(reply, self._answers[client.is_msgpack(payload)])
        except BusError:
            return False
        return True
