"""From bytes in the read loop to a service's callback: whatever it raises, the loop goes on.

A callback runs synchronously, so a `CancelledError` out of it was never meant for the read loop:
it came from a future that somebody had cancelled.
"""

import asyncio
import logging
from collections.abc import Callable

from droveway.runtime.bus.client import DirectClient, Receive
from droveway.runtime.bus.jetstream import status_of

log = logging.getLogger(__name__)

OnMessage = Callable[[bytes, str], None]
"""(payload, reply subject)."""
OnRaw = Callable[[bytes, str, str, bytes | None], None]
"""(payload, reply subject, subject, raw headers)."""
OnDelivery = Callable[[bytes, str, int], None]
"""(payload, acknowledgement subject, status: 0, or JetStream's 404, 408, 409)."""


def message_receiver(client: DirectClient, subject: str, on_message: OnMessage) -> Receive:
    """For messages under one subject; under a pattern, a subject that is no text is dropped."""

    def receive(_subject: bytes, reply: bytes, data: bytes, _headers: bytes | None) -> None:
        try:
            on_message(data, reply.decode("ascii", "replace"))
        except (Exception, asyncio.CancelledError):
            log.exception("handler_failed on %s", subject)

    if "*" not in subject and ">" not in subject:
        return receive

    def on_raw(payload: bytes, reply: str, _subject: str, _headers: bytes | None) -> None:
        on_message(payload, reply)

    return raw_receiver(client, subject, on_raw)


def raw_receiver(client: DirectClient, subject: str, on_raw: OnRaw) -> Receive:
    """For callbacks that want subject and headers; a subject that is no text is dropped."""

    def receive(came_under: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        try:
            name = came_under.decode()
        except UnicodeDecodeError:
            client.malformed += 1
            return
        try:
            on_raw(data, reply.decode("ascii", "replace"), name, headers)
        except (Exception, asyncio.CancelledError):
            log.exception("handler_failed on %s", subject)

    return receive


def delivery_receiver(on_delivery: OnDelivery) -> Receive:
    """For deliveries of a pull consumer and the statuses between them."""

    def receive(_subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        try:
            on_delivery(data, reply.decode("ascii", "replace"), status_of(headers))
        except (Exception, asyncio.CancelledError):
            log.exception("delivery_handler_failed")

    return receive
