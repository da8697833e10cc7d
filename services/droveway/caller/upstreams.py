"""Providers of this caller's pool, by the configurations that requests are routed by."""

import logging
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple, Self

from droveway.caller.arrivals import Arrivals
from droveway.caller.proxies import resolve_proxy
from droveway.caller.transport import TransportSettings, UpstreamTransport
from droveway.caller.upstream import Places, Upstream
from droveway.contracts.config import Config, Provider
from droveway.contracts.configuration import ConfigVersion
from droveway.contracts.dispatch import Target
from droveway.dialects.models import ModelTable
from droveway.otel.logs import log_event
from droveway.runtime.errors import SettingsError

log = logging.getLogger(__name__)

RETIRED_S = 5.0
"""A call that has found its provider may need a moment until it runs."""
KEPT_VERSIONS = 4
"""Configurations whose providers are kept: the present one, and those that routers had before."""


class Known(NamedTuple):
    """What one configuration says."""

    providers: dict[str, Upstream]
    models: ModelTable
    """What is known of models; the configuration's own words go first."""


class Found(NamedTuple):
    """Where an attempt goes."""

    upstream: Upstream
    models: ModelTable
    version: ConfigVersion
    """Of the configuration that says so."""


class UpstreamsStatistics(NamedTuple):
    """A snapshot for gauges."""

    versions: int
    versions_limit: int
    retired: int
    """Providers of earlier configurations whose last calls run."""
    waiting: int
    waiting_limit: int
    expired: int
    """Waits for a configuration that had not come in time."""
    refused_full: int
    """Calls that did not wait for their configuration, since too many did."""


class Upstreams:
    """Adopts configurations, each whole or not at all; leaving the block closes all connections.

    Args:
        pool: Whose providers.
        ca_file: The authorities to trust where a provider names none.
        arrivals: How configurations are waited for.
        retired_s: How long at least one that isn't kept any more stays open.
    """

    def __init__(
        self, pool: str, ca_file: str, arrivals: Arrivals | None = None,
        retired_s: float = RETIRED_S,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._ca_file = ca_file
        self._versions: OrderedDict[ConfigVersion, Known] = OrderedDict()
        self._places: dict[str, Places] = {}
        self._arrivals = arrivals or Arrivals()
        self._retired_s = retired_s
        self.version: ConfigVersion = ""
        """The present configuration's."""
        self._retired: list[tuple[Upstream, float]] = []
        """Of no kept configuration, since when; each is closed once its last call has ended."""

    async def __aenter__(self) -> Self:
        """Nothing is open before the first call."""
        return self

    async def __aexit__(self, *_details: object) -> None:
        """Closes every connection, also those in use."""
        for upstream in (*self.kept(), *(one for one, _ in self._retired)):
            await upstream.close()

    async def find(self, target: Target, version: ConfigVersion) -> Found | None:
        """Where to make a call that was routed by `version`; None: that isn't known here.

        A configuration that its router has already comes here within moments, so it is waited for.
        """
        await self._arrivals.wait_for(version)
        named = version if version in self._versions else self.version
        if (known := self._versions.get(named)) is None:
            return None
        upstream = known.providers.get(target.provider)
        if upstream is None or target.credential not in upstream.secrets:
            return None
        await upstream.open()
        return Found(upstream, known.models, named)

    def all(self) -> list[Upstream]:
        """The present configuration's providers."""
        known = self._versions.get(self.version)
        return [] if known is None else list(known.providers.values())

    def present(self, provider_id: str) -> Upstream | None:
        """A provider as the present configuration has it."""
        known = self._versions.get(self.version)
        return None if known is None else known.providers.get(provider_id)

    def kept(self) -> list[Upstream]:
        """The providers of all kept configurations, each once."""
        return list({id(one): one for one in self._each()}.values())

    def configure(self, config: Config, version: ConfigVersion) -> None:
        """Takes new and changed providers; calls under way end on the transports they began on.

        Raises:
            SettingsError: A credential can't be resolved, say; nothing has changed then.
        """
        mine = [provider for provider in config.providers if provider.pool == self._pool]
        fresh = {provider.id: self._of(provider) for provider in mine}
        if not fresh:
            log_event(log, "pool_without_providers", level=logging.WARNING, pool=self._pool)
        before = self.kept()
        self._versions[version] = Known(fresh, ModelTable(config.models, config.aliases))
        self._versions.move_to_end(version)
        if len(self._versions) > KEPT_VERSIONS:
            gone, _ = self._versions.popitem(last=False)
            self._arrivals.forget(gone)
        kept = {id(one) for one in self._each()}
        now_s = time.monotonic()
        self._retired += [(one, now_s) for one in before if id(one) not in kept]
        self.version = version
        self._arrivals.adopted(version)

    def renew(self, upstream: Upstream) -> None:
        """Further calls begin on a new transport; those under way end on the one they have.

        Raises:
            SettingsError: It can't be made now; nothing has changed then.
        """
        named = upstream.provider.id
        having = [one for one in self._versions.values() if one.providers.get(named) is upstream]
        if not having:
            return
        fresh = self._new(upstream.provider)
        for known in having:
            known.providers[named] = fresh
        self._retired.append((upstream, time.monotonic()))

    async def close_retired(self) -> None:
        """Closes what is kept no longer and has no call left."""
        until_s = time.monotonic() - self._retired_s
        over = [one for one in self._retired if one[1] <= until_s and not one[0].in_flight]
        for one in over:
            self._retired.remove(one)
            await one[0].close()
        held = {one.provider.id for one in (*self._each(), *(old for old, _ in self._retired))}
        self._places = {name: one for name, one in self._places.items() if name in held}

    def statistics(self) -> UpstreamsStatistics:
        """A snapshot for gauges."""
        waits = self._arrivals.statistics()
        return UpstreamsStatistics(
            versions=len(self._versions),
            versions_limit=KEPT_VERSIONS,
            retired=len(self._retired),
            waiting=waits.waiting,
            waiting_limit=waits.limit,
            expired=waits.expired,
            refused_full=waits.refused_full,
        )

    def _each(self) -> Iterable[Upstream]:
        return (one for known in self._versions.values() for one in known.providers.values())

    def _of(self, provider: Provider) -> Upstream:
        """The upstream that is kept of the same provider, or a new one."""
        for known in reversed(self._versions.values()):
            found = known.providers.get(provider.id)
            if found is not None and found.provider == provider:
                return found
        return self._new(provider)

    def _new(self, provider: Provider) -> Upstream:
        try:
            transport = UpstreamTransport(self._settings(provider), resolve_proxy(provider))
        except SettingsError as error:
            raise SettingsError(_placed(provider, str(error))) from None
        return Upstream(provider, transport, self._places.setdefault(provider.id, Places()))

    def _settings(self, provider: Provider) -> TransportSettings:
        return TransportSettings(
            base_url=provider.base_url,
            allow_http=provider.allow_http,
            ca_file=provider.ca_file or self._ca_file,
            max_connections=provider.max_in_flight,
            max_idle_connections=provider.max_keepalive,
            keepalive_s=provider.keepalive_s,
        )


def _placed(provider: Provider, text: str) -> str:
    place = f"providers {provider.id!r}, "
    return text if text.startswith(place) else place + text
