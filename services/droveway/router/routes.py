"""Model name to targets: exact names first, then the longest prefix; tiers in order of priority."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import msgspec

from droveway.contracts.canary import Channel, channel_of
from droveway.contracts.config import Config, Retry, Route, RouteTarget
from droveway.contracts.configuration import ConfigVersion
from droveway.contracts.dispatch import Target
from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import InferenceRequested, Needs
from droveway.dialects import dialect
from droveway.dialects.capability import missing
from droveway.dialects.models import MAX_REMEMBERED, ModelTable
from droveway.dialects.quirks import quirk_of
from droveway.dialects.route_names import RouteNames
from droveway.router.order import Choice, Order
from droveway.router.retry import policy_of
from droveway.router.timeouts import resolved, timeouts_of

FallbackCase = Literal["failed", "rate_limited", "context", "content"]


class Candidate(NamedTuple):
    """One target to try, and what the attempt needs to know."""

    target: Target
    pool: str
    first_token_ms: int
    total_ms: int
    limited: bool = False
    """Its credential has limits, so each attempt needs leave."""
    connect_ms: int | None = None
    """None: as its caller knows of the provider."""
    write_ms: int | None = None
    idle_ms: int | None = None
    channel: Channel | Literal[""] = ""
    """Of a route that has a canary; else empty."""

    @property
    def label(self) -> str:
        """`provider/model`, as shown to clients."""
        return f"{self.target.provider}/{self.target.model}"


class Manner(NamedTuple):
    """What a route says of its answers."""

    continuable: bool = False
    """A stream that breaks off may be gone on with elsewhere."""
    gathered: bool = False
    """What is wanted whole is asked for as a stream."""


class _Prepared(NamedTuple):
    """One tier for one model: what no request changes, in the order of the configuration."""

    choices: tuple[Choice, ...]
    candidates: tuple[Candidate, ...]


class RoutingTable:
    """One configuration's routes, looked up by model name."""

    def __init__(self, config: Config, version: ConfigVersion = "") -> None:
        self.version = version
        """What the configuration is called by."""
        self._config = config
        self._providers = {provider.id: provider for provider in config.providers}
        self._models = ModelTable(config.models, config.aliases)
        self._names = RouteNames(map(resolved, config.routes), self._models)
        self._prepared: dict[tuple[int, str], _Prepared] = {}
        """By the tuple of targets, which lives as long as the configuration, and the model."""

    def credentials(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        """Each provider with the ids of its credentials."""
        return [
            (provider.id, tuple(one.id for one in provider.credentials))
            for provider in self._providers.values()
        ]

    def targets(self) -> Iterable[tuple[str, str]]:
        """Provider and model of all targets, each once; no model: as the client wrote it."""
        found: dict[tuple[str, str], None] = {}
        for route in self._config.routes:
            own = "" if route.model.endswith("*") else route.model
            canary = () if route.canary is None else route.canary.targets
            for target in (*(one for tier in route.tiers for one in tier.targets), *canary):
                found[target.provider, target.model or own] = None
        return found

    def served(self, model: str) -> str:
        """The name that is routed for what a client calls `model`: an alias's, or its own."""
        return self._names.served(model)

    def route(self, model: str) -> Route | None:
        """The route that serves `model`, or None."""
        return self._names.route(model)

    def queue_s(self, model: str) -> float | None:
        """How long a request for `model` waits for room; None: its route doesn't say."""
        route = self.route(self.served(model))
        return None if route is None else route.queue_s

    def retry(self, model: str, asked: str) -> Retry:
        """When a request for `model`, as a client calls it, is tried again.

        Tokens that one provider doesn't count are estimated sooner than it is asked again.
        """
        policy = policy_of(self._config, self.route(self.served(model)))
        if asked == dialect.COUNT_TOKENS:
            return msgspec.structs.replace(policy, same_target=0)
        return policy

    def manner(self, model: str) -> Manner:
        """How answers of `model`, as a client calls it, are asked for and kept whole."""
        route = self.route(self.served(model))
        assert route is not None, "its candidates were found by it"
        return Manner(route.midstream == "continue", route.unstreamed == "stream")

    def candidates(
        self, route: Route, model: str, request: InferenceRequested, order: Order
    ) -> list[Candidate]:
        """All targets in the order in which to try them: tier by tier, by the route's strategy."""
        return [
            candidate
            for tier in route.tiers
            for candidate in self._of_tier(route, tier.targets, model, request, order)
        ]

    def ordered(
        self, route: Route, model: str, request: InferenceRequested, order: Order
    ) -> list[Candidate]:
        """The same with the route's canary before or behind them, as the request has it."""
        stable = self.candidates(route, model, request, order)
        if route.canary is None:
            return stable
        found = self._of_tier(route, route.canary.targets, model, request, order)
        canary = [one._replace(channel="canary") for one in found]
        stable = [one._replace(channel="stable") for one in stable]
        first = channel_of(route.canary, request)
        return canary + stable if first == "canary" else stable + canary

    def fallbacks(
        self, route: Route, case: FallbackCase, request: InferenceRequested, order: Order
    ) -> list[Candidate]:
        """Targets of the models that a route names for a case, in the order of that list."""
        lists = route.fallbacks
        models: tuple[str, ...] = getattr(lists, case)
        if case == "rate_limited":
            models = models or lists.failed
        served = ((self.served(name), self.route(self.served(name))) for name in models)
        return [
            candidate
            for model, other in served
            if other is not None
            for candidate in self.candidates(other, model, request, order)
        ]

    def able(
        self, candidates: Iterable[Candidate], needs: Needs, asked: str
    ) -> list[Candidate] | Failure:
        """The candidates that can serve such a request, in their order; why none, if none can.

        Args:
            candidates: Of one route.
            needs: The request's.
            asked: Its dialect. A provider that speaks Anthropic's gets Anthropic's requests as
                they are, and refuses them in its own words; not those that go on with an answer,
                which are ours.
        """
        if asked == dialect.COUNT_TOKENS:
            return self._counting(candidates)
        kept, lack = list[Candidate](), None
        for candidate in candidates:
            provider = self._providers[candidate.target.provider]
            passed = asked == dialect.MESSAGES and provider.dialect == "anthropic"
            if passed and not needs.continues:
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

    def _of_tier(
        self,
        route: Route,
        targets: tuple[RouteTarget, ...],
        model: str,
        request: InferenceRequested,
        order: Order,
    ) -> list[Candidate]:
        choices, candidates = self._tier(targets, model)
        arranged = order.arranged(route.strategy, choices, request)
        return [candidates[choice.place] for choice in arranged]

    def _tier(self, targets: tuple[RouteTarget, ...], model: str) -> _Prepared:
        key = (id(targets), model)
        if (known := self._prepared.get(key)) is not None:
            return known
        if len(self._prepared) >= MAX_REMEMBERED:
            self._prepared.clear()
        parts = [part for chosen in targets for part in self._parts(chosen, model)]
        known = self._prepared[key] = _Prepared(
            tuple(Choice(target, weight, n) for n, (_, target, weight) in enumerate(parts)),
            tuple(self._candidate(chosen, target) for chosen, target, _ in parts),
        )
        return known

    def _parts(
        self, chosen: RouteTarget, model: str
    ) -> Iterator[tuple[RouteTarget, Target, float]]:
        """The target itself, or its weight's equal parts for the credentials of its provider."""
        ids = [chosen.credential]
        if chosen.credential == "*":
            ids = [one.id for one in self._providers[chosen.provider].credentials]
        for credential in ids:
            target = Target(
                provider=chosen.provider, credential=credential, model=chosen.model or model
            )
            yield chosen, target, chosen.weight / len(ids)

    def _candidate(self, chosen: RouteTarget, target: Target) -> Candidate:
        provider = self._providers[chosen.provider]
        timeouts = timeouts_of(provider, chosen)
        return Candidate(
            target,
            provider.pool,
            int(timeouts.first_token_s * 1000),
            int(timeouts.total_s * 1000),
            any(one.limits for one in provider.credentials if one.id == target.credential),
            int(timeouts.connect_s * 1000),
            int(timeouts.write_s * 1000),
            int(timeouts.idle_s * 1000),
        )
