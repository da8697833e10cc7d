"""Fetching a request body that is too large for one message from the door that holds it."""

import asyncio
import logging
import secrets

from droveway.contracts import relay
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.inference import Body
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.errors import RelayCut
from droveway.runtime.relay import Receiver, RelayHub

log = logging.getLogger(__name__)

_REPEAT_S = 1.0


async def fetch_body(bus: Bus, hub: RelayHub, body: Body, within_s: float) -> bytes:
    """The body's bytes: inline, or pulled from its door.

    Raises:
        RelayCut: The door is gone, sent something else, or was too slow.
    """
    if not body.pull_from:
        return body.inline
    pull_id = secrets.token_bytes(16)
    receiver = hub.open_receiver(pull_id, body.pull_from)

    def on_payload(payload: bytes) -> None:
        try:
            frame = relay.frame_decoder.decode(payload)
        except MALFORMED:
            log_event(log, "bad_frame", level=logging.WARNING)
            return
        receiver.on_frame(frame, len(payload))

    inbox = bus.open_inbox(on_payload, lambda: receiver.cut("the door isn't there any more"))
    pull = relay.Pull(body.relay_id, inbox.subject, bus.instance, pull_id)
    pieces: list[bytes] = []
    size_bytes = 0
    try:
        async with asyncio.timeout(within_s):
            hub.send_control(body.pull_from, pull)
            while True:
                frame = await _next(receiver, hub, body.pull_from, pull)
                if isinstance(frame, relay.Interrupted):
                    raise RelayCut(frame.failure.message)
                if isinstance(frame, relay.Completed):
                    break
                size_bytes += sum(map(len, frame.events))
                if size_bytes > body.size_bytes:
                    raise RelayCut("the body is larger than announced")
                pieces.extend(frame.events)
    except TimeoutError:
        raise RelayCut(f"the body did not come within {within_s:g} s") from None
    finally:
        inbox.close()
        if receiver.was_cut or not receiver.ended:
            hub.send_control(body.pull_from, relay.Cancel(pull_id, "not wanted any more"))
        hub.close_receiver(receiver)
    if size_bytes != body.size_bytes:
        raise RelayCut("the body is smaller than announced")
    return b"".join(pieces)


async def _next(receiver: Receiver, hub: RelayHub, door: str, pull: relay.Pull) -> relay.Frame:
    """The next frame; the first is asked for again each second, since a pull can be lost."""
    while receiver.next_seq == 0:
        try:
            async with asyncio.timeout(_REPEAT_S):
                return await receiver.take()
        except TimeoutError:
            hub.send_control(door, pull)
    return await receiver.take()
