"""Follows what operators have changed of routing: the bucket `routing`, by kinds of entries."""

import asyncio
import logging
from collections.abc import Callable

from droveway.contracts.jetstream import ROUTING
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus, KvStatistics, KvWatch, KvWatchSettings

log = logging.getLogger(__name__)

MAX_ORDER_BYTES = 16 * 1024
"""Of one entry."""
WATCH = KvWatchSettings(
    check_every_s=0.5,  # so much a lost nudge may delay an order
    load_every_s=300.0,
    max_value_bytes=MAX_ORDER_BYTES,
)

OnOrder = Callable[[str, bytes | None], None]
"""(name without its prefix, value or None when there is none any more); it mustn't raise."""


class RoutingOrders:
    """One process's view of the bucket; `listen` before `run`."""

    def __init__(self, bus: Bus, settings: KvWatchSettings = WATCH) -> None:
        self._watch = KvWatch(bus, ROUTING, self._on_value, settings)
        self._listeners: dict[str, OnOrder] = {}
        self.statistics: Callable[[], KvStatistics] = self._watch.statistics

    def listen(self, prefix: str, listener: OnOrder) -> None:
        """Calls `listener` with each entry whose name begins with `prefix`, and when it changes."""
        self._listeners[prefix] = listener

    async def run(self) -> None:
        """Follows the bucket until cancelled."""
        await self._watch.run()

    async def until_loaded(self, within_s: float) -> bool:
        """Waits until all entries were told; whether it came so far in time.

        Without them the configuration file holds alone until the bucket is read.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._watch.loaded.wait()
        except TimeoutError:
            log_event(log, "routing_not_loaded", level=logging.WARNING, within_s=within_s)
        return self._watch.loaded.is_set()

    def _on_value(self, name: str, value: bytes | None, _revision: int) -> None:
        for prefix, listener in self._listeners.items():
            if name.startswith(prefix):
                listener(name.removeprefix(prefix), value)
