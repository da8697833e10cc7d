"""How long each phase of an attempt may last: as its target says, else its route, its provider."""

import msgspec

from droveway.contracts.config import PhaseTimeouts, Provider, Route, RouteTarget, Timeouts


def timeouts_of(provider: Provider, target: RouteTarget) -> Timeouts:
    """The provider's, but for those phases for which the target has its own."""
    return msgspec.structs.replace(provider.timeouts, **_named(target.timeouts))


def resolved(route: Route) -> Route:
    """The route with its time-outs in each of its targets that has none of its own."""
    if not _named(route.timeouts):
        return route
    tiers = tuple(
        msgspec.structs.replace(tier, targets=_inherited(route.timeouts, tier.targets))
        for tier in route.tiers
    )
    canary = route.canary and msgspec.structs.replace(
        route.canary, targets=_inherited(route.timeouts, route.canary.targets)
    )
    return msgspec.structs.replace(route, tiers=tiers, canary=canary)


def _inherited(
    timeouts: PhaseTimeouts, targets: tuple[RouteTarget, ...]
) -> tuple[RouteTarget, ...]:
    return tuple(
        msgspec.structs.replace(
            one, timeouts=msgspec.structs.replace(timeouts, **_named(one.timeouts))
        )
        for one in targets
    )


def _named(timeouts: PhaseTimeouts) -> dict[str, float]:
    values = msgspec.structs.asdict(timeouts)
    return {phase: limit_s for phase, limit_s in values.items() if limit_s is not None}
