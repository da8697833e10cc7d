"""A run's state: what is up, how long to measure, and how one load is taken."""

import time
from collections.abc import Callable
from typing import NamedTuple

from tests.bench import system
from tests.bench.children import Children, RunFailed, run_load
from tests.bench.load import Load, Outcome
from tests.bench.targets import Deployed, Target
from tests.bench.yardstick import Messages

_WARM_UP_IN_FLIGHT = 32
_WARM_UP_S = 3.0


class Sample(NamedTuple):
    """One load on one target."""

    outcome: Outcome
    cpu_us: dict[str, float]
    """CPU time during the load, by service."""


class World:
    """What measures work with."""

    def __init__(self, children: Children, messages: Messages, rounds: int, scale: float) -> None:
        self.children = children
        self.messages = messages
        self.rounds = rounds
        self.scale = scale
        self.upstream_pid = 0
        self.targets: list[Target] = []
        self.deployed: Deployed | None = None
        self.notes: list[str] = []
        self.idle_kib: dict[str, dict[str, int]] = {}
        self._until_s = 0.0

    def begin(self, limit_s: float) -> None:
        """All is up: warms every target up; `limit_s` after that, no further load is taken.

        A just-in-time compiler needs thousands of requests, first connections cost more than kept
        ones, and modules are imported late: none of that is what's to be measured.
        """
        self.idle_kib = {target.name: memory_kib(target) for target in self.through}
        self._until_s = time.monotonic() + limit_s
        for target in self.through:
            self.load(target, "mock", connections=_WARM_UP_IN_FLIGHT, duration_s=_WARM_UP_S)
            self.load(
                target,
                "mock-c200-p0",
                stream=True,
                connections=_WARM_UP_IN_FLIGHT,
                duration_s=_WARM_UP_S,
            )
        self._until_s = time.monotonic() + limit_s

    @property
    def direct(self) -> Target:
        """The mock itself."""
        return self.targets[0]

    @property
    def through(self) -> list[Target]:
        """All gateways."""
        return self.targets[1:]

    def load(
        self,
        target: Target,
        model: str,
        *,
        connections: int,
        duration_s: float,
        stream: bool = False,
        per_s: float = 0,
        warm_up_s: float = 0.4,
        ramp_s: float = 0,
        meanwhile: tuple[float, Callable[[], None]] | None = None,
    ) -> Sample | None:
        """Runs one load; None when the run's time is over, or the target fails.

        A failure is noted, and doesn't end the run: a peer's bug mustn't cost the others' figures.
        `meanwhile` is called once, so many seconds after the start.
        """
        load = Load(
            port=target.port,
            request=target.request(model, stream=stream),
            connections=connections,
            duration_s=max(0.5, duration_s * self.scale),
            per_s=per_s,
            warm_up_s=warm_up_s,
            ramp_s=ramp_s,
        )
        if time.monotonic() + load.warm_up_s + load.duration_s > self._until_s:
            self.note(f"time was over before {model}, {connections} in flight, {target.name}")
            return None
        before = cpu(target)
        try:
            outcome = run_load(load, meanwhile)
        except RunFailed as error:
            self.note(f"{target.name}, {model}, {connections} in flight: {error}")
            return None
        after = cpu(target)
        return Sample(outcome, {name: after[name] - before[name] for name in before})

    def note(self, text: str) -> None:
        """Something that the reader of the figures must know; the same only once."""
        line = " ".join(text.split())[:300]
        if line not in self.notes:
            self.notes.append(line)

    def left_s(self) -> float:
        """Until the run must end."""
        return self._until_s - time.monotonic()


def cpu(target: Target) -> dict[str, float]:
    """CPU time so far in microseconds, by service."""
    return {name: sum(map(system.cpu_us, pids)) for name, pids in target.services.items()}


def memory_kib(target: Target) -> dict[str, int]:
    """PSS now, by service."""
    return {name: sum(map(system.pss_kib, pids)) for name, pids in target.services.items()}
