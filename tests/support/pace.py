"""How long something takes, without the time in which the machine ran others in place of us."""

import asyncio
import time
from types import TracebackType
from typing import Self

LOOK_EVERY_S = 0.01
STOOD_STILL_S = 0.5
"""After standing still for so long what came lies unread: the time is taken anew."""


class Pace:
    """A bound in time is claimed of a process that is run; what it does itself excuses nothing.

    with Pace() as pace:
        ...
    assert pace.elapsed_s < 2
    """

    def __init__(self) -> None:
        self.longest_lost_s = 0.0
        """The longest that others were run in one go."""
        self._began_s = self._looked_at_s = self._used_s = self._lost_s = 0.0
        self._next: asyncio.TimerHandle | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds from the block's begin until now, or until its end."""
        if self._next is not None:
            self._look()
        return self._looked_at_s - self._began_s - self._lost_s

    def __enter__(self) -> Self:
        self._began_s = self._looked_at_s = time.monotonic()
        self._used_s = time.process_time()
        self._look_again()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._look()
        assert self._next is not None
        self._next.cancel()
        self._next = None

    def _look(self) -> None:
        now_s, used_s = time.monotonic(), time.process_time()
        lost_s = now_s - self._looked_at_s - (used_s - self._used_s) - LOOK_EVERY_S
        self._looked_at_s, self._used_s = now_s, used_s
        self.longest_lost_s = max(self.longest_lost_s, lost_s)
        self._lost_s += max(0.0, lost_s)
        if lost_s > STOOD_STILL_S:
            self._began_s, self._lost_s = now_s, 0.0

    def _look_again(self) -> None:
        self._look()
        self._next = asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look_again)
