"""One provider as the caller holds it: transport, secrets, and how many calls run."""

from typing import NamedTuple
from urllib.parse import urlsplit

from droveway.caller.credentials import Secret, resolve
from droveway.caller.transport import UpstreamTransport
from droveway.contracts.config import Provider
from droveway.dialects.quirks import quirk_of


class UpstreamStatistics(NamedTuple):
    """A snapshot for gauges."""

    in_flight: int
    limit: int
    connections_open: int
    connections_waiting: int


class Places:
    """The calls to one provider that run here, under whichever configurations."""

    def __init__(self) -> None:
        self.taken = 0


class Upstream:
    """How to reach it and with which secrets.

    Raises:
        SettingsError: One of its credentials can't be resolved.
    """

    def __init__(self, provider: Provider, transport: UpstreamTransport, places: Places) -> None:
        self.provider = provider
        self.transport = transport
        self.quirk = quirk_of(provider)
        self.in_flight = 0
        """Calls of this entry; one that has none may be closed."""
        self._places = places
        self._open = False
        self.secrets: dict[str, Secret] = {
            credential.id: resolve(provider, credential) for credential in provider.credentials
        }

    async def open(self) -> None:
        """Opens the pool; no connection is made yet. Once is enough."""
        if not self._open:
            self._open = True
            await self.transport.__aenter__()

    async def close(self) -> None:
        """Closes every connection."""
        if self._open:
            self._open = False
            await self.transport.__aexit__(None, None, None)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for spans."""
        parts = urlsplit(self.provider.base_url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    def begin(self) -> None:
        """A call begins."""
        self.in_flight += 1
        self._places.taken += 1

    def end(self) -> None:
        """A call has ended."""
        self.in_flight -= 1
        self._places.taken -= 1

    @property
    def taken(self) -> int:
        """The provider's calls that run, those of its other entries among them."""
        return self._places.taken

    @property
    def full(self) -> bool:
        """Whether the bound on calls is reached."""
        return self.free <= 0

    @property
    def free(self) -> int:
        """Calls that may be begun now."""
        return self.provider.max_in_flight - self.taken

    def statistics(self) -> UpstreamStatistics:
        """A snapshot for gauges."""
        pool = self.transport.statistics() if self._open else None
        return UpstreamStatistics(
            in_flight=self.taken,
            limit=self.provider.max_in_flight,
            connections_open=pool.open if pool else 0,
            connections_waiting=pool.waiting if pool else 0,
        )
