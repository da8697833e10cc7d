"""Rows of USAGE as they are stored, each once and in order, however the broker comes and goes.

A row that is heard is only a reason to look: rows are read by their place in the stream, so that
none is missed while the connection is away, and a slow reader holds nobody back.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime

from droveway.contracts.envelope import subject
from droveway.contracts.jetstream import USAGE
from droveway.contracts.usage import Row, rows_of
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import DirectGet, Page, Stored, reading
from droveway.runtime.errors import BusError

PAGE_MESSAGES = 500
PAGE_BYTES = 1024 * 1024
CHECK_EVERY_S = 1.0
"""It looks this often even if nothing was heard."""
GATHER_S = 0.03
"""A row is heard a moment before it is stored; what comes meanwhile is read with it."""
AGAIN_S = 0.5
READ_WITHIN_S = 2.0

OnRow = Callable[[Row, int], None]
"""(row, Unix milliseconds at which the broker stored it)."""


class LiveRows:
    """Follows the rows of one tenant or of all.

    Args:
        bus: Connected as the user `operator`.
        take: Gets each row.
        tell: Gets a line when the stream doesn't answer, and when it does again.
        tenant: Whose; empty: all.
    """

    def __init__(
        self, bus: Bus, take: OnRow, tell: Callable[[str], None], tenant: str = ""
    ) -> None:
        self._bus = bus
        self._take = take
        self._tell = tell
        self._pattern = subject("usage", tenant) if tenant else f"{subject('usage')}.*"
        self._wake = asyncio.Event()
        self._next: int | datetime | None = None
        self._away = self._verify = False
        self.caught_up = asyncio.Event()
        """All that stood in the stream at the start was taken."""

    async def run(self, since: datetime | None = None) -> None:
        """Takes what is stored from `since` on, else what comes from now on, until cancelled."""
        self._next = since
        nudges = await self._bus.subscribe(self._pattern, lambda _data, _reply: self._wake.set())
        forget = self._bus.on_reconnected(self._reconnected)
        try:
            async with reading(self._bus, USAGE, READ_WITHIN_S) as reader:
                while True:
                    await self._pause(await self._look(reader))
        finally:
            forget()
            nudges.close()

    async def _look(self, reader: DirectGet) -> float:
        """Takes all that is there; returns the seconds until the next look."""
        try:
            await self._begin(reader)
            await self._catch_up(reader)
        except BusError as error:
            if not self._away:
                self._tell(f"waiting for NATS: {error}")
            self._away = True
            return AGAIN_S
        if self._away:
            self._tell("NATS is back")
        self._away = False
        self.caught_up.set()
        return CHECK_EVERY_S

    async def _begin(self, reader: DirectGet) -> None:
        """Finds the place in the stream at the start, and in one that was made anew."""
        if self._next is None:
            last = await reader.last(self._pattern)
            self._next = 1 if last is None else last.sequence + 1
        elif self._verify and isinstance(self._next, int):
            last = await reader.last(self._pattern)
            if (0 if last is None else last.sequence) < self._next - 1:
                self._next = 1
        self._verify = False

    async def _catch_up(self, reader: DirectGet) -> None:
        page = Page([], complete=False)
        while not page.complete:
            assert self._next is not None
            page = await reader.page(self._pattern, self._next, PAGE_MESSAGES, PAGE_BYTES)
            for message in page.messages:
                self._next = message.sequence + 1
                # A row of a later version is not for this reader.
                for row in rows_of(message.payload, lambda _: None):
                    self._take(row, stored_ms(message))
            if not page.messages:
                return

    async def _pause(self, wait_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        self._wake.clear()
        await asyncio.sleep(GATHER_S)

    def _reconnected(self) -> None:
        self._verify = True
        self._wake.set()


def stored_ms(message: Stored) -> int:
    """When the broker stored it, in Unix milliseconds."""
    return int(datetime.fromisoformat(f"{message.stored_at[:23]}+00:00").timestamp() * 1000)
