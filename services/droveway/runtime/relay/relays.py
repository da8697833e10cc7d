"""The open relays of one process: senders, receivers, and terminals that may be asked for again."""

from collections.abc import Callable
from typing import NamedTuple

from droveway.contracts import relay
from droveway.runtime.relay.receiver import Receiver
from droveway.runtime.relay.sender import Sender

LINGER_S = 5.0
"""How long a finished relay's terminal can still be sent again."""
MAX_LINGERING = 4_096
"""Finished relays that are kept for that; a further one is forgotten at once."""


class RelayTotals(NamedTuple):
    """A snapshot of all relays; counters include those that were closed."""

    sending: int
    receiving: int
    blocked: int
    kept_bytes: int
    held_bytes: int
    dropped_frames: int
    overruns: int


class Relays:
    """By relay id: at most one sender and one receiver each, the latest opened."""

    def __init__(self, control: Callable[[str, relay.Control], None]) -> None:
        self._control = control
        self.senders: dict[bytes, Sender] = {}
        self.receivers: dict[bytes, Receiver] = {}
        self._lingering: dict[bytes, float] = {}
        self._dropped_frames = 0
        self._overruns = 0

    def open_sender(self, sender: Sender) -> None:
        """Takes the place of an earlier attempt's sender."""
        self.forget_sender(sender.relay_id)
        self.senders[sender.relay_id] = sender

    def close_sender(self, sender: Sender, now_s: float) -> None:
        """Forgets a sender, but keeps its last frames for a resend while they aren't confirmed."""
        if self.senders.get(sender.relay_id) is not sender:
            return  # a later attempt of the same request has its place
        over = sender.done.is_set() or not sender.terminated
        if over or len(self._lingering) >= MAX_LINGERING:
            self.forget_sender(sender.relay_id)
        else:
            self._lingering[sender.relay_id] = now_s + LINGER_S

    def open_receiver(self, relay_id: bytes, peer: str) -> Receiver:
        """Takes the place of an earlier receiver, which ends."""
        if (earlier := self.receivers.get(relay_id)) is not None:
            earlier.cut("it is received anew")
            self.close_receiver(earlier)
        receiver = Receiver(relay_id, self._control, relay.WINDOW_BYTES, peer)
        self.receivers[relay_id] = receiver
        return receiver

    def close_receiver(self, receiver: Receiver) -> None:
        """Forgets a receiver, not what it has counted."""
        if self.receivers.get(receiver.relay_id) is not receiver:
            return  # a later one has its place
        del self.receivers[receiver.relay_id]
        self._dropped_frames += receiver.dropped_frames
        self._overruns += receiver.overruns

    def forget_sender(self, relay_id: bytes) -> None:
        """Keeps nothing of it."""
        self.senders.pop(relay_id, None)
        self._lingering.pop(relay_id, None)

    def is_lingering(self, relay_id: bytes) -> bool:
        """Whether its sender has finished and only waits to be confirmed."""
        return relay_id in self._lingering

    def forget_lingering(self, now_s: float) -> None:
        """Forgets what is confirmed or has lingered for long enough."""
        for relay_id, until_s in list(self._lingering.items()):
            if self.senders[relay_id].done.is_set() or now_s > until_s:
                self.forget_sender(relay_id)

    def end_with(self, peer: str) -> None:
        """A peer is dead: so are all relays with it."""
        for sender in list(self.senders.values()):
            if sender.peer == peer and sender.paced:
                sender.cancel("the receiver's process is gone")
        for receiver in list(self.receivers.values()):
            if receiver.peer == peer:
                receiver.lose_sender("the process that sent the answer is gone")

    def totals(self) -> RelayTotals:
        """A snapshot for gauges."""
        senders, receivers = self.senders.values(), self.receivers.values()
        return RelayTotals(
            sending=len(senders),
            receiving=len(receivers),
            blocked=sum(sender.blocked for sender in senders),
            kept_bytes=sum(sender.kept_bytes for sender in senders),
            held_bytes=sum(receiver.held_bytes for receiver in receivers),
            dropped_frames=self._dropped_frames + sum(one.dropped_frames for one in receivers),
            overruns=self._overruns + sum(one.overruns for one in receivers),
        )
