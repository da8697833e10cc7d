"""The answer in one message: what it waits for, and what it doesn't."""

import asyncio
import time

import msgspec
import pytest

from droveway.gateway.doors.one_message import publish_once
from droveway.gateway.pending import ClientGone
from droveway.gateway.refusal import Refusal
from droveway.runtime import bus as bus_module
from droveway.runtime.bus import Bus
from droveway.runtime.deadline import Deadline
from droveway.runtime.errors import Overflow
from tests.support.nats import NatsServer, nats  # noqa: F401

FILLER = bytes(512 * 1024)
INSTANCE = "gateway-0123456789ab"


def fill(bus: Bus) -> None:
    """Sends to nobody until the bus takes no more."""
    try:
        for _ in range(100):
            bus.publish("_INBOX.t.nobody.filler", FILLER)
    except Overflow:
        return
    raise AssertionError("the bus takes everything")


async def test_it_waits_for_a_broker_that_reads_too_slowly(nats: NatsServer) -> None:  # noqa: F811
    settings = msgspec.structs.replace(nats.settings("gateway"), max_unsent_bytes=1024 * 1024)
    async with bus_module.connect(settings, "gateway", INSTANCE) as bus:
        heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        inbox = bus.open_inbox(heard.set_result, lambda: None)
        fill(bus)
        began_s = time.monotonic()
        await publish_once(bus, inbox.subject, b"paid", Deadline.after_ms(5_000))
        assert await asyncio.wait_for(heard, 5) == b"paid"
        assert time.monotonic() - began_s < 4


async def test_it_waits_no_longer_than_the_request_has_time(nats: NatsServer) -> None:  # noqa: F811
    settings = msgspec.structs.replace(nats.settings("gateway"), max_unsent_bytes=-1)
    async with bus_module.connect(settings, "gateway", INSTANCE) as bus:
        began_s = time.monotonic()
        with pytest.raises(ClientGone):
            await publish_once(bus, "_INBOX.t.nobody.a", b"paid", Deadline.after_ms(200))
        assert 0.15 < time.monotonic() - began_s < 2


async def test_what_the_broker_never_takes_is_refused_at_once(nats: NatsServer) -> None:  # noqa: F811
    async with nats.bus("gateway") as bus:
        payload = bytes(bus.max_payload_bytes + 1)
        with pytest.raises(Refusal, match="answer_too_large"):
            await publish_once(bus, "_INBOX.t.nobody.a", payload, Deadline.after_ms(60_000))
