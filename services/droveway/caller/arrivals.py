"""Waiting for a configuration that a router has adopted a moment before this caller does.

Processes adopt one and the same configuration within milliseconds of each other, not at once. A
version that doesn't come, since this caller refused it or follows another file, is waited for only
once: by the calls of that one time.
"""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from droveway.contracts.configuration import ConfigVersion

WITHIN_S = 0.75
"""From the first call on that needs it: routers wait a second for a caller to begin."""
MAX_WAITING = 500
"""Calls; one more goes by the configuration that is in force here."""
_REMEMBERED = 64
"""Versions that were here, or that were waited for."""


class ArrivalStatistics(NamedTuple):
    """A snapshot for gauges."""

    waiting: int
    limit: int
    expired: int
    refused_full: int


class Arrivals:
    """Who waits for which version.

    Args:
        within_s: How long a version is waited for, from the first call on.
        limit: Calls that may wait.
    """

    def __init__(self, within_s: float = WITHIN_S, limit: int = MAX_WAITING) -> None:
        self._within_s = within_s
        self._limit = limit
        self._until_s: OrderedDict[ConfigVersion, float] = OrderedDict()
        """By the loop's clock; 0: it has come, now or earlier."""
        self._adopted = asyncio.Event()
        self._waiting = self._expired = self._refused_full = 0

    def adopted(self, version: ConfigVersion) -> None:
        """It is in force here."""
        self._remember(version, 0.0)
        self._adopted.set()
        self._adopted.clear()

    def forget(self, version: ConfigVersion) -> None:
        """It isn't here any more; when it is brought back it is waited for as any other."""
        self._until_s.pop(version, None)

    async def wait_for(self, version: ConfigVersion) -> None:
        """Returns once `version` is here; at once if it was here before, or hasn't come in time."""
        loop = asyncio.get_running_loop()
        if not version:
            return
        if version not in self._until_s:
            self._remember(version, loop.time() + self._within_s)
        until_s = self._until_s[version]
        if until_s <= loop.time():
            return
        if self._waiting >= self._limit:
            self._refused_full += 1
            return
        self._waiting += 1
        try:
            async with asyncio.timeout_at(until_s):
                while self._until_s.get(version):
                    await self._adopted.wait()
        except TimeoutError:
            self._expired += 1
        finally:
            self._waiting -= 1

    def statistics(self) -> ArrivalStatistics:
        """A snapshot for gauges."""
        return ArrivalStatistics(self._waiting, self._limit, self._expired, self._refused_full)

    def _remember(self, version: ConfigVersion, until_s: float) -> None:
        self._until_s[version] = until_s
        self._until_s.move_to_end(version)
        if len(self._until_s) > _REMEMBERED:
            self._until_s.popitem(last=False)
