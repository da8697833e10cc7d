"""What types can't say of routes: targets that aren't there, fallbacks that lead nowhere."""

from collections.abc import Iterator, Mapping

import msgspec

from droveway.contracts.config import Config, Provider, Route, RouteTarget
from droveway.contracts.patterns import best_match
from droveway.runtime.config.models import end_of

ANY_CREDENTIAL = "*"
_ROUNDING = 1e-6


def route_findings(config: Config) -> Iterator[str]:
    """All that is wrong with the configuration's routes, each with its place."""
    providers = {provider.id: provider for provider in config.providers}
    for index, route in enumerate(config.routes):
        place = f"routes[{index}]"
        if "*" in route.model[:-1]:
            yield f"{place}.model: {route.model!r}: * may only stand at the end"
        for tier_index, tier in enumerate(route.tiers):
            for target_index, target in enumerate(tier.targets):
                at = f"{place}.tiers[{tier_index}].targets[{target_index}]"
                yield from _target_findings(at, target, providers)
        yield from _fallback_findings(f"{place}.fallbacks", route, config)
        if route.midstream == "continue" and not _has_another(route):
            yield f"{place}.midstream: 'continue' needs a second target, or fallbacks.failed"
        yield from canary_findings(f"{place}.canary", route, config)


def canary_findings(place: str, route: Route, config: Config) -> Iterator[str]:
    """What is wrong with a route's canary."""
    canary = route.canary
    if canary is None:
        return
    providers = {provider.id: provider for provider in config.providers}
    stable = {_identity(target) for tier in route.tiers for target in tier.targets}
    for index, target in enumerate(canary.targets):
        at = f"{place}.targets[{index}]"
        yield from _target_findings(at, target, providers)
        if _identity(target) in stable:
            yield f"{at}: stands in the route's tiers; a canary's targets are others"
    if abs(canary.percent * 100 - round(canary.percent * 100)) > _ROUNDING:
        yield f"{place}.percent: {canary.percent:g}; expected at most two decimals, like 12.25"


def _identity(target: RouteTarget) -> tuple[str, str, str]:
    return target.provider, target.model, target.credential


def _target_findings(
    place: str, target: RouteTarget, providers: Mapping[str, Provider]
) -> Iterator[str]:
    provider = providers.get(target.provider)
    if provider is None:
        known = ", ".join(sorted(providers))
        yield f"{place}.provider: {target.provider!r} isn't configured; known: {known}"
        return
    ids = [one.id for one in provider.credentials]
    if target.credential not in (ANY_CREDENTIAL, *ids):
        known = ", ".join(ids)
        yield f"{place}.credential: {target.credential!r} isn't there; known: {known}"


def _fallback_findings(place: str, route: Route, config: Config) -> Iterator[str]:
    routes = [one.model for one in config.routes]
    lists: Mapping[str, tuple[str, ...]] = msgspec.structs.asdict(route.fallbacks)
    for case, models in lists.items():
        for index, name in enumerate(models):
            at = f"{place}.{case}[{index}]"
            served = name if name in routes else end_of(name, config.aliases)
            serving = None if served is None else best_match(routes, served)
            if "*" in name:
                yield f"{at}: {name!r}: a fallback is one model, so it has no *"
            elif serving is None:
                yield f"{at}: no route serves {name!r}; add one, or name a model that has one"
            elif serving == route.model and _is_exact(route):
                yield f"{at}: {name!r} is served by this very route; name another model"


def _has_another(route: Route) -> bool:
    """Whether there is somewhere else to go on with an answer that one target broke off."""
    targets = [target for tier in route.tiers for target in tier.targets]
    targets += route.canary.targets if route.canary is not None else ()
    named = {(target.provider, target.model) for target in targets}
    return len(named) > 1 or bool(route.fallbacks.failed)


def _is_exact(route: Route) -> bool:
    return not route.model.endswith("*")
