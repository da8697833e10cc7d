"""Sender and receiver over a channel that loses, repeats and reorders: pure, without a bus."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from droveway.contracts import relay
from droveway.contracts.errors import failure
from droveway.runtime.errors import Disconnected, RelayCut
from droveway.runtime.relay import Receiver, Sender

RELAY = bytes(16)
WINDOW_BYTES = 200
CALLER = "caller-0123456789ab"


class Wire:
    """A sender, a receiver, and what is on its way between them."""

    def __init__(self, window_bytes: int = WINDOW_BYTES, attempt: int = 1) -> None:
        self.frames: list[bytes] = []
        self.controls: list[relay.Control] = []
        self.connected = True
        self.origin = relay.Origin(CALLER, RELAY, attempt, "p", "m")
        self.sender = Sender(RELAY, "gateway-0123456789ab", self._publish, window_bytes)
        self.receiver = Receiver(RELAY, self._control, window_bytes)
        self.taken: list[relay.Frame] = []

    def send(self, event: bytes) -> None:
        """Sends one frame; the window must allow it."""
        origin = self.origin if self.sender.next_seq == 0 else None
        with pytest.raises(StopIteration):
            self.sender.send((event,), origin).send(None)

    def deliver(self, index: int = 0, *, keep: bool = False) -> None:
        payload = self.frames[index] if keep else self.frames.pop(index)
        self.receiver.on_frame(relay.frame_decoder.decode(payload), len(payload))

    def steer(self, index: int = 0) -> None:
        match self.controls.pop(index):
            case relay.Credit(next_seq=next_seq, limit_bytes=limit_bytes):
                self.sender.on_credit(next_seq, limit_bytes)
            case relay.Taken():
                self.sender.on_taken()
            case relay.Resend(from_seq=from_seq):
                self.sender.on_resend(from_seq)

    def beat(self) -> None:
        """The sender's half-second sign of life."""
        self.receiver.peer = CALLER
        self.receiver.on_sender_at(self.sender.next_seq, self.sender.blocked)

    def take(self) -> None:
        self.receiver.settle()
        if (frame := self.receiver.take_ready()) is not None:
            self.taken.append(frame)

    def events(self) -> list[bytes]:
        chunks = [frame for frame in self.taken if isinstance(frame, relay.Chunk)]
        return [event for chunk in chunks for event in chunk.events]

    def _control(self, _peer: str, message: relay.Control) -> None:
        self.controls.append(message)

    def _publish(self, payload: bytes) -> None:
        if not self.connected:
            raise Disconnected("no connection")
        self.frames.append(payload)


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["send", "send", "send", "deliver", "deliver", "lose", "repeat", "steer",
             "lose control", "beat", "take", "take", "cut wire", "mend wire"]
        ),
        st.integers(0, 50),
    ),
    max_size=120,
)  # fmt: skip


def play(wire: Wire, steps: list[Step], events: list[bytes]) -> None:
    """Does what the steps say, as far as it is possible, and checks what must always hold."""
    waiting = list(events)
    for what, number in steps:
        act(wire, what, number, waiting)
        check(wire, events)
    wire.connected = True
    for _ in range(500):
        while waiting and not wire.sender.blocked:
            wire.send(waiting.pop(0))
        if not waiting and not wire.sender.terminated:
            wire.sender.complete(relay.Usage(1, 2), "stop")
        wire.beat()
        while wire.controls:
            wire.steer()
        while wire.frames:
            wire.deliver()
        for _ in range(5):
            wire.take()
        check(wire, events)
        if wire.sender.done.is_set():
            return
    raise AssertionError("the relay did not complete")


