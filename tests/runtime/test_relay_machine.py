"""One sender and one receiver, joined by a wire that loses, repeats and reorders all it carries."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from droveway.contracts import relay
from droveway.contracts.errors import failure
from droveway.runtime.relay import Receiver, Sender
from droveway.runtime.relay.receiver import MAX_AHEAD_FRAMES

RELAY = bytes(16)
CALLER = "caller-0123456789ab"
DOOR = "gateway-0123456789ab"
WINDOW_BYTES = 300
MAX_EVENT_BYTES = 200
MAX_SENT_BYTES = MAX_EVENT_BYTES + 100
"""An event and what a frame adds to it."""
HEALING_BEATS = 400
SETTINGS = settings(
    max_examples=250,
    stateful_step_count=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
WHICH = st.integers(0, 2**16)


class OneRelay(RuleBasedStateMachine):
    """Each message lies on the wire until a rule delivers, repeats or loses it."""

    frames: list[bytes]
    controls: list[relay.Control]

    def __init__(self) -> None:
        super().__init__()
        self.frames = []
        self.controls = []
        self.sent: list[bytes] = []
        self.taken: list[relay.Frame] = []
        self.origin = relay.Origin(CALLER, RELAY, 1, "p", "m")
        self.sender = Sender(RELAY, DOOR, self.frames.append, WINDOW_BYTES)
        self.receiver = Receiver(RELAY, lambda _peer, one: self.controls.append(one), WINDOW_BYTES)

    @initialize(pulled=st.booleans())
    def know_the_peer(self, pulled: bool) -> None:
        if pulled:
            self.receiver = Receiver(
                RELAY, lambda _peer, one: self.controls.append(one), WINDOW_BYTES, CALLER
            )

    def open_to_send(self) -> bool:
        over = self.sender.terminated or self.sender.cancelled.is_set()
        return not over and not self.sender.blocked

    @precondition(open_to_send)
    @rule(event=st.binary(max_size=MAX_EVENT_BYTES), count=st.integers(1, 6))
    def send(self, event: bytes, count: int) -> None:
        for _ in range(count):
            if self.sender.blocked:
                return
            origin = self.origin if self.sender.next_seq == 0 else None
            numbered = b"%d:" % len(self.sent) + event
            try:
                self.sender.send((numbered,), origin).send(None)
            except StopIteration:
                self.sent.append(numbered)

    @precondition(lambda self: self.sent)
    @rule(well=st.booleans())
    def terminate(self, well: bool) -> None:
        if well:
            self.sender.complete(relay.Usage(1, 2), "stop")
        else:
            self.sender.interrupt(failure("stream_stalled"), relay.Usage(1, 2))

    @precondition(lambda self: self.frames)
    @rule(which=WHICH, keep=st.booleans())
    def deliver_a_frame(self, which: int, keep: bool) -> None:
        self._deliver(which % len(self.frames), keep=keep)

    @precondition(lambda self: self.frames)
    @rule()
    def deliver_all_frames(self) -> None:
        while self.frames:
            self._deliver(0)

    @precondition(lambda self: self.frames)
    @rule(which=WHICH)
    def lose_a_frame(self, which: int) -> None:
        self.frames.pop(which % len(self.frames))

    @precondition(lambda self: self.controls)
    @rule(which=WHICH, keep=st.booleans())
    def deliver_a_control(self, which: int, keep: bool) -> None:
        self._steer(which % len(self.controls), keep=keep)

    @precondition(lambda self: self.controls)
    @rule(which=WHICH)
    def lose_a_control(self, which: int) -> None:
        self.controls.pop(which % len(self.controls))

    @precondition(lambda self: not self.sender.cancelled.is_set() and self.sent)
    @rule()
    def heartbeat(self) -> None:
        self._beat()

    @rule(count=st.integers(1, 5))
    def take(self, count: int) -> None:
        self._take(count)

    @precondition(lambda self: len(self.sent) > 8)
    @rule()
    def receiver_is_cut(self) -> None:
        self.receiver.cut("gone")

    @precondition(lambda self: len(self.sent) > 8)
    @rule()
    def receiver_cancels(self) -> None:
        self.controls.append(relay.Cancel(RELAY))

    @invariant()
    def what_was_taken_is_a_gapless_prefix(self) -> None:
        events = [one for frame in self.taken if isinstance(frame, relay.Chunk)
                  for one in frame.events]  # fmt: skip
        assert events == self.sent[: len(events)]
        assert [frame.seq for frame in self.taken] == list(range(len(self.taken)))

    @invariant()
    def one_terminal_at_most_and_nothing_after_it(self) -> None:
        ends = [one for one in self.taken if not isinstance(one, relay.Chunk)]
        assert ends == [] or ends == self.taken[-1:]

    @invariant()
    def what_is_kept_is_bounded(self) -> None:
        sender = self.sender
        assert sender.next_seq == len(self.sent) + sender.terminated
        assert sender.kept_bytes == sum(len(payload) for _, payload in sender._kept)
        terminal_bytes = 100 if sender.terminated else 0
        assert sender.kept_bytes <= WINDOW_BYTES + MAX_SENT_BYTES + terminal_bytes

    @invariant()
    def what_is_held_is_bounded(self) -> None:
        receiver = self.receiver
        held = [size for _, size in receiver._ahead.values()]
        assert len(held) <= MAX_AHEAD_FRAMES
        assert receiver._ahead_bytes == sum(held)
        waiting = sum(size for _, size in receiver._ready)
        assert receiver.held_bytes == waiting + sum(held)
        terminal_bytes = 100
        assert receiver.held_bytes <= WINDOW_BYTES + MAX_SENT_BYTES + terminal_bytes

    @invariant()
    def an_honest_sender_never_overruns(self) -> None:
        assert self.receiver.overruns == 0

    def teardown(self) -> None:
        """The wire heals: whatever wasn't cut comes to its end, and nothing is kept."""
        for _ in range(HEALING_BEATS):
            if not self.sender.terminated and not self.sender.cancelled.is_set():
                self.sender.complete(relay.Usage(1, 2), "stop")
            if not self.sender.cancelled.is_set():
                self._beat()
            while self.frames or self.controls:
                while self.frames:
                    self._deliver(0)
                while self.controls:
                    self._steer(0)
            self._take(3)
            self._check()
            if self._is_over():
                return
        raise AssertionError("the relay did not come to its end")

    def _check(self) -> None:
        self.what_was_taken_is_a_gapless_prefix()
        self.one_terminal_at_most_and_nothing_after_it()
        self.what_is_kept_is_bounded()
        self.what_is_held_is_bounded()

    def _is_over(self) -> bool:
        ended = bool(self.taken) and not isinstance(self.taken[-1], relay.Chunk)
        if self.sender.cancelled.is_set() and not ended:
            # The hub ends a receiver whose sender isn't listed any more.
            self.receiver.lose_sender("the sender gave up")
            self.receiver.cut("nobody has it")
            return False
        if not ended or not self.sender.done.is_set() or self.frames or self.controls:
            return False
        assert self.sender.kept_bytes == 0
        assert self.receiver.held_bytes == 0
        if not self.receiver.was_cut:
            assert len(self.taken) == len(self.sent) + 1
        return True

    def _deliver(self, index: int, *, keep: bool = False) -> None:
        payload = self.frames[index] if keep else self.frames.pop(index)
        self.receiver.on_frame(relay.frame_decoder.decode(payload), len(payload))

    def _steer(self, index: int, *, keep: bool = False) -> None:
        match self.controls[index] if keep else self.controls.pop(index):
            case relay.Credit(next_seq=next_seq, limit_bytes=limit_bytes):
                self.sender.on_credit(next_seq, limit_bytes)
            case relay.Taken():
                self.sender.on_taken()
            case relay.Resend(from_seq=from_seq):
                self.sender.on_resend(from_seq)
            case relay.Cancel(reason=reason):
                self.sender.cancel(reason)

    def _beat(self) -> None:
        """The sender's half-second sign of life."""
        if self.receiver.may_come_from(CALLER):
            self.receiver.peer = CALLER
            self.receiver.on_sender_at(self.sender.next_seq, self.sender.blocked)

    def _take(self, count: int) -> None:
        for _ in range(count):
            self.receiver.settle()
            if (frame := self.receiver.take_ready()) is not None:
                self.taken.append(frame)


