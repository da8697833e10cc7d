"""Providers as the caller holds them: transport, secrets, and how many calls run."""

import logging
from contextlib import AsyncExitStack
from typing import NamedTuple
from urllib.parse import urlsplit

from droveway.caller.credentials import Secret, resolve
from droveway.caller.transport import TransportSettings, UpstreamTransport
from droveway.contracts.config import Config, Provider
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
        self.in_flight = 0
        self.secrets: dict[str, Secret] = {
            credential.id: resolve(provider, credential) for credential in provider.credentials
        }

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for spans."""
        parts = urlsplit(self.provider.base_url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def full(self) -> bool:
        """Whether the bound on calls is reached."""
        return self.in_flight >= self.provider.max_in_flight

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
    """The providers of this caller's pool; replaced one by one when the configuration changes."""

    def __init__(self, pool: str, ca_file: str, stack: AsyncExitStack) -> None:
        self._pool = pool
        self._ca_file = ca_file
        self._stack = stack
        self._known: dict[str, Upstream] = {}

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
        fresh: dict[str, Upstream] = {}
        for provider in config.providers:
            if provider.pool != self._pool:
                continue
            known = self._known.get(provider.id)
            if known is not None and known.provider == provider:
                fresh[provider.id] = known
                continue
            transport = UpstreamTransport(self._settings(provider))
            upstream = Upstream(provider, transport)
            await self._stack.enter_async_context(transport)
            fresh[provider.id] = upstream
        if not fresh:
            log_event(log, "pool_without_providers", level=logging.WARNING, pool=self._pool)
        self._known = fresh

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
