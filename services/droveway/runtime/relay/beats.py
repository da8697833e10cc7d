"""What a heartbeat says, and what one that arrives means for the relays with its peer."""

from collections import defaultdict
from collections.abc import Callable

from droveway.contracts import relay
from droveway.runtime.relay.peers import Peers
from droveway.runtime.relay.receiver import Receiver
from droveway.runtime.relay.relays import Relays
from droveway.runtime.relay.sender import Sender

MAX_REFUSED = 256
"""Unknown relays of one heartbeat that are cancelled; the next beat brings the others again."""
MAX_OWED = 1_024
"""Peers without a relay here that get one beat; what a further one asks for, it asks again."""
MISSED_S = relay.HEARTBEAT_MS / 1000 / 2
"""Two beats nearer to each other than this count as one: they say the same."""


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
        """The peer lives; what it lists is compared with what is open here."""
        self._peers.heard(beat.peer)
        self._end_unreceived(beat)
        self._tell_receivers(beat)
        self._end_unsent(beat)
        senders = self._relays.senders
        if len(self._owed) < MAX_OWED and any(one not in senders for one in beat.receiving):
            self._owed.add(beat.peer)  # with the next beats, so that two sides can't ping-pong

    def _end_unreceived(self, beat: relay.Heartbeat) -> None:
        listed = frozenset(beat.receiving)
        for relay_id, sender in list(self._relays.senders.items()):
            if sender.peer != beat.peer or not sender.paced or self._relays.is_lingering(relay_id):
                continue
            # A receiver learns its peer from the first frame, so it can't list us before one.
            if self._has_missed(sender, relay_id in listed or not sender.next_seq):
                sender.cancel("the receiver doesn't know this relay any more")

    def _tell_receivers(self, beat: relay.Heartbeat) -> None:
        refused = 0
        for entry in beat.sending:
            receiver = self._relays.receivers.get(entry.relay_id)
            if receiver is not None and receiver.may_come_from(beat.peer):
                receiver.peer = beat.peer
                receiver.on_sender_at(entry.next_seq, entry.blocked)
            elif refused < MAX_REFUSED:
                refused += 1
                self._send(beat.peer, relay.Cancel(entry.relay_id, "unknown here"))

    def _end_unsent(self, beat: relay.Heartbeat) -> None:
        listed = frozenset(entry.relay_id for entry in beat.sending)
        for relay_id, receiver in list(self._relays.receivers.items()):
            if receiver.peer != beat.peer or receiver.ended:
                continue
            # A body that was asked for isn't sent before its door has read so.
            awaited = receiver.pulled and not receiver.next_seq
            if self._has_missed(receiver, relay_id in listed or awaited):
                receiver.lose_sender("the sender doesn't know this answer any more")

    def _has_missed(self, end: Sender | Receiver, listed: bool) -> bool:
        """Whether a peer's heartbeats left a relay out twice in a row."""
        now_s = self._clock()
        if listed:
            end.unlisted_s = None
        elif end.unlisted_s is None:
            end.unlisted_s = now_s
        else:
            return now_s - end.unlisted_s >= MISSED_S
        return False


def _is_live(sender: Sender) -> bool:
    """Whether its receiver should hear of it; one that gave up sends nothing any more."""
    return sender.paced and not sender.cancelled.is_set()


def _is_awaited(receiver: Receiver) -> bool:
    """Whether its sender should go on; not when it was cut here."""
    return bool(receiver.peer) and not receiver.was_cut


def _told(sender: Sender) -> relay.Sending:
    return relay.Sending(sender.relay_id, sender.next_seq, sender.blocked)
