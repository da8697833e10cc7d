"""Model name to targets: exact names first, then the longest prefix; tiers in order of priority."""

import random
from typing import NamedTuple

from droveway.contracts.config import Config, Route, Tier
from droveway.contracts.dispatch import Target


class Candidate(NamedTuple):
    """One target to try, and what the attempt needs to know."""

    target: Target
    pool: str
    first_token_ms: int
    total_ms: int

    @property
    def label(self) -> str:
        """`provider/model`, as shown to clients."""
        return f"{self.target.provider}/{self.target.model}"


class RoutingTable:
    """One configuration's routes, looked up by model name."""

    def __init__(self, config: Config) -> None:
        self._exact = {r.model: r for r in config.routes if not r.model.endswith("*")}
        self._prefixes = sorted(
            ((r.model[:-1], r) for r in config.routes if r.model.endswith("*")),
            key=lambda pair: -len(pair[0]),
        )
        self._providers = {provider.id: provider for provider in config.providers}

    def route(self, model: str) -> Route | None:
        """The route that serves `model`, or None."""
        if (exact := self._exact.get(model)) is not None:
            return exact
        return next((r for prefix, r in self._prefixes if model.startswith(prefix)), None)

    def candidates(self, route: Route, model: str, dice: random.Random) -> list[Candidate]:
        """All targets in the order in which to try them: tier by tier, by weight within one."""
        return [
            self._candidate(tier, index, model)
            for tier in route.tiers
            for index in _weighted_order(tier, dice)
        ]

    def _candidate(self, tier: Tier, index: int, model: str) -> Candidate:
        chosen = tier.targets[index]
        provider = self._providers[chosen.provider]
        target = Target(
            provider=chosen.provider,
            credential=chosen.credential,
            model=chosen.model or model,
        )
        timeouts = provider.timeouts
        return Candidate(
            target, provider.pool, int(timeouts.first_token_s * 1000), int(timeouts.total_s * 1000)
        )


def _weighted_order(tier: Tier, dice: random.Random) -> list[int]:
    """A random order in which a target comes first as often as its weight says.

    Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006.
    """
    if len(tier.targets) == 1:
        return [0]
    keys = [dice.random() ** (1 / target.weight) for target in tier.targets]
    return sorted(range(len(keys)), key=lambda index: -keys[index])
