"""One answer in frames to one client on the bus: its sender, its inbox, how its client fares."""

import secrets
import time
from collections.abc import Callable

from droveway.contracts import relay
from droveway.gateway.doors.client_frames import FrameCoder
from droveway.runtime.bus import Bus
from droveway.runtime.relay import Sender

SETTLE_BYTES = 512 * 1024
"""Without credit: after so many bytes the broker must have read them before more are sent."""


class ClientRelay:
    """One answer in frames to one client."""

    def __init__(
        self,
        bus: Bus,
        key_id: str,
        reply: str,
        coder: FrameCoder,
        on_nobody: "Callable[[ClientRelay], None]",
        *,
        credit: bool,
    ) -> None:
        self.relay_id = secrets.token_bytes(16)
        self.key_id = key_id
        self.coder = coder
        self.credit = credit
        self.on_left: Callable[[], None] = lambda: None
        """Called once, when the client has gone, stands still or has cancelled."""
        self.progress_s = time.monotonic()
        """When the client last took frames, or none waited for it."""
        self.resent_s = 0.0
        self.away_since_s = self.away_seen_s = 0.0
        """When nobody listened for the first and for the last time; 0 once it is back."""
        self.forget_at_s = 0.0
        self.lingering_bytes = 0
        """What it counts for among the answers that have ended."""
        self._bus = bus
        self._reply = reply
        self._unsettled_bytes = 0
        self._inbox = bus.open_inbox(lambda _payload: None, lambda: on_nobody(self))
        self.sender = Sender(
            self.relay_id, key_id, self.publish, relay.WINDOW_BYTES,
            flow_control=credit, encode=coder,
        )  # fmt: skip

    def publish(self, payload: bytes) -> None:
        """One frame; where nobody listens the broker says so.

        Raises:
            BusError: The bus doesn't take it.
        """
        self._unsettled_bytes += len(payload)
        self._bus.publish(self._reply, payload, self._inbox.subject)

    async def send(self, events: tuple[bytes, ...]) -> None:
        """One chunk, at the pace of the client's credit; without credit at the broker's.

        Raises:
            RelayCut: The client has left.
        """
        await self.sender.send(events)
        if not self.credit and self._unsettled_bytes > SETTLE_BYTES:
            self._unsettled_bytes = 0
            await self._bus.settle()

    def on_credit(self, next_seq: int, limit_bytes: int) -> None:
        """The client has taken frames or allows more; one that does neither stands still."""
        kept_bytes = self.sender.kept_bytes
        self.sender.on_credit(next_seq, limit_bytes)
        if self.sender.kept_bytes < kept_bytes or not self.sender.blocked:
            self.progress_s = time.monotonic()

    def close(self) -> None:
        """Nobody is waited for any more."""
        self._inbox.close()
