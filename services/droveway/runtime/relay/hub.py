"""All relays of one process: control messages in and out, one heartbeat per peer."""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from droveway.contracts import relay
from droveway.contracts.envelope import MALFORMED, SubjectError, encode, is_inbox_of, service_of
from droveway.otel.logs import log_event
from droveway.runtime.errors import BusError
from droveway.runtime.relay.beats import Beats
from droveway.runtime.relay.bodies import Bodies
from droveway.runtime.relay.peers import Peers
from droveway.runtime.relay.receiver import Receiver
from droveway.runtime.relay.relays import Relays
from droveway.runtime.relay.sender import Sender
from droveway.runtime.relay.wire import Wire

log = logging.getLogger(__name__)

CONFIRM_S = 0.02
"""How long the confirmation of a terminal may wait for others to the same peer."""

Later = Callable[[float, Callable[[], None]], object]
"""Calls a function after a number of seconds."""


class HubStatistics(NamedTuple):
    """A snapshot for gauges."""

    sending: int
    receiving: int
    blocked: int
    kept_bytes: int
    held_bytes: int
    dropped_frames: int
    overruns: int
    peers: int
    peers_dead: int
    malformed: int


def _on_loop(delay_s: float, call: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(delay_s, call)


class RelayHub:
    """Owns this process's senders, receivers, offered bodies and peers."""

    def __init__(
        self,
        bus: Wire,
        on_cancel: Callable[[bytes, str, int], None] | None = None,
        on_inquiry: Callable[[bytes, str], None] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        later: Later = _on_loop,
    ) -> None:
        self._bus = bus
        self._on_cancel = on_cancel
        self._on_inquiry = on_inquiry
        self._clock = clock
        self._later = later
        self._relays = Relays(self._from_receiver)
        self._peers = Peers(bus, clock, later, self._relays.end_with)
        self._beats = Beats(bus.instance, self._relays, self._peers, self._send, clock)
        self._bodies = Bodies(bus, self.open_sender, self.close_sender, self._relays.senders.get)
        self.on_room: Callable[[str, int], None] = lambda _provider, _free: None
        """What to do when a caller has room for calls of a provider again."""
        self._taken: dict[str, list[bytes]] = defaultdict(list)
        """Terminals to be confirmed, by peer."""
        self._malformed = 0

    async def listen(self) -> None:
        """Subscribes to this process's control subject."""
        await self._bus.subscribe(relay.control_subject(self._bus.instance), self._on_control)

    def link(
        self, peer: str, on_dead: Callable[[], None] | None = None, *, probe: bool = False
    ) -> Callable[[], None]:
        """Beats to `peer` until the result is called; with `on_dead` also watches it.

        With `probe` a beat goes out at once that asks for an answer: where nobody listens the peer
        is dead now. `on_dead` is called at most once, and never after the link was ended.
        """
        unlink = self._peers.link(peer, on_dead)
        if probe:
            self._send(peer, self._beats.beat_for(peer), self._peers.open_probe(peer))
        return unlink

    def heard(self, peer: str) -> None:
        """A linked peer has shown by another message that it lives."""
        self._peers.heard(peer)

    def heard_at_s(self, peer: str) -> float:
        """When a linked peer was last heard, by the monotonic clock; 0 when it isn't watched."""
        return self._peers.heard_s(peer) or 0.0

    def open_sender(
        self,
        relay_id: bytes,
        peer: str,
        answer_to: str,
        on_cancel: Callable[[str], None] | None = None,
        *,
        flow_control: bool = True,
    ) -> Sender:
        """A sender of frames to the inbox `answer_to` of `peer`.

        Without `flow_control` its receiver is no process of ours: it gives no credit, gets no
        heartbeats and isn't watched.
        """

        def publish(payload: bytes) -> None:
            self._bus.publish(answer_to, payload)

        sender = Sender(
            relay_id, peer, publish, relay.WINDOW_BYTES, on_cancel, flow_control=flow_control
        )
        self._relays.open_sender(sender)
        if flow_control:
            self._peers.watch(peer)
        return sender

    def open_receiver(self, relay_id: bytes, peer: str = "") -> Receiver:
        """A receiver of `relay_id`; its `peer` may become known with the first frame."""
        return self._relays.open_receiver(relay_id, peer)

    def close_sender(self, sender: Sender) -> None:
        """Forgets a sender, but keeps its last frames for a resend while they aren't confirmed."""
        self._relays.close_sender(sender, self._clock())

    def close_receiver(self, receiver: Receiver) -> None:
        """Forgets a receiver; frames that still come are dropped."""
        self._relays.close_receiver(receiver)

    def offer(self, body: bytes) -> bytes:
        """Keeps a large body for whichever caller pulls it, until `withdraw`; returns its id."""
        return self._bodies.offer(body)

    def withdraw(self, body_id: bytes) -> None:
        """The body isn't wanted any more; pulls under way are cut."""
        self._bodies.withdraw(body_id)

    def send_control(self, instance: str, message: relay.Control) -> None:
        """One control message to a peer; when lost, the next heartbeats make up for it."""
        self._send(instance, message)

    async def run(self) -> None:
        """Heartbeats, dead peers, lingering terminals and pulls, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.serve_bodies())
            while True:
                await asyncio.sleep(relay.HEARTBEAT_MS / 1000)
                self.tick(self._clock())

    async def serve_bodies(self) -> None:
        """Sends bodies to those who pull them, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            await self._bodies.serve(tasks)

    def tick(self, now_s: float) -> None:
        """What is due each `HEARTBEAT_MS`."""
        self._peers.tick(now_s)
        for peer, beat in self._beats.due().items():
            self._send(peer, beat, self._peers.probe_subject(peer, now_s))
        self._relays.forget_lingering(now_s)
        self._peers.bury_silent(now_s)

    def statistics(self) -> HubStatistics:
        """A snapshot for gauges."""
        return HubStatistics(
            **self._relays.totals()._asdict(),
            peers=len(self._peers),
            peers_dead=self._peers.died,
            malformed=self._malformed + self._bodies.malformed,
        )

    def _on_control(self, payload: bytes, reply: str) -> None:
        try:
            message = relay.control_decoder.decode(payload)
        except MALFORMED:
            self._malformed += 1
            return
        match message:
            case relay.Heartbeat():
                self._beats.on_heartbeat(message)
                if reply:
                    self._answer_probe(message.peer, reply)
            case relay.Inquiry():
                if self._on_inquiry is not None:
                    self._on_inquiry(message.about, message.answer_to)
            case relay.Pull():
                self._bodies.on_pull(message)
            case relay.Room():
                self.on_room(message.provider, message.free)
            case relay.Taken():
                for relay_id in message.relay_ids:
                    self._on_taken(relay_id)
            case _:
                self._on_word(message)

    def _on_word(self, message: relay.Credit | relay.Resend | relay.Cancel) -> None:
        """What the other end of a relay says; there may be none here."""
        sender = self._relays.senders.get(message.relay_id)
        match message:
            case relay.Credit() if sender is not None:
                sender.on_credit(message.next_seq, message.limit_bytes)
            case relay.Resend() if sender is not None:
                sender.on_resend(message.from_seq)
            case relay.Cancel():
                if sender is not None and not message.attempt:
                    sender.cancel(message.reason)
                elif not message.attempt:
                    self._beats.on_unsent(message.relay_id)
                if self._on_cancel is not None:
                    self._on_cancel(message.relay_id, message.reason, message.attempt)

    def _on_taken(self, relay_id: bytes) -> None:
        if sender := self._relays.senders.get(relay_id):
            sender.on_taken()
            if self._relays.is_lingering(relay_id):
                self._relays.forget_sender(relay_id)

    def _from_receiver(self, peer: str, message: relay.Control) -> None:
        """Sends on; confirmations of terminals, which nobody waits for, go out together."""
        if not isinstance(message, relay.Taken):
            self._send(peer, message)
            return
        if not self._taken:
            self._later(CONFIRM_S, self._confirm)
        self._taken[peer].extend(message.relay_ids)

    def _confirm(self) -> None:
        taken, self._taken = self._taken, defaultdict(list)
        for peer, relay_ids in taken.items():
            self._send(peer, relay.Taken(tuple(relay_ids)))

    def _send(self, peer: str, message: relay.Control, reply: str = "") -> None:
        """Sends; with a `reply` subject it is a probe, and the broker tells when nobody listens."""
        try:
            self._bus.publish(relay.control_subject(peer), encode(message), reply)
        except BusError:
            log_event(log, "control_unsent", level=logging.DEBUG, peer=peer)
        except SubjectError:  # the name came from a peer
            self._malformed += 1

    def _answer_probe(self, peer: str, reply: str) -> None:
        """Tells a peer that we live: of relays shorter than a heartbeat none is ever listed."""
        if is_inbox_of(reply, frozenset({service_of(peer)})):
            with contextlib.suppress(BusError):  # it asks again
                self._bus.publish(reply, b"")
