"""Links and probes in virtual time: who is dead, when, and who is told."""

from collections.abc import Callable, Iterator

import pytest

from droveway.contracts import relay
from droveway.contracts.envelope import new_instance
from tests.support.relay_world import Process, World

TICK_S = relay.HEARTBEAT_MS / 1000
ABSENT = new_instance("caller")


class Watch:
    """A door and a caller, and how often the caller was found dead."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.door: Process = self.world.doors[0]
        self.caller: Process = self.world.callers[0]
        self.deaths: list[str] = []

    def link(self, name: str = "", peer: str = "", *, probe: bool = False) -> None:
        peer = peer or self.caller.bus.instance
        self.unlink = self.door.hub.link(peer, lambda: self.deaths.append(name), probe=probe)
        self.caller.hub.link(self.door.bus.instance)


@pytest.fixture
def watch() -> Iterator[Watch]:
    with World() as world:
        yield Watch(world)


def test_a_probed_link_to_nobody_is_dead_at_once(watch: Watch) -> None:
    watch.link("absent", ABSENT, probe=True)
    watch.world.pass_time(0.01)
    assert watch.deaths == ["absent"]


def test_a_link_to_nobody_is_dead_after_the_first_probe(watch: Watch) -> None:
    watch.link("absent", ABSENT)
    watch.world.pass_time(relay.PEER_PROBE_MS / 1000 - 0.1)
    assert watch.deaths == []
    watch.world.pass_time(0.2 + TICK_S)
    assert watch.deaths == ["absent"]


def test_a_probed_link_to_a_peer_that_lives_stays(watch: Watch) -> None:
    watch.link(probe=True)
    watch.world.pass_time(20.0)
    assert watch.deaths == []
    assert watch.door.bus.open_inboxes == 0


def test_a_probe_beside_a_heartbeat_misses_no_stream(watch: Watch) -> None:
    answer = watch.world.answer(0)
    answer.attempts[0].send()
    for _ in range(5):  # all before the door has seen a frame
        watch.door.hub.link(watch.caller.bus.instance, lambda: None, probe=True)
    watch.world.pass_time(0.2)
    assert not answer.attempts[0].sender.cancelled.is_set()


def test_each_link_is_told_of_a_death_once(watch: Watch) -> None:
    watch.link("a")
    watch.link("b")
    watch.caller.kill()
    watch.world.pass_time(20.0)
    watch.link("c", probe=True)
    watch.world.pass_time(20.0)
    assert watch.deaths == ["a", "b", "c"]
    assert watch.door.hub.statistics().peers_dead == 2


def test_a_link_that_was_ended_is_told_nothing(watch: Watch) -> None:
    watch.link("a", ABSENT, probe=True)
    watch.unlink()
    watch.world.pass_time(10.0)
    assert watch.deaths == []


def test_a_link_that_another_ends_at_the_death_is_told_nothing(watch: Watch) -> None:
    unlinks: list[Callable[[], None]] = []

    def on_dead() -> None:
        watch.deaths.append("one")
        for unlink in unlinks:
            unlink()

    peer = watch.caller.bus.instance
    unlinks += [watch.door.hub.link(peer, on_dead) for _ in range(2)]
    watch.caller.kill()
    watch.world.pass_time(5.0)
    assert watch.deaths == ["one"]
    unlinks[0]()


@pytest.mark.parametrize("deaf_s", [2.0, 3.0, 4.0])
def test_a_process_that_is_deaf_itself_declares_nobody_dead_for_a_while(
    watch: Watch, deaf_s: float
) -> None:
    watch.link("caller")
    watch.caller.bus.freeze()  # silent too, so that only the door's own ears decide
    watch.world.pass_time(2.0)
    watch.door.bus.isolated = True
    watch.world.pass_time(deaf_s)
    watch.world.mend()
    watch.world.pass_time(10.0)
    assert watch.deaths == []


def test_silence_counts_from_when_a_process_hears_again(watch: Watch) -> None:
    watch.link("caller")
    watch.door.bus.isolated = True
    watch.world.pass_time(4.0)
    watch.caller.bus.freeze()
    watch.door.bus.isolated = False
    watch.world.pass_time(4.9)
    assert watch.deaths == []
    watch.world.pass_time(2.0)
    assert watch.deaths == ["caller"]


def test_a_process_that_stood_still_blames_nobody_for_its_own_silence(watch: Watch) -> None:
    watch.link("caller")
    watch.door.bus.freeze()
    watch.world.pass_time(8.0)
    watch.door.bus.thaw()
    watch.world.pass_time(5.0)
    assert watch.deaths == []
