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
from droveway.runtime.bus import Bus, Inbox
from droveway.runtime.errors import BusError
from droveway.runtime.relay.bodies import Bodies
from droveway.runtime.relay.receiver import Receiver
from droveway.runtime.relay.sender import Sender

log = logging.getLogger(__name__)

CONFIRM_S = 0.02
"""How long the confirmation of a terminal may wait for others to the same peer."""
LINGER_S = 5.0
"""How long a finished relay's terminal can still be sent again."""
MAX_LINGERING = 4_096


class HubStatistics(NamedTuple):
    """A snapshot for gauges."""

    sending: int
    receiving: int
    blocked: int
    kept_bytes: int
    peers: int
    peers_dead: int
    malformed: int


class RelayHub:
    """Owns this process's senders, receivers, offered bodies and peers."""

    def __init__(
        self, bus: Bus, on_cancel: Callable[[bytes, str, int], None] | None = None
    ) -> None:
        self._bus = bus
        self._on_cancel = on_cancel
        self._senders: dict[bytes, Sender] = {}
        self._receivers: dict[bytes, Receiver] = {}
        self._bodies = Bodies(bus, self.open_sender, self.close_sender)
        self._lingering: dict[bytes, float] = {}
        self._heard_at: dict[str, float] = {}
        self._links: dict[str, dict[object, Callable[[], None] | None]] = defaultdict(dict)
        self._missed: dict[bytes, int] = defaultdict(int)
        self._taken: dict[str, list[bytes]] = defaultdict(list)
        self._owed: set[str] = set()
        """Peers that wait for relays which aren't here: a heartbeat tells them so."""
        self._reconnects = bus.statistics().reconnects
        self._malformed = 0
        self._peers_dead = 0

    async def listen(self) -> None:
        """Subscribes to this process's control subject."""
        await self._bus.subscribe(relay.control_subject(self._bus.instance), self._on_control)

    def link(self, peer: str, on_dead: Callable[[], None] | None = None) -> Callable[[], None]:
        """Beats to `peer` until the result is called; with `on_dead` also watches it."""
        key = object()
        self._links[peer][key] = on_dead
        if on_dead is not None:
            self._heard_at.setdefault(peer, time.monotonic())

        def unlink() -> None:
            links = self._links.get(peer)
            if links is not None:
                links.pop(key, None)
                if not links:
                    del self._links[peer]

        return unlink

    def open_sender(
        self,
        relay_id: bytes,
        peer: str,
        answer_to: str,
        on_cancel: Callable[[str], None] | None = None,
    ) -> Sender:
        """A sender of frames to the inbox `answer_to` of `peer`."""

        def publish(payload: bytes) -> None:
            self._bus.publish(answer_to, payload)

        sender = Sender(relay_id, peer, publish, relay.WINDOW_BYTES, on_cancel)
        self._forget_sender(relay_id)  # of an earlier attempt
        self._senders[relay_id] = sender
        self._heard_at.setdefault(peer, time.monotonic())
        return sender

    def open_receiver(self, relay_id: bytes, peer: str = "") -> Receiver:
        """A receiver of `relay_id`; its `peer` may become known with the first frame."""
        receiver = Receiver(relay_id, self._from_receiver, relay.WINDOW_BYTES)
        receiver.peer = peer
        self._receivers[relay_id] = receiver
        return receiver

    def close_sender(self, sender: Sender) -> None:
        """Forgets a sender, but keeps its last frames for a resend while they aren't confirmed."""
        if self._senders.get(sender.relay_id) is not sender:
            return  # a later attempt of the same request has its place
        over = sender.done.is_set() or not sender.terminated
        if over or len(self._lingering) >= MAX_LINGERING:
            self._forget_sender(sender.relay_id)
        else:
            self._lingering[sender.relay_id] = time.monotonic() + LINGER_S

    def close_receiver(self, receiver: Receiver) -> None:
        """Forgets a receiver; frames that still come are dropped."""
        self._receivers.pop(receiver.relay_id, None)
        self._missed.pop(receiver.relay_id, None)

    def offer(self, body: bytes) -> bytes:
        """Keeps a large body for whichever caller pulls it, until `withdraw`; returns its id."""
        return self._bodies.offer(body)

    def withdraw(self, relay_id: bytes) -> None:
        """The body isn't wanted any more; a pull under way is cut."""
        self._bodies.withdraw(relay_id)

    def send_control(self, instance: str, message: relay.Control) -> None:
        """One control message to a peer; when lost, the next heartbeats make up for it."""
        self._send(instance, message)

    async def run(self) -> None:
        """Heartbeats, dead peers, lingering terminals and pulls, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._bodies.serve(tasks))
            while True:
                await asyncio.sleep(relay.HEARTBEAT_MS / 1000)
                now_s = time.monotonic()
                self._forgive(now_s)
                self._beat(now_s)
                self._bury(now_s)

    def statistics(self) -> HubStatistics:
        """A snapshot for gauges."""
        senders = self._senders.values()
        return HubStatistics(
            sending=len(self._senders),
            receiving=len(self._receivers),
            blocked=sum(sender.blocked for sender in senders),
            kept_bytes=sum(sender.kept_bytes for sender in senders),
            peers=len(self._heard_at),
            peers_dead=self._peers_dead,
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
                self._on_heartbeat(message)
                if reply:
                    self._answer_probe(message.peer, reply)
            case relay.Pull():
                self._bodies.on_pull(message)
            case _:
                self._on_receivers_word(message)

    def _on_receivers_word(
        self, message: relay.Credit | relay.Taken | relay.Resend | relay.Cancel
    ) -> None:
        """What a receiver says to a sender of ours."""
        match message:
            case relay.Credit():
                if sender := self._senders.get(message.relay_id):
                    sender.on_credit(message.next_seq, message.limit_bytes)
            case relay.Taken():
                for relay_id in message.relay_ids:
                    self._on_taken(relay_id)
            case relay.Resend():
                if sender := self._senders.get(message.relay_id):
                    sender.on_resend(message.from_seq)
            case relay.Cancel():
                sender = self._senders.get(message.relay_id)
                if sender is not None and not message.attempt:
                    sender.cancel(message.reason)
                if self._on_cancel is not None:
                    self._on_cancel(message.relay_id, message.reason, message.attempt)

    def _on_heartbeat(self, beat: relay.Heartbeat) -> None:
        if beat.peer in self._heard_at:
            self._heard_at[beat.peer] = time.monotonic()
        theirs = set(beat.receiving)
        for relay_id, sender in list(self._senders.items()):
            if sender.peer != beat.peer or relay_id in self._lingering:
                continue
            # A receiver learns its peer from the first frame, so it can't list us before one.
            if self._has_missed(relay_id, relay_id in theirs or not sender.next_seq):
                sender.cancel("the receiver doesn't know this relay any more")
        for entry in beat.sending:
            receiver = self._receivers.get(entry.relay_id)
            if receiver is None or (receiver.next_seq and receiver.peer not in ("", beat.peer)):
                self.send_control(beat.peer, relay.Cancel(entry.relay_id, "unknown here"))
            else:
                receiver.peer = beat.peer
                receiver.on_sender_at(entry.next_seq, entry.blocked)
        if any(relay_id not in self._senders for relay_id in beat.receiving):
            self._owed.add(beat.peer)  # with the next beats, so that two sides can't ping-pong
        theirs = {entry.relay_id for entry in beat.sending}
        for relay_id, receiver in list(self._receivers.items()):
            if receiver.peer != beat.peer or receiver.ended:
                continue
            if self._has_missed(relay_id, relay_id in theirs):
                _end(receiver, "the sender doesn't know this answer any more")

    def _on_taken(self, relay_id: bytes) -> None:
        if sender := self._senders.get(relay_id):
            sender.on_taken()
            if relay_id in self._lingering:
                self._forget_sender(relay_id)

    def _from_receiver(self, peer: str, message: relay.Control) -> None:
        """Sends on; confirmations of terminals, which nobody waits for, go out together."""
        if not isinstance(message, relay.Taken):
            self._send(peer, message)
            return
        if not self._taken:
            asyncio.get_running_loop().call_later(CONFIRM_S, self._confirm)
        self._taken[peer].extend(message.relay_ids)

    def _confirm(self) -> None:
        taken, self._taken = self._taken, defaultdict(list)
        for peer, relay_ids in taken.items():
            self._send(peer, relay.Taken(tuple(relay_ids)))

    def _has_missed(self, relay_id: bytes, listed: bool) -> bool:
        """Whether a peer's heartbeats left a relay out twice in a row."""
        self._missed[relay_id] = 0 if listed else self._missed[relay_id] + 1
        return self._missed[relay_id] >= 2

    def _forgive(self, now_s: float) -> None:
        """After a reconnect: peers reconnect too, so their silence counts from now."""
        reconnects = self._bus.statistics().reconnects
        if reconnects != self._reconnects:
            self._reconnects = reconnects
            self._heard_at = dict.fromkeys(self._heard_at, now_s)

    def _beat(self, now_s: float) -> None:
        sending: dict[str, list[relay.Sending]] = defaultdict(list)
        receiving: dict[str, list[bytes]] = defaultdict(list)
        for sender in self._senders.values():
            sending[sender.peer].append(
                relay.Sending(sender.relay_id, sender.next_seq, sender.blocked)
            )
        for receiver in self._receivers.values():
            if receiver.peer:
                receiving[receiver.peer].append(receiver.relay_id)
                self._heard_at.setdefault(receiver.peer, now_s)
        owed, self._owed = self._owed, set()
        peers = sending.keys() | receiving.keys() | self._links.keys() | owed
        for peer in peers:
            beat = relay.Heartbeat(self._bus.instance, tuple(sending[peer]), tuple(receiving[peer]))
            silence_ms = (now_s - self._heard_at.get(peer, now_s)) * 1000
            self._send(peer, beat, silence_ms > relay.PEER_PROBE_MS)
        watched = sending.keys() | receiving.keys()
        watched |= {peer for peer, links in self._links.items() if any(links.values())}
        for peer in self._heard_at.keys() - watched:
            del self._heard_at[peer]

    def _bury(self, now_s: float) -> None:
        for relay_id, until_s in list(self._lingering.items()):
            sender = self._senders.get(relay_id)
            if sender is None or sender.done.is_set() or now_s > until_s:
                self._forget_sender(relay_id)
        for peer, heard_at in list(self._heard_at.items()):
            if (now_s - heard_at) * 1000 > relay.PEER_DEAD_MS:
                self._on_dead(peer)

    def _forget_sender(self, relay_id: bytes) -> None:
        self._senders.pop(relay_id, None)
        self._lingering.pop(relay_id, None)
        self._missed.pop(relay_id, None)

    def _send(self, peer: str, message: relay.Control, probe: bool = False) -> None:
        """Sends; as a probe the broker tells when nobody listens: that process has ended."""
        inbox = self._probe_inbox(peer) if probe else None
        try:
            reply = inbox.subject if inbox is not None else ""
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

    def _probe_inbox(self, peer: str) -> Inbox:
        def lives(_payload: bytes) -> None:
            if peer in self._heard_at:
                self._heard_at[peer] = time.monotonic()

        inbox = self._bus.open_inbox(lives, lambda: self._on_dead(peer))
        asyncio.get_running_loop().call_later(relay.HEARTBEAT_MS / 1000, inbox.close)
        return inbox

    def _on_dead(self, peer: str) -> None:
        if self._heard_at.pop(peer, None) is None:
            return
        self._peers_dead += 1
        log_event(log, "peer_dead", level=logging.WARNING, peer=peer)
        for sender in list(self._senders.values()):
            if sender.peer == peer:
                sender.cancel("the receiver's process is gone")
        for receiver in list(self._receivers.values()):
            if receiver.peer == peer:
                _end(receiver, "the process that sent the answer is gone")
        for on_dead in list(self._links.get(peer, {}).values()):
            if on_dead is not None:
                on_dead()


def _end(receiver: Receiver, reason: str) -> None:
    if receiver.next_seq:
        receiver.cut(reason)
    else:
        receiver.peer = ""  # nothing was begun: another attempt may still answer
