"""What a hostile or broken peer sends costs bounded work and memory, and is counted."""

import time
from collections.abc import Iterator

import pytest

from droveway.contracts import relay
from droveway.contracts.envelope import encode
from droveway.contracts.errors import failure
from droveway.runtime.relay import Receiver
from droveway.runtime.relay.beats import MAX_OWED, MAX_REFUSED
from droveway.runtime.relay.receiver import MAX_AHEAD_FRAMES, MAX_FRAME_BYTES
from tests.support.relay_world import World

CALLER = "caller-0123456789ab"
WINDOW_BYTES = relay.WINDOW_BYTES
KIB = 1024
SEEN_BY_A_PROCESS = 50_000
"""Relays that fit into one heartbeat of 1 MiB."""


def receiving() -> Receiver:
    return Receiver(bytes(16), lambda _peer, _message: None, WINDOW_BYTES, CALLER)


def chunk(seq: int, size_bytes: int = 10, attempt: int = 0) -> tuple[relay.Chunk, int]:
    return relay.Chunk(seq, (bytes(size_bytes),), None, attempt), size_bytes


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.mark.parametrize("size_bytes", [KIB, MAX_FRAME_BYTES])
def test_a_sender_that_ignores_credit_is_held_to_the_window_and_one_frame(size_bytes: int) -> None:
    receiver = receiving()
    for _ in range(3):
        for seq in range(1_000):
            receiver.on_frame(*chunk(seq, size_bytes))
            assert receiver.held_bytes <= WINDOW_BYTES + MAX_FRAME_BYTES
    assert receiver.overruns > 0
    assert len(receiver._ready) == max(1, WINDOW_BYTES // size_bytes)


def test_a_chunk_beyond_the_credit_comes_once_it_is_granted() -> None:
    receiver = receiving()
    receiver.on_frame(*chunk(0, WINDOW_BYTES))
    receiver.on_frame(*chunk(1))
    assert receiver.overruns == 1
    assert receiver.take_ready() is not None
    receiver.settle()
    receiver.on_frame(*chunk(1))
    assert receiver.take_ready() is not None


def test_what_is_held_ahead_of_a_gap_is_bounded_in_bytes_and_frames() -> None:
    large, small = receiving(), receiving()
    for seq in range(1, 1_000):
        large.on_frame(*chunk(seq, 64 * KIB))
        small.on_frame(*chunk(seq))
    assert large.held_bytes <= WINDOW_BYTES + MAX_FRAME_BYTES
    assert large.overruns == 999 - len(large._ahead)
    assert len(small._ahead) == MAX_AHEAD_FRAMES - 1
    assert small.dropped_frames == 999 - len(small._ahead)


def test_a_terminal_is_taken_though_the_window_is_full() -> None:
    receiver = receiving()
    receiver.on_frame(*chunk(0, WINDOW_BYTES))
    receiver.on_frame(relay.Completed(1, relay.Usage(), body=bytes(256 * KIB)), 256 * KIB)
    assert receiver.ended
    assert receiver.overruns == 0


def test_of_several_terminals_one_is_held_and_nothing_after_it() -> None:
    receiver = receiving()
    receiver.on_frame(*chunk(3))
    receiver.on_frame(relay.Completed(2, relay.Usage()), 10)
    receiver.on_frame(relay.Interrupted(5, failure("stream_stalled")), 10)
    receiver.on_frame(*chunk(4))
    assert receiver.dropped_frames == 2
    receiver.on_frame(*chunk(0))
    receiver.on_frame(*chunk(1))
    taken = [receiver.take_ready() for _ in range(4)]
    assert taken[2:] == [relay.Completed(2, relay.Usage()), None]
    assert receiver.dropped_frames == 3
    assert receiver.held_bytes == 0


@pytest.mark.parametrize("seq", [-1, -(2**63), 2**53, 2**63, 2**200])
def test_a_sequence_out_of_range_is_dropped_and_counted(seq: int) -> None:
    receiver = receiving()
    receiver.on_frame(*chunk(seq))
    receiver.on_frame(relay.Completed(seq, relay.Usage()), 10)
    assert receiver.dropped_frames == 2
    assert receiver.held_bytes == 0
    receiver.on_frame(*chunk(0))
    assert receiver.next_seq == 1


def test_a_replayed_answer_changes_nothing() -> None:
    receiver = receiving()
    for _ in range(3):
        for seq in range(10):
            receiver.on_frame(*chunk(seq, attempt=2))
            receiver.on_frame(*chunk(seq, attempt=1))
    assert receiver.next_seq == 10
    assert receiver.dropped_frames == 50


def test_a_later_attempt_takes_over_only_what_was_not_begun() -> None:
    receiver = Receiver(bytes(16), lambda _peer, _message: None, WINDOW_BYTES)
    receiver.on_frame(*chunk(1, attempt=1))  # its first frame is lost, and then it dies
    receiver.on_frame(*chunk(0, attempt=2))
    receiver.on_frame(*chunk(0, attempt=1))
    receiver.on_frame(*chunk(1, attempt=3))
    frames = [receiver.take_ready() for _ in range(2)]
    assert frames == [chunk(0, attempt=2)[0], None]


def test_a_sender_that_begins_anew_ends_what_it_had_begun() -> None:
    receiver = Receiver(bytes(16), lambda _peer, _message: None, WINDOW_BYTES)
    for attempt in (1, 2):
        origin = relay.Origin(CALLER, bytes(16), attempt, "p", "m")
        receiver.on_frame(relay.Chunk(0, (b"x",), origin, attempt), 10)
    assert receiver.was_cut


def test_what_was_counted_outlives_the_receiver(world: World) -> None:
    hub = world.doors[0].hub
    receiver = hub.open_receiver(bytes(16))
    receiver.on_frame(*chunk(0, WINDOW_BYTES))
    receiver.on_frame(*chunk(0))
    receiver.on_frame(*chunk(1))
    hub.close_receiver(receiver)
    hub.close_receiver(receiver)
    assert hub.statistics().dropped_frames == 1
    assert hub.statistics().overruns == 1


def test_closing_an_earlier_receiver_leaves_the_later_one(world: World) -> None:
    hub = world.callers[0].hub
    earlier = hub.open_receiver(bytes(16), world.doors[0].bus.instance)
    later = hub.open_receiver(bytes(16), world.doors[0].bus.instance)
    hub.close_receiver(earlier)
    assert earlier.was_cut
    assert not later.ended
    assert hub.statistics().receiving == 1


@pytest.mark.parametrize("what", ["sending", "receiving"])
def test_a_heartbeat_of_a_megabyte_costs_bounded_work(world: World, what: str) -> None:
    door, answer = world.doors[0], world.answer(0)
    ids = [number.to_bytes(16, "big") for number in range(1 << 20, (1 << 20) + SEEN_BY_A_PROCESS)]
    beat = relay.Heartbeat(
        CALLER,
        tuple(relay.Sending(one, 1, True) for one in ids) if what == "sending" else (),
        tuple(ids) if what == "receiving" else (),
    )
    published = door.bus.published
    began_s = time.process_time()
    door.hub._on_control(encode(beat), "")
    assert time.process_time() - began_s < 0.5
    assert door.bus.published - published <= MAX_REFUSED
    answer.attempts[0].complete()
    world.pass_time(1.0)
    answer.take()
    assert answer.ended


def test_beats_in_anothers_name_cut_nothing(world: World) -> None:
    answer = world.answer(0)
    answer.attempts[0].send()
    world.pass_time(1.0)
    door, caller = answer.door, answer.attempts[0].caller
    for _ in range(10):
        door.hub._on_control(encode(relay.Heartbeat(caller.bus.instance)), "")
        caller.hub._on_control(encode(relay.Heartbeat(door.bus.instance)), "")
        world.pass_time(0.3)
    assert not answer.receiver.ended
    assert not answer.attempts[0].sender.cancelled.is_set()
    answer.attempts[0].complete()
    world.pass_time(1.0)
    answer.take()
    assert isinstance(answer.taken[-1], relay.Completed)


def test_an_answer_that_its_sender_has_forgotten_ends_within_two_seconds(world: World) -> None:
    answer = world.answer(0)
    answer.attempts[0].send()
    world.pass_time(1.0)
    answer.attempts[0].close()
    world.pass_time(2.0)
    assert answer.receiver.was_cut


def test_beats_of_made_up_peers_leave_nothing_behind(world: World) -> None:
    door = world.doors[0]
    for number in range(3 * MAX_OWED):
        beat = relay.Heartbeat(f"caller-{number:012d}", (), (bytes(16),))
        door.hub._on_control(encode(beat), f"_INBOX.caller.caller-{number:012d}.0")
    assert len(door.hub._beats._owed) == MAX_OWED
    world.pass_time(1.0)
    assert not any(door.left().values())


def test_a_receiver_without_flow_control_is_neither_watched_nor_waited_for(world: World) -> None:
    caller, door = world.callers[0], world.doors[0]
    payloads: list[bytes] = []
    inbox = door.bus.open_inbox(payloads.append, lambda: None)
    sender = caller.hub.open_sender(bytes(16), "", inbox.subject, flow_control=False)
    for _ in range(100):
        with pytest.raises(StopIteration):
            sender.send((bytes(KIB),)).send(None)
    assert caller.hub.statistics().kept_bytes <= WINDOW_BYTES
    world.pass_time(20.0)
    assert not sender.cancelled.is_set()
    sender.complete(relay.Usage(), "stop")
    caller.hub.close_sender(sender)
    world.pass_time(0.1)
    assert len(payloads) == 101
    assert not any(caller.left().values())
