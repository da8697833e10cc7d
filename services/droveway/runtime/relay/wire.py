"""What relays need of a bus: so little that a test can lose, repeat and delay all of it."""

from collections.abc import Callable
from typing import Protocol


class OpenInbox(Protocol):
    """One reply subject, until closed."""

    subject: str

    def close(self) -> None:
        """Stops listening; late messages are dropped."""


class WireStatistics(Protocol):
    """How the connection fares."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker at all."""

    @property
    def last_beat_s(self) -> float:
        """Seconds since the process last heard itself through the broker."""

    @property
    def reconnects(self) -> int:
        """Connections made after the first."""


class Wire(Protocol):
    """A process's connection as relays see it; `Bus` is one."""

    instance: str

    @property
    def hears_itself(self) -> bool:
        """Whether the process's own beat came back lately."""

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Sends now or raises a `BusError`."""

    def open_inbox(
        self, on_payload: Callable[[bytes], None], on_no_responders: Callable[[], None]
    ) -> OpenInbox:
        """A new reply subject."""

    async def subscribe(self, subject: str, on_message: Callable[[bytes, str], None]) -> object:
        """Calls `on_message` with (payload, reply subject) of each message from now on."""

    def statistics(self) -> WireStatistics:
        """A snapshot."""
