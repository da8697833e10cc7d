"""Breaks things in an order that a seed decides, writes down when, and leaves nothing broken.

Actions are a name, a weight and callables: `Action("rst", proxy.reset, weight=3)`. What lasts a
while is an outage: `Outage(nats.kill, nats.start, 0.5, blocking=True).action("broker")`.

    async with Nemesis(7, actions, every_s=2.0, history=history).running():
        ...                                          # requests
"""

import asyncio
import inspect
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, NamedTuple

from tests.support.history import History, Strike

HEAL_WITHIN_S = 30.0
"""For all that is broken at the end; then the healing itself has failed."""


class Action(NamedTuple):
    """One way to break something."""

    name: str
    strike: Callable[[], Any]
    """Breaks it, awaited if it's a coroutine; may also take its time and repair it."""
    weight: float = 1.0
    heal: Callable[[], Any] | None = None
    """Makes it good, whether it's broken or not; run at the end if it has ever struck."""


class Outage:
    """Something that is broken for a while: a stopped process, a dead broker, a lossy link.

    Args:
        begin: Breaks it.
        end: Repairs it; runs once for each `begin`, even when the strike is cancelled.
        for_s: In between.
        blocking: `begin` and `end` take their time and belong on a thread.
    """

    def __init__(
        self,
        begin: Callable[[], Any],
        end: Callable[[], Any],
        for_s: float,
        *,
        blocking: bool = False,
    ) -> None:
        self._begin = begin
        self._end = end
        self._for_s = for_s
        self._blocking = blocking
        self._broken = False
        self._breaking: asyncio.Task[None] | None = None
        self._healing: asyncio.Task[None] | None = None

    async def strike(self) -> None:
        """Breaks it for its time."""
        self._broken = True
        self._breaking = asyncio.ensure_future(self._run(self._begin))
        await asyncio.shield(self._breaking)
        await asyncio.sleep(self._for_s)
        await self.heal()

    async def heal(self) -> None:
        """Repairs it unless it is whole; a repair that has begun is finished, not repeated."""
        if self._healing is None and self._broken:
            self._healing = asyncio.ensure_future(self._repair())
        if self._healing is not None:
            await asyncio.shield(self._healing)

    async def _repair(self) -> None:
        assert self._breaking is not None
        try:
            await asyncio.wait({self._breaking})  # on a thread it outlives its strike
            await self._run(self._end)
            self._broken = False
        finally:
            self._healing = None

    async def _run(self, step: Callable[[], Any]) -> None:
        if self._blocking:
            await asyncio.to_thread(step)
        else:
            await _call(step)

    def action(self, name: str, weight: float = 1.0) -> Action:
        """As an action of the nemesis."""
        return Action(name, self.strike, weight, self.heal)


class Nemesis:
    """Strikes one after the other; the seed alone decides which and after which pause.

    Args:
        seed: The same seed and actions make the same schedule.
        actions: What it may do.
        every_s: The pause before a strike is 0.5 to 1.5 times this.
        history: Where strikes are written down.
        strikes: How many at most; none: until the end of the block.
    """

    def __init__(
        self,
        seed: int,
        actions: Sequence[Action],
        every_s: float,
        *,
        history: History,
        strikes: int | None = None,
    ) -> None:
        self._seed = seed
        self._actions = tuple(actions)
        self._every_s = every_s
        self._history = history
        self._limit = strikes
        self._struck: dict[str, Action] = {}

    def schedule(self) -> Iterator[tuple[float, Action]]:
        """Pauses in seconds and what follows each, without end unless `strikes` was given."""
        rng = random.Random(self._seed)
        weights = [action.weight for action in self._actions]
        drawn = 0
        while self._limit is None or drawn < self._limit:
            drawn += 1
            pause_s = self._every_s * rng.uniform(0.5, 1.5)
            yield pause_s, rng.choices(self._actions, weights)[0]

    async def run(self) -> None:
        """Strikes by the schedule; heals at its end, when it is cancelled and when a strike fails.

        Raises:
            ExceptionGroup: Healing failed.
        """
        try:
            for pause_s, action in self.schedule():
                await asyncio.sleep(pause_s)
                await self._strike(action)
        finally:
            await self.heal()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Nemesis"]:
        """Strikes beside the block; all is healed when it is left.

        Raises:
            Exception: What a strike raised.
        """
        task = asyncio.ensure_future(self.run())
        try:
            yield self
        finally:
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended

    async def heal(self) -> None:
        """Heals whatever was struck, the last first; one that fails doesn't keep the others."""
        failures: list[Exception] = []
        for action in reversed(list(self._struck.values())):
            if action.heal is not None:
                try:
                    async with asyncio.timeout(HEAL_WITHIN_S):
                        await _call(action.heal)
                except Exception as error:  # noqa: BLE001 - raised below, after the others
                    failures.append(error)
                    self._note(action.name, "fails", error)
                else:
                    self._note(action.name, "heals")
        self._struck.clear()
        if failures:
            raise ExceptionGroup("not healed", failures)

    async def _strike(self, action: Action) -> None:
        self._struck.pop(action.name, None)
        self._struck[action.name] = action
        self._note(action.name, "begins")
        try:
            await _call(action.strike)
        except Exception as error:
            self._note(action.name, "fails", error)
            raise
        self._note(action.name, "ends")

    def _note(
        self,
        name: str,
        phase: Literal["begins", "ends", "heals", "fails"],
        error: Exception | None = None,
    ) -> None:
        cause = type(error).__name__ if error else ""
        self._history.add(Strike(name=name, at_s=time.monotonic(), phase=phase, cause=cause))


async def _call(step: Callable[[], Any]) -> None:
    if inspect.isawaitable(result := step()):
        await result
