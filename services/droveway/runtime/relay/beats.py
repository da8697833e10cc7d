"""What a heartbeat says, and what one that arrives means for the relays with its peer."""

from collections import defaultdict
from collections.abc import Callable

from droveway.contracts import relay
from droveway.runtime.relay.peers import Peers
from droveway.runtime.relay.receiver import Receiver
from droveway.runtime.relay.relays import Relays
from droveway.runtime.relay.sender import Sender

MAX_REFUSED = 256
"""Unknown relays of one heartbeat that are refused; the next beat brings the others again."""
MAX_OWED = 1_024
"""Peers without a relay here that get one beat; what a further one asks for, it asks again."""
MISSED_S = relay.HEARTBEAT_MS / 1000 / 2
"""Two words that a relay isn't there, nearer to each other than this, count as one."""


class Beats:
    """Composes and reads the heartbeats of one process."""

    def __init__(
        self,
        instance: str,
        relays: Relays,
        peers: Peers,
        send: Callable[[str, relay.Control], None],
        clock: Callable[[], float],
    ) -> None:
        self._instance = instance
        self._relays = relays
        self._peers = peers
        self._send = send
        self._clock = clock
        self._owed: set[str] = set()
        """Peers that wait for relays which aren't here: a heartbeat tells them so."""

    def due(self) -> dict[str, relay.Heartbeat]:
        """One beat for each peer that is to get one; watches those that relays are shared with."""
        sending: dict[str, list[relay.Sending]] = defaultdict(list)
        receiving: dict[str, list[bytes]] = defaultdict(list)
        for sender in self._relays.senders.values():
            if _is_live(sender):
                sending[sender.peer].append(_told(sender))
        for receiver in self._relays.receivers.values():
            if _is_awaited(receiver):
                receiving[receiver.peer].append(receiver.relay_id)
                self._peers.watch(receiver.peer)
        shared = sending.keys() | receiving.keys()
        owed, self._owed = self._owed, set()
        self._peers.forget_others(shared)
        return {
            peer: relay.Heartbeat(self._instance, tuple(sending[peer]), tuple(receiving[peer]))
            for peer in shared | self._peers.linked | owed
        }

    def beat_for(self, peer: str) -> relay.Heartbeat:
        """The beat for one peer, out of turn."""
        senders, receivers = self._relays.senders.values(), self._relays.receivers.values()
        return relay.Heartbeat(
            self._instance,
            tuple(_told(one) for one in senders if one.peer == peer and _is_live(one)),
            tuple(one.relay_id for one in receivers if one.peer == peer and _is_awaited(one)),
        )

    def on_heartbeat(self, beat: relay.Heartbeat) -> None:
        """The peer lives; what it lists and isn't here is refused by its id.

        What it leaves out ends nothing: `peer` is the sender's word, and whoever knows a relay's id
        is one of its ends.
        """
        self._peers.heard(beat.peer)
        unknown = self._tell_receivers(beat)
        unsent = [one for one in beat.receiving if one not in self._relays.senders]
        if unsent and len(self._owed) < MAX_OWED:
            self._owed.add(beat.peer)  # with the next beats, so that two sides can't ping-pong
        for relay_id in (unknown + unsent)[:MAX_REFUSED]:
            self._send(beat.peer, relay.Cancel(relay_id, "unknown here"))

    def on_unsent(self, relay_id: bytes) -> None:
        """A peer has no sender of this relay; its receiver here believes the second such word."""
        receiver = self._relays.receivers.get(relay_id)
        if receiver is None or receiver.ended:
            return
        if receiver.pulled and not receiver.next_seq:
            return  # a body that was asked for isn't sent before its door has read so
        now_s = self._clock()
        if receiver.unsent_s is None:
            receiver.unsent_s = now_s
        elif now_s - receiver.unsent_s >= MISSED_S:
            receiver.lose_sender("the sender doesn't know this answer any more")

    def _tell_receivers(self, beat: relay.Heartbeat) -> list[bytes]:
        """Tells receivers how far their senders are; returns relays that nobody here receives."""
        unknown: list[bytes] = []
        for entry in beat.sending:
            receiver = self._relays.receivers.get(entry.relay_id)
            if receiver is None or receiver.was_cut or not receiver.may_come_from(beat.peer):
                unknown.append(entry.relay_id)
                continue
            receiver.peer = beat.peer
            receiver.unsent_s = None
            receiver.on_sender_at(entry.next_seq, entry.blocked)
        return unknown


def _is_live(sender: Sender) -> bool:
    """Whether its receiver should hear of it; one that gave up sends nothing any more."""
    return sender.paced and not sender.cancelled.is_set()


def _is_awaited(receiver: Receiver) -> bool:
    """Whether its sender should go on; not when it was cut here."""
    return bool(receiver.peer) and not receiver.was_cut


def _told(sender: Sender) -> relay.Sending:
    return relay.Sending(sender.relay_id, sender.next_seq, sender.blocked)
