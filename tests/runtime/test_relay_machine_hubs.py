"""Hubs of two callers and two doors over a broker that loses, repeats, delays and reorders."""

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
from tests.support.lossy_bus import Weather
from tests.support.relay_world import FRAME_BYTES, Answer, Process, Pulled, World

DROP, REPEAT, DELAY_S = 0.25, 0.2, 0.3
HEALED_S = 30.0
"""Within this time after the last fault each answer has its terminal."""
FORGOTTEN_S = 12.0
"""Within this time after all is closed nothing is left: a terminal lingers 5 s."""
SETTINGS = settings(
    max_examples=60,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
WHICH = st.integers(0, 2**16)
SECONDS = st.sampled_from([0.05, 0.3, 0.6, 1.5, 4.0])
BODY_BYTES = st.sampled_from([0, 1, relay.WINDOW_BYTES, 200_000])


class Hubs(RuleBasedStateMachine):
    """Whatever happens to messages and processes, each answer is a prefix and ends once."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @initialize(whose=st.lists(WHICH, min_size=2, max_size=4), size_bytes=BODY_BYTES)
    def begin(self, whose: list[int], size_bytes: int) -> None:
        for which in whose:
            self.ask(which)
        self.pull(whose[0], size_bytes)

    @precondition(lambda self: len(self.world.answers) < 8)
    @rule(which=WHICH)
    def ask(self, which: int) -> None:
        if self._pair(which) is not None:
            self.world.answer(which)

    @rule(senders=WHICH, takers=WHICH, count=st.integers(1, 12), seconds=SECONDS)
    def answers_go_on(self, senders: int, takers: int, count: int, seconds: float) -> None:
        world = self.world
        for _ in range(count):
            for index, answer in enumerate(world.answers):
                if senders >> index & 1:
                    answer.attempts[-1].send()
            for index, one in enumerate(world.relays):
                if takers >> index & 1:
                    one.take()
            world.pass_time(seconds / count)
        for pulled in world.pulls:
            pulled.ask()

    @precondition(lambda self: self.world.answers)
    @rule(which=WHICH)
    def complete(self, which: int) -> None:
        self._answer(which).attempts[-1].complete()

    @precondition(lambda self: self.world.answers)
    @rule(which=WHICH, caller=st.integers(0, 1))
    def begin_a_later_attempt(self, which: int, caller: int) -> None:
        answer, process = self._answer(which), self.world.callers[caller]
        if process.runs and not answer.closed and len(answer.attempts) < 3:
            answer.try_again(process)

    @precondition(lambda self: len(self.world.pulls) < 3)
    @rule(which=WHICH, size_bytes=BODY_BYTES)
    def pull(self, which: int, size_bytes: int) -> None:
        if (pair := self._pair(which)) is not None:
            self.world.pulls.append(Pulled(*pair, size_bytes))
            self.world.pulls[-1].ask()

    @precondition(lambda self: 0 < len(self.world.pulls) < 7)
    @rule(which=WHICH, caller=st.integers(0, 1))
    def pull_the_same_body_again(self, which: int, caller: int) -> None:
        earlier = self.world.pulls[which % len(self.world.pulls)]
        process = self.world.callers[caller]
        if earlier.door.runs and process.runs:
            again = Pulled(earlier.door, process, earlier.size_bytes, earlier)
            self.world.pulls.append(again)
            again.ask()

    @precondition(lambda self: len(self.world.answers) > 3)
    @rule(which=WHICH)
    def a_client_leaves(self, which: int) -> None:
        answer = self._answer(which)
        if answer.door.runs:
            answer.close()

    @rule(weather=st.sampled_from([Weather(), Weather(DROP, REPEAT, DELAY_S), Weather(0.02)]))
    def the_weather_changes(self, weather: Weather) -> None:
        self.world.broker.weather = weather

    @rule(what=st.sampled_from(["cut off", "freeze", "broker"]), which=WHICH, seconds=SECONDS)
    def something_is_away_for_a_time(self, what: str, which: int, seconds: float) -> None:
        """Three times out of four for less than 3 s."""
        bus, broker = self.world.processes[which & 3].bus, self.world.broker
        if what == "cut off":
            bus.isolated = True
        elif what == "freeze":
            bus.freeze()
        else:
            broker.stop()
        self.answers_go_on(which, which >> 4, 3, 2 * seconds)
        self.world.mend()

    @precondition(lambda self: len(self.world.answers) > 3)
    @rule(which=st.sampled_from([0, 2]))
    def a_process_is_killed(self, which: int) -> None:
        self.world.processes[which].kill()  # the other one of its service stays

    @invariant()
    def each_answer_is_a_prefix_with_one_terminal(self) -> None:
        for one in self.world.relays:
            one.check()

    @invariant()
    def memory_is_bounded(self) -> None:
        for process in self.world.processes:
            totals = process.hub.statistics()
            ends = totals.sending + totals.receiving
            assert totals.kept_bytes + totals.held_bytes <= ends * (
                2 * relay.WINDOW_BYTES + FRAME_BYTES
            )
            assert totals.overruns == 0

    def teardown(self) -> None:
        try:
            self.world.broker.weather = Weather()
            self._all_end()
            self._nothing_is_left()
        finally:
            self.world.end()

    def _answer(self, which: int) -> Answer:
        return self.world.answers[which % len(self.world.answers)]

    def _pair(self, which: int) -> tuple[Process, Process] | None:
        """A door and a caller, if both are at work."""
        door, caller = self.world.pair(which)
        return (door, caller) if door.runs and caller.runs else None

    def _all_end(self) -> None:
        waiting: list[Answer | Pulled] = []
        for _ in range(int(HEALED_S)):
            waiting = [one for one in self.world.answers if not one.closed and not one.door.dead]
            waiting += [one for one in self.world.pulls if not one.caller.dead]
            waiting = [one for one in waiting if not one.ended]
            for answer in self.world.answers:
                answer.attempts[-1].send()
                for attempt in answer.attempts:
                    attempt.complete()
            for pulled in self.world.pulls:
                pulled.ask()
            for one in waiting:
                one.take()
            self.world.pass_time(1.0)
            self.each_answer_is_a_prefix_with_one_terminal()
        for one in waiting:
            # Of an attempt that has died nothing may have come: its router begins another.
            assert isinstance(one, Answer), one.receiver
            assert one.receiver.next_seq == 0
            one.receiver.cut("", "deadline_exceeded")
            one.take()
            assert one.ended

    def _nothing_is_left(self) -> None:
        for one in self.world.relays:
            one.close()
        self.world.pass_time(FORGOTTEN_S)
        for process in self.world.processes:
            left = process.left()
            assert process.dead or not any(left.values()), left


def test_hubs_over_a_bad_broker_end_each_answer_once_and_forget_all() -> None:
    run_state_machine_as_test(Hubs, settings=SETTINGS)
