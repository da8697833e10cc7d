"""A gateway on the bus that takes requests and answers what a test says; and frames to say."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from droveway.contracts import client as wire
from droveway.runtime.bus import Bus
from tests.support.nats import NatsServer

KEY = "silent-key"
"""Whose answers it gives."""
RELAY = "0123456789abcdef" * 2


class FakeGateway:
    """Takes requests and control messages, and answers what a test says."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.replies: list[str] = []
        self.controls: list[wire.Control] = []
        self.answer: Callable[[FakeGateway, str], None] = lambda _gateway, _reply: None
        self.on_control: Callable[[wire.Control, str], None] = lambda _message, _reply: None

    async def listen(self, *, steerable: bool = True) -> None:
        """As a gateway does."""
        await self.bus.subscribe_raw(wire.ANY_REQUEST, self._on_request, wire.GATEWAYS)
        if steerable:
            await self.bus.subscribe_raw(wire.controls_of(self.bus.instance), self._on_control)

    def send(self, reply: str, *frames: wire.Frame) -> None:
        for frame in frames:
            self.bus.publish(reply, msgspec.msgpack.encode(frame))

    def open(self, reply: str) -> None:
        control = wire.control_subject(KEY, self.bus.instance)
        self.send(
            reply,
            wire.Opened(request_id="req_1", relay_id=RELAY, control=control, heartbeat_ms=500),
        )

    def got(self, kind: type[wire.Control]) -> list[wire.Control]:
        return [message for message in self.controls if isinstance(message, kind)]

    def _on_request(self, _payload: bytes, reply: str, _subject: str, _head: bytes | None) -> None:
        self.replies.append(reply)
        self.answer(self, reply)

    def _on_control(self, payload: bytes, reply: str, _subject: str, _head: bytes | None) -> None:
        message: wire.Control = wire.control_decoder.decode(payload)
        self.controls.append(message)
        self.on_control(message, reply)


@asynccontextmanager
async def gateway(nats: NatsServer) -> AsyncIterator[FakeGateway]:
    async with nats.bus("gateway") as bus:
        yield FakeGateway(bus)


def event(text: str) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]}).encode()


def chunk(seq: int, text: str) -> wire.Chunk:
    return wire.Chunk(seq=seq, events=(event(text),))


def begin(it: FakeGateway, reply: str) -> None:
    """A stream that has said its first word."""
    it.open(reply)
    it.send(reply, chunk(0, "a"))
