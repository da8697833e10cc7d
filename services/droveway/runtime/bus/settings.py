"""How a process meets the broker, and what it shows of it."""

from typing import NamedTuple

import msgspec


class BusSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a process meets the broker."""

    servers: tuple[str, ...]
    nkey_file: str = ""
    """File with an NKey seed."""
    credentials_file: str = ""
    """A `.creds` file: user JWT and NKey seed."""
    user: str = ""
    password: str = ""
    token: str = ""
    tls_ca_file: str = ""
    """PEM certificates of those who may sign the server's; empty: the system's."""
    tls_cert_file: str = ""
    """PEM certificate that the process shows the server."""
    tls_key_file: str = ""
    inbox_prefix: str = ""
    """Reply subjects are `<prefix>.<instance>.<token>`; empty: `_INBOX.<service>`."""
    max_unsent_bytes: int = 8 * 1024 * 1024
    """Bytes that may wait for the broker; beyond it publishing fails as `Overflow`."""
    connect_timeout_s: int = 2
    """One attempt to connect, and one confirmation by the broker."""
    connect_within_s: float = 30.0
    """How long a starting process looks for a broker; then it ends."""
    reconnect_base_s: float = 0.2
    """The first wait before connecting again is random up to this; the bound doubles each time."""
    reconnect_cap_s: float = 1.5
    """The longest random wait before connecting again; it spreads the clients of a broker."""
    close_within_s: float = 2.0
    """How long an ending process waits until the broker has read what was sent."""
    beat_every_s: float = 1.0
    """How often the process makes sure that the broker hears it and it hears the broker."""
    echoes: bool = True
    """A beat is a message to oneself, which proves the subscription as well; off: it is a PING, for
    a user that may not publish to its own inboxes."""
    deaf_after_s: float = 3.0
    """Connected and no beat for this long: the connection is made anew."""
    give_up_after_s: float = 60.0
    """No beat for this long: `watch` raises, and the process ends."""

    def __repr__(self) -> str:
        # Not the fields: password, token, and the user info of addresses are secrets.
        return f"BusSettings({len(self.servers)} servers)"

    def inbox_base(self, service: str, instance: str) -> str:
        """What all reply subjects of a process begin with, the last dot included."""
        return f"{self.inbox_prefix or f'_INBOX.{service}'}.{instance}."


class BusStatistics(NamedTuple):
    """A snapshot for gauges."""

    connected: bool
    last_beat_s: float
    """Seconds since the process last heard its own beat, or the broker's PONG to it."""
    unsent_bytes: int
    waiting_answers: int
    open_inboxes: int
    reconnects: int
    malformed: int
    """Messages whose subject wasn't UTF-8; dropped."""