def act(wire: Wire, what: str, number: int, waiting: list[bytes]) -> None:
    frames, controls = len(wire.frames), len(wire.controls)
    match what:
        case "send" if waiting and not wire.sender.blocked:
            wire.send(waiting.pop(0))
        case "deliver" if frames:
            wire.deliver(number % frames)
        case "repeat" if frames:
            wire.deliver(number % frames, keep=True)
        case "lose" if frames:
            wire.frames.pop(number % frames)
        case "steer" if controls:
            wire.steer(number % controls)
        case "lose control" if controls:
            wire.controls.pop(number % controls)
        case "beat":
            wire.beat()
        case "take":
            wire.take()
        case "cut wire" | "mend wire":
            wire.connected = what == "mend wire"


def check(wire: Wire, events: list[bytes]) -> None:
    assert wire.events() == events[: len(wire.events())]
    assert [frame.seq for frame in wire.taken] == list(range(len(wire.taken)))
    terminals = [frame for frame in wire.taken if not isinstance(frame, relay.Chunk)]
    assert terminals == [] or terminals == wire.taken[-1:]
    largest = max((len(payload) for _, payload in wire.sender._kept), default=0)
    assert wire.sender.kept_bytes <= WINDOW_BYTES + max(largest, 80)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.lists(st.binary(max_size=60), max_size=30))
def test_what_is_handed_out_is_a_gapless_prefix_and_in_the_end_everything(
    steps: list[Step], events: list[bytes]
) -> None:
    wire = Wire()
    play(wire, steps, events)
    assert wire.events() == events
    assert isinstance(wire.taken[-1], relay.Completed)
    assert wire.sender.kept_bytes == 0


def test_a_full_window_blocks_and_credit_resumes() -> None:
    wire = Wire()
    while not wire.sender.blocked:
        wire.send(bytes(50))
    sent = wire.sender.next_seq
    assert wire.sender.kept_bytes < WINDOW_BYTES + 60
    while wire.frames:
        wire.deliver()
    assert wire.controls == []
    for _ in range(sent):
        wire.take()
    wire.receiver.settle()
    wire.steer()
    assert not wire.sender.blocked


async def test_a_blocked_send_goes_on_with_credit() -> None:
    wire = Wire()
    while not wire.sender.blocked:
        await wire.sender.send((bytes(50),), wire.origin)
    waiting = asyncio.create_task(wire.sender.send((b"last",)))
    await asyncio.sleep(0)
    assert not waiting.done()
    wire.sender.on_credit(1, WINDOW_BYTES + 100)
    await asyncio.wait_for(waiting, 1)


async def test_a_blocked_send_ends_with_cancel() -> None:
    wire = Wire()
    while not wire.sender.blocked:
        await wire.sender.send((bytes(50),), wire.origin)
    waiting = asyncio.create_task(wire.sender.send((b"last",)))
    await asyncio.sleep(0)
    wire.sender.cancel("client_gone")
    with pytest.raises(RelayCut, match="client_gone"):
        await asyncio.wait_for(waiting, 1)
    with pytest.raises(RelayCut):
        await wire.sender.send((b"more",))
    assert wire.sender.done.is_set()


