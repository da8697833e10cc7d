"""Answers in frames to clients on the bus: heartbeats out, control messages in, who has left.

A client here is a tenant's process that nobody vouches for: it steers its own key's answers only,
each message costs bounded work, and one that goes away or stands still is cut.
"""

import asyncio
import logging
import time
from typing import NamedTuple

from droveway.contracts import client, relay
from droveway.contracts.envelope import MALFORMED
from droveway.gateway.doors.client_frames import FrameCoder
from droveway.gateway.doors.client_relay import ClientRelay
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError

log = logging.getLogger(__name__)

CLIENT_AWAY_S = 3.0
"""A client with credit whose connection broke may come back within this; so may any client when the
gateway's own connection was made anew."""
LINGER_S = 5.0
"""How long the last frames of an ended answer can be sent again."""
MAX_LINGERING_BYTES = 64 * 1024 * 1024
"""Frames of ended answers that are kept in all; beyond it the oldest answers are forgotten."""
RESEND_EVERY_S = 0.1
"""One client may have frames sent again this often; a heartbeat makes it ask once more."""
MAX_CONTROL_BYTES = 1024
"""A control message; a larger one isn't looked at."""


class ClientRelayStatistics(NamedTuple):
    """A snapshot for gauges."""

    open: int
    blocked: int
    lingering: int
    lingering_bytes: int
    left: int
    """Answers whose client went away or stood still."""
    invalid: int
    """Control messages that couldn't be read, or named no answer of their sender's key."""


