"""Looks at the stream's end, and says when the ledger falls behind it and has caught up."""

import asyncio
import time

from droveway.contracts.events import LedgerBehind, LedgerCaughtUp
from droveway.metrics.feed import UsageFeed
from droveway.runtime.events import Events

EVERY_S = 2.0


class LagWatch:
    """The ledger is behind when the oldest row that it lacks has waited for `behind_s`."""

    def __init__(self, feed: UsageFeed, events: Events, behind_s: float) -> None:
        self._feed = feed
        self._events = events
        self._behind_s = behind_s
        self._goal = 0
        self._goal_s = 0.0
        self._is_behind = False

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            await self._feed.stream.look()
            self.judge(time.monotonic())
            await asyncio.sleep(EVERY_S)

    def judge(self, now_s: float) -> None:
        """Sets a goal at the stream's end, and looks whether it is reached in time."""
        if self._feed.position >= self._goal:
            if self._is_behind:
                self._is_behind = False
                self._events.tell(LedgerCaughtUp())
            self._goal, self._goal_s = self._feed.stream.last_sequence, now_s
        elif not self._is_behind and now_s - self._goal_s >= self._behind_s:
            self._is_behind = True
            self._events.tell(LedgerBehind(rows=self._feed.lag_rows))