class UnpacedRelay(RuleBasedStateMachine):
    """A receiver that gives no credit: nothing waits, and nothing is kept without bound."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[bytes] = []
        self.sender = Sender(RELAY, "", self.frames.append, WINDOW_BYTES, flow_control=False)

    @precondition(lambda self: not self.sender.terminated)
    @rule(event=st.binary(max_size=MAX_EVENT_BYTES))
    def send(self, event: bytes) -> None:
        before = len(self.frames)
        try:
            self.sender.send((event,)).send(None)
        except StopIteration:
            assert len(self.frames) == before + 1
            return
        raise AssertionError("a sender without flow control has waited")

    @precondition(lambda self: self.sender.next_seq > 5)
    @rule()
    def complete(self) -> None:
        self.sender.complete(relay.Usage(), "stop")
        assert self.sender.done.is_set()

    @rule(from_seq=st.integers(0, 50))
    def resend(self, from_seq: int) -> None:
        kept = [payload for seq, payload in self.sender._kept if seq >= from_seq]
        before = len(self.frames)
        self.sender.on_resend(from_seq)
        assert self.frames[before:] == kept
        del self.frames[before:]

    @rule(next_seq=st.integers(0, 60), limit_bytes=st.integers(0, 2**62))
    def credit_changes_nothing(self, next_seq: int, limit_bytes: int) -> None:
        self.sender.on_credit(next_seq, limit_bytes)
        assert not self.sender.blocked

    @invariant()
    def the_last_window_is_kept_at_most(self) -> None:
        assert self.sender.kept_bytes == sum(len(payload) for _, payload in self.sender._kept)
        assert self.sender.kept_bytes <= max(WINDOW_BYTES, MAX_SENT_BYTES)


def test_a_relay_over_a_bad_wire_is_a_gapless_prefix_with_one_terminal() -> None:
    run_state_machine_as_test(OneRelay, settings=SETTINGS)


def test_a_relay_without_flow_control_never_waits_and_keeps_one_window() -> None:
    run_state_machine_as_test(UnpacedRelay, settings=settings(SETTINGS, max_examples=60))
