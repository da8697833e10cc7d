"""Streams through outages of broker and processes, in virtual time and with a seeded broker."""

from collections.abc import Iterator

import pytest

from droveway.contracts import relay
from droveway.runtime.relay.relays import LINGER_S
from tests.support.lossy_bus import RECONNECT_S, Weather
from tests.support.relay_world import FRAME_BYTES, STEP_S, Pulled, World

SEEDS = range(6)
ANSWERS = 12
TICK_S = relay.HEARTBEAT_MS / 1000
DEAD_S = relay.PEER_DEAD_MS / 1000
PHASES_S = [0.1 * tenths for tenths in range(10)]
"""Of ticks, each half second, and of the beats that a process sends itself each second."""


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with World(seed=getattr(request, "param", 1)) as world:
        yield world


def run_all(world: World) -> None:
    """Answers of which something has arrived."""
    for number in range(ANSWERS):
        world.answer(number)
    go_on(world, 1.0)
    assert all(answer.taken for answer in world.answers)


def go_on(world: World, seconds: float) -> None:
    """Time passes while senders send and readers read."""
    until_s = world.broker.now_s + seconds
    while world.broker.now_s < until_s:
        for answer in world.answers:
            answer.attempts[-1].send()
            answer.take()
        world.pass_time(STEP_S)


def finish(world: World) -> None:
    for answer in world.answers:
        answer.attempts[-1].complete()
    go_on(world, 3.0)


def whole(world: World) -> bool:
    """Whether each answer arrived from its first event to its last."""
    for answer in world.answers:
        answer.check()
    return all(isinstance(answer.taken[-1], relay.Completed) for answer in world.answers)


@pytest.mark.parametrize("gone_s", [0.5, 1.3, 2.0, 3.0])
@pytest.mark.parametrize("world", SEEDS, indirect=True)
def test_streams_survive_a_broker_that_is_gone_for_a_while(world: World, gone_s: float) -> None:
    run_all(world)
    world.broker.stop()
    go_on(world, gone_s)
    world.broker.start()
    go_on(world, 2.0)
    finish(world)
    assert whole(world)
    assert not any(process.hub.statistics().peers_dead for process in world.processes)


@pytest.mark.parametrize("phase_s", PHASES_S)
@pytest.mark.parametrize("late", range(4))
def test_streams_survive_a_broker_that_is_gone_for_four_seconds_at_any_moment(
    world: World, phase_s: float, late: int
) -> None:
    run_all(world)
    go_on(world, phase_s)
    world.broker.stop()
    go_on(world, 4.0)
    world.broker.start([RECONNECT_S if which == late else 0.01 for which in range(4)])
    go_on(world, 4.0)
    finish(world)
    assert whole(world)
    assert not any(process.hub.statistics().peers_dead for process in world.processes)


@pytest.mark.parametrize("phase_s", PHASES_S)
def test_streams_end_within_six_and_a_half_seconds_when_the_broker_stays_away(
    world: World, phase_s: float
) -> None:
    run_all(world)
    go_on(world, phase_s)
    world.broker.stop()
    go_on(world, 5.7)
    assert not any(answer.receiver.ended for answer in world.answers)
    go_on(world, 0.6)
    assert all(answer.receiver.ended for answer in world.answers)
    assert all(answer.attempts[0].sender.cancelled.is_set() for answer in world.answers)


def test_a_peer_that_comes_back_late_is_not_looked_for_too_early(world: World) -> None:
    run_all(world)
    world.broker.stop()
    go_on(world, 1.0)
    world.broker.start([2.4, 2.4, 0.01, 0.01])
    go_on(world, 0.5)
    for answer in world.answers:
        answer.door.hub.link(answer.attempts[0].caller.bus.instance, lambda: None, probe=True)
    go_on(world, 3.0)
    finish(world)
    assert whole(world)


@pytest.mark.parametrize("how", ["cut off", "freeze"])
@pytest.mark.parametrize("which", range(4))
def test_streams_survive_a_process_that_is_away_for_three_seconds(
    world: World, how: str, which: int
) -> None:
    run_all(world)
    bus = world.processes[which].bus
    if how == "freeze":
        bus.freeze()
    else:
        bus.isolated = True
    go_on(world, 3.0)
    world.mend()
    go_on(world, 1.0)
    finish(world)
    assert whole(world)


