"""What the connection tells: lost, back, closed; and who has to know."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from droveway.otel.logs import log_event
from droveway.runtime.bus.client import DirectClient
from droveway.runtime.bus.watchdog import Watchdog
from droveway.runtime.errors import NoAnswer

log = logging.getLogger(__name__)


class Link:
    """The callbacks of the client; whatever a listener raises, the connection goes on."""

    def __init__(self, client: DirectClient, watchdog: Watchdog) -> None:
        self._client = client
        self._watchdog = watchdog
        self.waiting: set[asyncio.Future[Any]] = set()
        """Futures that an answer through this connection would end."""
        self.listeners: list[Callable[[], None]] = []
        """Called after each reconnect."""

    async def on_disconnect(self) -> None:
        """Fails what waits for an answer: it will not come."""
        if not self._client.is_closed:
            log_event(log, "bus_disconnected", level=logging.WARNING)
        for future in list(self.waiting):
            if not future.done():
                future.set_exception(NoAnswer("the connection to NATS was lost"))

    async def on_reconnect(self) -> None:
        """Is ready again as soon as its beat comes back."""
        log_event(log, "bus_reconnected")
        self._watchdog.beat()
        for callback in list(self.listeners):
            try:
                callback()
            except (Exception, asyncio.CancelledError):
                log.exception("reconnect_listener_failed")

    async def on_closed(self) -> None:
        """The client won't come back by itself."""
        self._watchdog.stop()
