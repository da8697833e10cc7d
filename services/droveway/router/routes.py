"""Model name to targets: exact names first, then the longest prefix; tiers in order of priority."""

import functools
import random
from collections.abc import Iterable
from typing import NamedTuple

from droveway.contracts.config import Config, Route, Tier
from droveway.contracts.dispatch import Target
from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import Needs
from droveway.dialects import dialect
from droveway.dialects.capability import missing
from droveway.dialects.models import EXACT, MAX_REMEMBERED, ModelTable
from droveway.dialects.quirks import quirk_of


class Candidate(NamedTuple):
    """One target to try, and what the attempt needs to know."""

    target: Target
    pool: str
    first_token_ms: int
    total_ms: int
    limited: bool = False
    """Its credential has limits, so each attempt needs leave."""

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
        self._models = ModelTable(config.models, config.aliases)
        self._served = functools.lru_cache(MAX_REMEMBERED)(
            functools.partial(self._models.served, specificity=self._specificity)
        )

    def served(self, model: str) -> str:
        """The name that is routed for what a client calls `model`: an alias's, or its own."""
        return self._served(model)

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

    def able(
        self, candidates: Iterable[Candidate], needs: Needs, asked: str
    ) -> list[Candidate] | Failure:
        """The candidates that can serve such a request, in their order; why none, if none can.

        Args:
            candidates: Of one route.
            needs: The request's.
            asked: Its dialect. A provider that speaks Anthropic's gets Anthropic's requests as
                they are, and refuses them in its own words.
        """
        if asked == dialect.COUNT_TOKENS:
            return self._counting(candidates)
        kept, lack = list[Candidate](), None
        for candidate in candidates:
            provider = self._providers[candidate.target.provider]
            if asked == dialect.MESSAGES and provider.dialect == "anthropic":
                kept.append(candidate)
                continue
            facts, lacks = self._models.facts(candidate.target.model), quirk_of(provider).lacks
            found = missing(needs, facts, provider.dialect, lacks)
            lack = lack or found
            if found is None:
                kept.append(candidate)
        if kept or lack is None:
            return kept
        return failure("unsupported_parameter", lack[1], param=lack[0])

    def _counting(self, candidates: Iterable[Candidate]) -> list[Candidate] | Failure:
        kept = [
            one for one in candidates if self._providers[one.target.provider].dialect == "anthropic"
        ]
        text = "No provider of this model counts tokens"
        return kept or failure("unsupported_parameter", text, param="model")

    def _specificity(self, model: str) -> int:
        if model in self._exact:
            return EXACT
        route = self.route(model)
        return -1 if route is None else len(route.model)

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
            target,
            provider.pool,
            int(timeouts.first_token_s * 1000),
            int(timeouts.total_s * 1000),
            any(one.limits for one in provider.credentials if one.id == chosen.credential),
        )


def _weighted_order(tier: Tier, dice: random.Random) -> list[int]:
    """A random order in which a target comes first as often as its weight says.

    Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006.
    """
    if len(tier.targets) == 1:
        return [0]
    keys = [dice.random() ** (1 / target.weight) for target in tier.targets]
    return sorted(range(len(keys)), key=lambda index: -keys[index])
