"""The process hears the broker, as a rule itself through it, or leaves the connection, or ends."""

import asyncio
import logging
import time

from droveway.otel.logs import log_event
from droveway.runtime.bus.client import DirectClient
from droveway.runtime.bus.settings import BusSettings
from droveway.runtime.errors import BusError, Disconnected

log = logging.getLogger(__name__)

FLOODED = 3
"""A service that reads other messages is given so many times longer until it counts as deaf: its
beat may lie behind them. A client that PINGs is in time for its streams only without."""


class Watchdog:
    """Sends the process a message, or the broker a PING, each second; knows what last came back.

    A client library believes what TCP tells it. A frozen broker, a black hole and a read loop that
    has ended all look like a healthy connection to it; what comes back doesn't lie.
    """

    def __init__(self, client: DirectClient, settings: BusSettings, subject: str) -> None:
        self._client = client
        self._settings = settings
        self._subject = subject
        self._heard_at_s = time.monotonic()
        self.hearing_since_s = self._heard_at_s
        """The monotonic second since which the process hears itself without a gap."""
        self._busy_at_s = 0.0
        """When this loop was last found to have been busy for long: what came lies unread."""
        self._read_messages = 0
        self._read_at_s = 0.0
        """When messages were last found to come: a beat may lie behind them."""
        self._gone = asyncio.Event()

    @property
    def silence_s(self) -> float:
        """Seconds since the last beat came back."""
        return time.monotonic() - self._heard_at_s

    @property
    def hears(self) -> bool:
        """No two beats in a row are missing."""
        return self.silence_s < 2 * self._settings.beat_every_s + 0.5

    def hear(self, _payload: bytes = b"") -> None:
        """A beat came back."""
        now_s = time.monotonic()
        if not self.hears or self._heard_at_s < self._client.connected_at_s:
            self.hearing_since_s = now_s
        self._heard_at_s = now_s

    def beat(self) -> None:
        """Sends one, if there is a connection."""
        try:
            if self._settings.echoes:
                self._client.publish_now(self._subject, b"")
            else:
                self._client.ping_now(self.hear)
        except BusError:
            log_event(log, "watchdog_unsent", level=logging.DEBUG)

    def stop(self) -> None:
        """The client has closed and won't come back by itself."""
        self._gone.set()

    async def run(self) -> None:
        """Beats; reconnects when deaf, gives up after a minute.

        Raises:
            Disconnected: There was no way back; the process should end and be restarted.
        """
        settings = self._settings
        while True:
            self.beat()
            await self._pause()
            silence_s = self.silence_s
            if silence_s > settings.give_up_after_s:
                raise Disconnected(
                    f"nothing heard from NATS for {silence_s:.0f} s, "
                    f"last error: {self._client.last_error or 'none, it was silent'}"
                )
            # A connection that has just come back had no time for a beat yet.
            excused_s = max(self._client.connected_at_s, self._busy_at_s)
            if settings.echoes and silence_s < FLOODED * settings.deaf_after_s:
                excused_s = max(excused_s, self._read_at_s)
            deaf_s = min(silence_s, time.monotonic() - excused_s)
            if deaf_s > settings.deaf_after_s and self._client.is_connected:
                log_event(log, "bus_deaf", level=logging.WARNING, silence_s=round(silence_s, 1))
                await self._client.force_reconnect()

    async def _pause(self) -> None:
        """Until the next beat; notices when this loop had no time for it."""
        settings = self._settings
        due_s = time.monotonic() + settings.beat_every_s
        try:
            async with asyncio.timeout(settings.beat_every_s):
                await self._gone.wait()
            raise Disconnected("the NATS client has closed")
        except TimeoutError:
            now_s = time.monotonic()
            messages = self._client.stats["in_msgs"]
            if messages != self._read_messages:
                self._read_messages, self._read_at_s = messages, now_s
            if now_s - due_s > settings.deaf_after_s / 2:
                self._busy_at_s = now_s