@pytest.mark.parametrize("world", SEEDS, indirect=True)
def test_streams_survive_one_percent_of_loss_and_reordering(world: World) -> None:
    run_all(world)
    world.broker.weather = Weather(0.01, 0.01, 0.05)
    go_on(world, 20.0)
    finish(world)
    assert whole(world)


@pytest.mark.parametrize("away", ["caller", "door"])
def test_streams_end_five_seconds_after_the_other_side_was_last_heard(
    world: World, away: str
) -> None:
    run_all(world)
    (world.callers if away == "caller" else world.doors)[0].bus.isolated = True
    gone_s = world.broker.now_s
    cut_after_s: list[float] = []
    while world.broker.now_s < gone_s + 8.0:
        go_on(world, STEP_S)
        ended = sum(answer.receiver.ended for answer in world.answers)
        cut_after_s += [world.broker.now_s - gone_s] * (ended - len(cut_after_s))
    assert len(cut_after_s) >= ANSWERS // 2
    assert min(cut_after_s) > DEAD_S - TICK_S
    assert max(cut_after_s) < DEAD_S + 2 * TICK_S
    assert any(answer.attempts[0].sender.cancelled.is_set() for answer in world.answers)


def test_a_killed_caller_ends_its_streams_within_two_seconds(world: World) -> None:
    run_all(world)
    killed = world.callers[0]
    killed.kill()
    go_on(world, relay.PEER_PROBE_MS / 1000 + TICK_S + STEP_S)
    for answer in world.answers:
        assert answer.receiver.ended == (answer.attempts[0].caller is killed)


def test_a_sender_whose_receiver_was_cut_ends_though_no_cancel_reaches_it(world: World) -> None:
    run_all(world)
    cut = world.answers[0]
    cut.receiver.cut("the client is too slow")
    world.pass_time(4 * TICK_S)
    assert [answer.attempts[0].sender.cancelled.is_set() for answer in world.answers] == [
        answer is cut for answer in world.answers
    ]


def test_a_body_that_was_lost_and_forgotten_is_sent_to_a_repeated_pull(world: World) -> None:
    pulled = Pulled(world.doors[0], world.callers[0], 100)
    pulled.loses_all = True
    pulled.ask()
    world.pass_time(LINGER_S + 2 * TICK_S)
    pulled.loses_all = False
    pulled.ask()
    world.pass_time(1.0)
    pulled.take()
    assert isinstance(pulled.frames[-1], relay.Completed)


def test_two_callers_pull_one_body_side_by_side(world: World) -> None:
    slow = Pulled(world.doors[0], world.callers[0], 300_000)
    fast = Pulled(world.doors[0], world.callers[1], 300_000, slow)
    gone = Pulled(world.doors[0], world.callers[1], 300_000, slow)
    for pulled in (slow, fast, gone):
        pulled.ask()
    world.pass_time(0.1)
    world.callers[1].hub.close_receiver(gone.receiver)
    for _ in range(60):
        fast.take()
        world.pass_time(STEP_S)
    assert isinstance(fast.frames[-1], relay.Completed)
    assert not slow.frames
    assert world.doors[0].hub.statistics().sending == 1
    for _ in range(60):
        slow.take()
        world.pass_time(STEP_S)
    assert isinstance(slow.frames[-1], relay.Completed)
    for pulled in (slow, fast):
        pulled.check()


def test_two_hundred_slow_readers_hold_two_windows_each_at_most(world: World) -> None:
    world.broker.weather = Weather(0.02, 0.02, 0.1)
    bound_bytes = 200 * (2 * relay.WINDOW_BYTES + FRAME_BYTES)
    for number in range(200):
        world.answer(number)
    most_bytes = 0
    for turn in range(60):
        for answer in world.answers:
            answer.attempts[-1].send()
        for answer in world.answers[turn % 20 :: 20]:
            answer.receiver.settle()
            if (frame := answer.receiver.take_ready()) is not None:
                answer.taken.append(frame)
        world.pass_time(0.1)
        totals = [process.hub.statistics() for process in world.processes]
        most_bytes = max(most_bytes, sum(one.kept_bytes + one.held_bytes for one in totals))
    assert all(answer.attempts[0].sender.blocked for answer in world.answers)
    assert 200 * relay.WINDOW_BYTES < most_bytes <= bound_bytes