class ClientRelays:
    """All of them in one gateway."""

    def __init__(
        self, bus: Bus, stall_s: float, max_lingering_bytes: int = MAX_LINGERING_BYTES
    ) -> None:
        self._bus = bus
        self._stall_s = stall_s
        self._max_lingering_bytes = max_lingering_bytes
        self._relays: dict[bytes, ClientRelay] = {}
        self._lingering: dict[bytes, ClientRelay] = {}
        self._lingering_bytes = 0
        self._reconnected_s = -CLIENT_AWAY_S
        self._left = 0
        self._invalid = 0

    async def listen(self) -> None:
        """Subscribes to what clients say to this gateway."""
        await self._bus.subscribe_raw(client.controls_of(self._bus.instance), self._on_control)
        self._bus.on_reconnected(self._on_reconnected)

    def open(self, key_id: str, reply: str, coder: FrameCoder, *, credit: bool) -> ClientRelay:
        """A relay to the inbox `reply` of a client with that key."""
        opened = ClientRelay(self._bus, key_id, reply, coder, self._on_nobody, credit=credit)
        self._relays[opened.relay_id] = opened
        return opened

    def opened_frame(self, opened: ClientRelay, request_id: str) -> client.Opened:
        """What tells the client how to steer it."""
        return client.Opened(
            request_id=request_id,
            relay_id=opened.relay_id.hex(),
            control=client.control_subject(opened.key_id, self._bus.instance),
            heartbeat_ms=relay.HEARTBEAT_MS,
        )

    def close(self, ended: ClientRelay) -> None:
        """The answer has its terminal, or needs none; its last frames can still be asked for."""
        self._relays.pop(ended.relay_id, None)
        ended.close()
        size_bytes = ended.sender.kept_bytes
        if not size_bytes:
            return
        ended.lingering_bytes = size_bytes  # what is taken meanwhile doesn't change the sum
        ended.forget_at_s = time.monotonic() + LINGER_S
        self._lingering[ended.relay_id] = ended
        self._lingering_bytes += size_bytes
        while self._lingering and self._lingering_bytes > self._max_lingering_bytes:
            self._forget(next(iter(self._lingering)))

    async def run(self) -> None:
        """Heartbeats, clients that stand still, frames kept for long enough; until cancelled."""
        while True:
            await asyncio.sleep(relay.HEARTBEAT_MS / 1000)
            now_s = time.monotonic()
            for one in list(self._relays.values()):
                self._beat(one, now_s)
            for relay_id, one in list(self._lingering.items()):
                if now_s < one.forget_at_s:
                    break  # they are in the order of their ends
                self._forget(relay_id)

    def statistics(self) -> ClientRelayStatistics:
        """A snapshot for gauges."""
        return ClientRelayStatistics(
            open=len(self._relays),
            blocked=sum(one.sender.blocked for one in self._relays.values()),
            lingering=len(self._lingering),
            lingering_bytes=self._lingering_bytes,
            left=self._left,
            invalid=self._invalid,
        )

    def _beat(self, one: ClientRelay, now_s: float) -> None:
        if not one.sender.blocked:
            one.progress_s = now_s
        elif now_s - one.progress_s > self._stall_s:
            self._leave(one, "it takes no frames")
            return
        if now_s - one.away_seen_s > 2 * relay.HEARTBEAT_MS / 1000:
            one.away_since_s = 0.0  # it has come back
        beat = client.Heartbeat(next_seq=one.sender.next_seq, blocked=one.sender.blocked)
        try:
            one.publish(one.coder.encode(beat))
        except BusError:
            log_event(log, "heartbeat_unsent", level=logging.DEBUG)

    def _on_nobody(self, one: ClientRelay) -> None:
        """Nobody listens on the client's inbox: it has unsubscribed, or its connection is gone."""
        now_s = one.away_seen_s = time.monotonic()
        one.away_since_s = one.away_since_s or now_s
        waits = one.credit or now_s - self._reconnected_s < CLIENT_AWAY_S
        if not waits or now_s - one.away_since_s > CLIENT_AWAY_S:
            self._leave(one, "nobody listens on its inbox")

    def _leave(self, one: ClientRelay, reason: str) -> None:
        if self._relays.get(one.relay_id) is not one or one.sender.cancelled.is_set():
            return
        self._left += 1
        log_event(log, "client_left", level=logging.DEBUG, key=one.key_id, reason=reason)
        one.sender.cancel(reason)
        one.on_left()

    def _on_control(self, payload: bytes, reply: str, subject: str, _headers: bytes | None) -> None:
        key_id = subject.split(".")[4]
        message = _read(payload)
        if isinstance(message, client.Probe):
            self._answer_probe(key_id, reply)
            return
        one = self._find(key_id, message.relay_id) if message is not None else None
        if one is None:
            self._invalid += 1
            return
        match message:
            case client.Credit():
                one.on_credit(message.next_seq, message.limit_bytes)
            case client.Resend():
                self._resend(one, message.from_seq)
            case client.Taken() if one.relay_id in self._lingering:
                self._forget(one.relay_id)
            case client.Cancel():
                self._leave(one, "it has cancelled")

    def _find(self, key_id: str, name: str) -> ClientRelay | None:
        relay_id = bytes.fromhex(name)
        one = self._relays.get(relay_id) or self._lingering.get(relay_id)
        return one if one is not None and one.key_id == key_id else None

    def _resend(self, one: ClientRelay, from_seq: int) -> None:
        now_s = time.monotonic()
        if now_s - one.resent_s >= RESEND_EVERY_S:
            one.resent_s = now_s
            one.sender.on_resend(from_seq)

    def _answer_probe(self, key_id: str, reply: str) -> None:
        if not client.is_inbox_of(reply, key_id):
            self._invalid += 1
            return
        try:
            self._bus.publish(reply, b"")
        except BusError:
            log_event(log, "probe_unanswered", level=logging.DEBUG)

    def _on_reconnected(self) -> None:
        self._reconnected_s = time.monotonic()

    def _forget(self, relay_id: bytes) -> None:
        ended = self._lingering.pop(relay_id)
        self._lingering_bytes -= ended.lingering_bytes


def _read(payload: bytes) -> client.Control | None:
    if len(payload) > MAX_CONTROL_BYTES:
        return None
    packed = client.is_msgpack(payload)
    decoder = client.control_decoder if packed else client.json_control_decoder
    try:
        message: client.Control = decoder.decode(payload)
    except MALFORMED:
        return None
    return message