async def test_a_cancelled_send_leaves_no_frame() -> None:
    wire = Wire()
    while not wire.sender.blocked:
        await wire.sender.send((bytes(50),), wire.origin)
    sent = wire.sender.next_seq
    waiting = asyncio.create_task(wire.sender.send((b"last",)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert wire.sender.next_seq == sent


def test_cancel_is_told_once() -> None:
    reasons: list[str] = []
    sender = Sender(RELAY, "gateway-0", lambda _: None, WINDOW_BYTES, reasons.append)
    sender.cancel("first")
    sender.cancel("second")
    assert reasons == ["first"]
    assert sender.cancel_reason == "first"


def test_no_credit_exceeds_the_window() -> None:
    wire = Wire()
    wire.send(b"x")
    wire.sender.on_credit(0, 2**60)
    while not wire.sender.blocked:
        wire.send(bytes(20))
    assert wire.sender._sent_bytes < 2 * WINDOW_BYTES + 40


def test_credit_never_shrinks() -> None:
    wire = Wire()
    wire.sender.on_credit(0, 0)
    assert not wire.sender.blocked


@pytest.mark.parametrize("seq", [2**53 - 1, 2_000], ids=["end of numbers", "beyond the bound"])
def test_frames_far_ahead_are_dropped_and_bounded(seq: int) -> None:
    wire = Wire()
    wire.receiver.peer = CALLER
    for offset in range(1_000):
        wire.receiver.on_frame(relay.Chunk(seq - offset, (b"x",), None, 1), 10)
    assert len(wire.receiver._ahead) <= 512
    assert wire.receiver.take_ready() is None
    assert len(wire.controls) == 1


def test_one_gap_asks_once_and_each_heartbeat_again() -> None:
    wire = Wire()
    for number in range(4):
        wire.send(b"%d" % number)
    wire.deliver(0)
    wire.frames.pop(0)
    while wire.frames:
        wire.deliver()
    assert wire.controls == [relay.Resend(RELAY, 1)]
    wire.beat()
    assert wire.controls == [relay.Resend(RELAY, 1)] * 2


def test_nothing_is_taken_after_the_terminal() -> None:
    wire = Wire()
    wire.send(b"a")
    wire.sender.complete(relay.Usage(), "stop")
    wire.deliver()
    wire.deliver()
    wire.receiver.on_frame(relay.Completed(2, relay.Usage(), attempt=1), 9)
    wire.receiver.on_frame(relay.Chunk(2, (b"late",), None, 1), 9)
    for _ in range(5):
        wire.take()
    assert [type(frame) for frame in wire.taken] == [relay.Chunk, relay.Completed]
    assert wire.receiver.dropped_frames == 2


def test_a_cut_ends_what_was_received_with_one_terminal_of_its_own() -> None:
    wire = Wire()
    wire.send(b"a")
    wire.send(b"b")
    wire.deliver()
    wire.receiver.cut("gone")
    wire.receiver.cut("again")
    wire.deliver()
    for _ in range(5):
        wire.take()
    assert wire.events() == [b"a"]
    assert wire.taken[-1] == relay.Interrupted(1, failure("stream_interrupted", "gone"))
    assert len(wire.taken) == 2
    assert wire.receiver.was_cut


def test_interrupted_is_a_terminal_with_its_failure() -> None:
    wire = Wire()
    wire.send(b"a")
    wire.sender.interrupt(failure("stream_stalled"), relay.Usage(1))
    wire.deliver()
    wire.deliver()
    wire.take()
    wire.take()
    assert wire.taken[-1] == relay.Interrupted(1, failure("stream_stalled"), relay.Usage(1), 1)
    assert not wire.receiver.was_cut


def test_frames_of_two_attempts_never_mix() -> None:
    first, late = Wire(attempt=1), Wire(attempt=2)
    late.origin = relay.Origin("caller-ba9876543210", RELAY, 2, "p", "m")
    for number in range(3):
        first.send(b"first %d" % number)
        late.send(b"late %d" % number)
    late.send(b"late 3")
    late.sender.complete(relay.Usage(), "stop")
    receiver = first.receiver
    first.deliver()
    for payload in late.frames:
        receiver.on_frame(relay.frame_decoder.decode(payload), len(payload))
    while first.frames:
        first.deliver()
    for _ in range(10):
        first.take()
    assert first.events() == [b"first 0", b"first 1", b"first 2"]


def test_a_lost_connection_costs_no_frame() -> None:
    wire = Wire()
    wire.connected = False
    wire.send(b"a")
    wire.connected = True
    wire.send(b"b")
    wire.deliver()
    wire.beat()
    while wire.controls:
        wire.steer()
    while wire.frames:
        wire.deliver()
    wire.take()
    wire.take()
    assert wire.events() == [b"a", b"b"]


async def test_take_waits_for_the_next_frame() -> None:
    wire = Wire()
    taking = asyncio.create_task(wire.receiver.take())
    await asyncio.sleep(0)
    assert not taking.done()
    wire.send(b"a")
    wire.deliver()
    assert isinstance(await asyncio.wait_for(taking, 1), relay.Chunk)
