"""Routes: whether anything is left that can serve each, and canaries that were rolled back."""

import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from droveway.cli.doctor.check_targets import all_open, credentials, targets
from droveway.cli.doctor.evidence import Evidence, known
from droveway.cli.doctor.finding import Finding, broken, named, note, runbook, warning
from droveway.contracts.canary import digest_of, in_force
from droveway.contracts.config import Config, Route, RouteTarget
from droveway.contracts.patterns import best_match
from droveway.contracts.providers import UNNAMED, TargetSeen
from droveway.runtime.config.models import end_of

_EVERY = "*"
"""Stands for all credentials of a provider."""


def check_routes(evidence: Evidence) -> Iterator[Finding]:
    """Routes without a target that works, as far as the configuration in force is known."""
    config = evidence.config
    if config is None:
        return
    impediments = _Impediments(evidence, config)
    orders = {one.route: one for one in known(evidence.canaries)}
    stable = {route.model: impediments.of_all(_stable(route)) for route in config.routes}
    for route in config.routes:
        canary = in_force(route, orders.get(route.model))  # each channel is the other's fallback
        met = impediments.of_all([*_stable(route), *(canary.targets if canary else ())])
        if not met:
            continue
        since = max(one.since for one in met) if all(one.since for one in met) else ""
        text = f"no target of the route {route.model} works: {named(one.why for one in met)}"
        advice = f"`droveway providers list`; {runbook('ProviderUnavailable')}"
        fallbacks = route.fallbacks.failed
        helping = [name for name in fallbacks if stable.get(_serving(name, config)) == ()]
        if helping:
            text += f"; its fallbacks do: {named(helping)}"
            yield warning("route_on_fallbacks", text, advice, since)
        else:
            text += f"; nor do its fallbacks: {named(fallbacks)}" if fallbacks else ""
            yield broken("route_down", text, advice, since)


def check_canaries(evidence: Evidence) -> Iterator[Finding]:
    """Canaries that were rolled back, unless the configuration says something newer."""
    config = evidence.config
    routes = {one.model: one for one in config.routes} if config else None
    for order in known(evidence.canaries):
        if order.state != "rolled_back" or _is_void(order.route, order.file, routes):
            continue
        guarded = order.by.startswith("metrics")
        by = "the guard" if guarded else order.by
        reason = f": {order.reason}" if order.reason else ""
        text = f"the canary of {order.route} was rolled back by {by}{reason}"
        name = shlex.quote(order.route)
        advice = (
            f"`droveway canary compare {name}`; "
            f"`droveway canary set {name} --percent 5` begins again"
        )
        say = warning if guarded else note
        yield say("canary_rolled_back", text, advice, order.at)


def _stable(route: Route) -> list[RouteTarget]:
    """What serves a route, and other routes whose fallback it is; its canary serves itself only."""
    return [target for tier in route.tiers for target in tier.targets]


def _serving(fallback: str, config: Config) -> str:
    """The route that serves a fallback; empty: none does."""
    routes = [route.model for route in config.routes]
    name = fallback if fallback in routes else end_of(fallback, config.aliases)
    return "" if name is None else best_match(routes, name) or ""


def _is_void(route: str, file: str, routes: dict[str, Route] | None) -> bool:
    """Whether the configuration is known and doesn't say what it said when the order was given."""
    if routes is None:
        return False
    found = routes.get(route)
    return found is None or digest_of(found.canary) != file


class _Impediment(NamedTuple):
    """Why a target can't be asked, and since when; empty: nobody knows."""

    why: str
    since: str = ""


class _Impediments:
    """What stands in the way of targets."""

    def __init__(self, evidence: Evidence, config: Config) -> None:
        self._ago = evidence.ago
        self._targets = targets(evidence)
        self._cooling = credentials(evidence)
        self._routers = len(known(evidence.providers))
        self._switches = {one.id: one for one in known(evidence.switches)}
        self._credentials = {
            one.id: [each.id for each in one.credentials] for one in config.providers
        }

    def of_all(self, targets: Sequence[RouteTarget]) -> tuple[_Impediment, ...]:
        """Each once; none where one of the targets can be asked."""
        met = [self._of(target) for target in targets]
        return () if None in met else tuple(dict.fromkeys(one for one in met if one is not None))

    def _of(self, target: RouteTarget) -> _Impediment | None:
        """None: it can be asked."""
        name = f"{target.provider}/{target.model or UNNAMED}"
        switch = self._switches.get(target.provider)
        if switch is not None and switch.disables(target.model):
            return _Impediment(f"{name} is switched off", switch.at)
        views = self._views(target)
        if all_open(views):
            since = self._ago(min(one.for_ms for one in views))
            return _Impediment(f"{name} is left alone", since)
        if self._is_spared(target):
            return _Impediment(f"{name}'s credentials are spared")
        return None

    def _views(self, target: RouteTarget) -> Sequence[TargetSeen]:
        """How routers see it; one that takes any model, by all that were tried."""
        if target.model:
            return self._targets.get((target.provider, target.model), ())
        return [
            one
            for (provider, model), views in self._targets.items()
            for one in views
            if provider == target.provider and model != UNNAMED
        ]

    def _is_spared(self, target: RouteTarget) -> bool:
        own = self._credentials.get(target.provider, [])
        wanted = own if target.credential == _EVERY else [target.credential]
        return bool(wanted) and all(
            0 < self._routers == len(self._cooling.get((target.provider, one), ()))
            for one in wanted
        )
