"""Providers as the caller holds them: transport, secrets, and how many calls run."""

import logging
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from droveway.caller.credentials import Secret, resolve
from droveway.caller.transport import TransportSettings, UpstreamTransport
from droveway.contracts.config import Config, Provider
from droveway.dialects.models import ModelTable
from droveway.dialects.quirks import quirk_of
from droveway.otel.logs import log_event

log = logging.getLogger(__name__)


class UpstreamStatistics(NamedTuple):
    """A snapshot for gauges."""

    in_flight: int
    limit: int
    connections_open: int
    connections_waiting: int


class Upstream:
    """One provider: how to reach it and with which secrets."""

    def __init__(self, provider: Provider, transport: UpstreamTransport) -> None:
        self.provider = provider
        self.transport = transport
        self.quirk = quirk_of(provider)
        self.models = ModelTable()
        """What is known of its models; the configuration's own words go first."""
        self.in_flight = 0
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
        await self.transport.__aexit__(None, None, None)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for spans."""
        parts = urlsplit(self.provider.base_url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def full(self) -> bool:
        """Whether the bound on calls is reached."""
        return self.free <= 0

    @property
    def free(self) -> int:
        """Calls that may be begun now."""
        return self.provider.max_in_flight - self.in_flight

    def statistics(self) -> UpstreamStatistics:
        """A snapshot for gauges."""
        pool = self.transport.statistics()
        return UpstreamStatistics(
            in_flight=self.in_flight,
            limit=self.provider.max_in_flight,
            connections_open=pool.open,
            connections_waiting=pool.waiting,
        )


class Upstreams:
    """The providers of this caller's pool; leaving the block closes them all."""

    def __init__(self, pool: str, ca_file: str) -> None:
        self._pool = pool
        self._ca_file = ca_file
        self._known: dict[str, Upstream] = {}
        self.retired: list[Upstream] = []
        """Replaced or removed; each is closed once its last call has ended."""

    async def __aenter__(self) -> Self:
        """Nothing is open before `configure`."""
        return self

    async def __aexit__(self, *_details: object) -> None:
        """Closes every connection, also those in use."""
        for upstream in (*self._known.values(), *self.retired):
            await upstream.close()

    def get(self, provider_id: str) -> Upstream | None:
        """The provider, when it is one of this pool's."""
        return self._known.get(provider_id)

    def all(self) -> list[Upstream]:
        """All providers, for gauges."""
        return list(self._known.values())

    async def configure(self, config: Config) -> None:
        """Opens new and changed providers; calls under way end on the transports they began on.

        Raises:
            SettingsError: A credential can't be resolved; nothing has changed then.
        """
        mine = [provider for provider in config.providers if provider.pool == self._pool]
        fresh: dict[str, Upstream] = {}
        for provider in mine:
            known = self._known.get(provider.id)
            if known is None or known.provider != provider:
                known = Upstream(provider, UpstreamTransport(self._settings(provider)))
            fresh[provider.id] = known
        models = ModelTable(config.models, config.aliases)
        for upstream in fresh.values():
            upstream.models = models
            await upstream.open()
        if not fresh:
            log_event(log, "pool_without_providers", level=logging.WARNING, pool=self._pool)
        self.retired += [old for name, old in self._known.items() if fresh.get(name) is not old]
        self._known = fresh
        await self.close_retired()

    async def close_retired(self) -> None:
        """Closes what was replaced and has no call left."""
        for upstream in [old for old in self.retired if not old.in_flight]:
            self.retired.remove(upstream)
            await upstream.close()

    def _settings(self, provider: Provider) -> TransportSettings:
        return TransportSettings(
            base_url=provider.base_url,
            allow_http=provider.allow_http,
            ca_file=self._ca_file,
            max_connections=provider.max_in_flight,
            max_idle_connections=provider.max_keepalive,
        )


def check_credentials(config: Config, pool: str) -> None:
    """Resolves every credential of the pool once.

    Raises:
        SettingsError: One can't be resolved.
    """
    for provider in config.providers:
        if provider.pool == pool:
            for credential in provider.credentials:
                resolve(provider, credential)
