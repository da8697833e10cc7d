"""Was this process stopped a moment ago? Then what it reads now may be long out of date."""

import asyncio
import time

_TICK_S = 0.1
_BACKLOG_S = 0.2
"""How long after a stop messages are read that had come during it."""


class StallGuard:
    """Notices that the event loop stood still for longer than `limit_s` seconds.

    Whoever sends a message to a frozen process looks elsewhere in the end; run after the thaw, it
    would run twice. Such messages are dropped: their senders have asked again or given up.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._ticked_s = time.monotonic()
        self._suspect_until_s = 0.0
        self.dropped = 0

    @property
    def suspect(self) -> bool:
        """Whether a message that is read now may have waited for longer than the limit."""
        now_s = time.monotonic()
        return now_s - self._ticked_s > self._limit_s or now_s < self._suspect_until_s

    async def run(self) -> None:
        """Ticks until cancelled."""
        while True:
            await asyncio.sleep(_TICK_S)
            now_s = time.monotonic()
            if now_s - self._ticked_s > self._limit_s:
                self._suspect_until_s = now_s + _BACKLOG_S
            self._ticked_s = now_s
