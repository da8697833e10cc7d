"""How targets, credentials and providers stand as this router sees them."""

import itertools
import time
from collections.abc import Callable, Iterator

import msgspec

from droveway.contracts.providers import (
    MAX_SEEN,
    UNNAMED,
    CredentialSeen,
    ProvidersReset,
    ProvidersSeen,
    TargetSeen,
)
from droveway.router.cooldowns import Cooldowns
from droveway.router.health import TargetsHealth
from droveway.router.routes import RoutingTable
from droveway.router.switches import Switches


class Providers:
    """All that decides whether a provider can be asked, together.

    Args:
        router: This one's name.
        table: The routes in force, None before the configuration is read.
        health: How targets fare.
        cooldowns: Which credentials are spared.
        switches: What is off.
    """

    def __init__(
        self, router: str, table: Callable[[], RoutingTable | None], health: TargetsHealth,
        cooldowns: Cooldowns, switches: Switches,
    ) -> None:  # fmt: skip
        self._router = router
        self._table = table
        self._health = health
        self._cooldowns = cooldowns
        self._switches = switches

    def seen(self, provider: str) -> ProvidersSeen:
        """What this router sees of a provider, of all where it is empty."""

        def meant(one: str) -> bool:
            return provider in ("", one)

        targets = (one for one in self._targets() if meant(one.provider))
        cooling = (one for one in self._cooling() if meant(one.provider))
        return ProvidersSeen(
            router=self._router,
            targets=tuple(itertools.islice(targets, MAX_SEEN)),
            credentials=tuple(itertools.islice(cooling, MAX_SEEN)),
        )

    def up(self) -> Iterator[tuple[str, bool]]:
        """Whether each provider can be asked now.

        Not while it is off, or all its tried targets are left alone, or its credentials spared.
        """
        table = self._table()
        for provider, credentials in table.credentials() if table is not None else ():
            spared = self._cooldowns.spares_all(provider, credentials)
            off = self._switches.all_off(provider)
            yield provider, not (off or spared or self._health.opened(provider))

    def reset(self, asked: ProvidersReset) -> None:
        """Breakers close, and of whole providers cooldowns end; callers hear it, too."""
        self._health.reset(asked.provider, asked.model)
        if not asked.model:
            self._cooldowns.reset(asked.provider)

    def _targets(self) -> Iterator[TargetSeen]:
        """Those that were tried, then those of routes that weren't yet."""
        tried: set[tuple[str, str]] = set()
        for one in self._health.seen():
            tried.add((one.provider, one.model))
            yield self._switched(one)
        table = self._table()
        providers = {provider for provider, _ in tried}
        for provider, model in table.targets() if table is not None else ():
            known = provider in providers if not model else (provider, model) in tried
            if not known:
                yield self._switched(TargetSeen(provider=provider, model=model or UNNAMED))

    def _switched(self, one: TargetSeen) -> TargetSeen:
        if not self._switches.off(one.provider, one.model):
            return one
        return msgspec.structs.replace(one, disabled=True)

    def _cooling(self) -> Iterator[CredentialSeen]:
        now_s = time.monotonic()
        for (provider, credential), one in self._cooldowns.cooling(now_s).items():
            yield CredentialSeen(
                provider=provider,
                credential=credential,
                cooldown_ms=int(1000 * (one.until_s - now_s)),
                why=one.why,
            )
