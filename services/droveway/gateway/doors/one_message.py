"""An answer in one message, which nobody can ask for again: it waits for a bus that takes it."""

import asyncio
import logging

from droveway.gateway.pending import ClientGone
from droveway.gateway.refusal import refuse
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.deadline import Deadline
from droveway.runtime.errors import BusError, Overflow

log = logging.getLogger(__name__)

RECONNECT_WITHIN_S = 5.0
"""A connection that was lost is waited for so long; then it is too late."""
AGAIN_EVERY_S = 0.05
"""How often it is tried while the broker doesn't read what was sent before."""


async def publish_once(bus: Bus, reply: str, payload: bytes, deadline: Deadline) -> None:
    """What was paid for isn't lost to a broker that reads slowly or comes back.

    Raises:
        Refusal: 400 `answer_too_large`: the broker takes no message of this size.
        ClientGone: There was no way within the deadline, or the connection didn't come back.
    """
    if len(payload) > bus.max_payload_bytes:
        raise refuse("answer_too_large")
    back = asyncio.Event()
    forget = bus.on_reconnected(back.set)
    try:
        async with asyncio.timeout(deadline.remaining_s()):
            while not _published(bus, reply, payload, back):
                await _wait(back)
    except TimeoutError:
        raise ClientGone from None
    finally:
        forget()


def _published(bus: Bus, reply: str, payload: bytes, back: asyncio.Event) -> bool:
    try:
        bus.publish(reply, payload)
    except Overflow:
        back.set()  # there is a connection
        return False
    except BusError as error:
        back.clear()
        log_event(log, "answer_waits", level=logging.WARNING, reason=str(error))
        return False
    return True


async def _wait(back: asyncio.Event) -> None:
    if back.is_set():
        await asyncio.sleep(AGAIN_EVERY_S)
        return
    async with asyncio.timeout(RECONNECT_WITHIN_S):
        await back.wait()
