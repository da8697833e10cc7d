"""Which targets a model name leads to, in which order."""

import random
from collections import Counter

from droveway.contracts.config import Config, Provider, Route, RouteTarget, Tier, Timeouts
from droveway.router.routes import RoutingTable

DICE = random.Random(7)


def _route(model: str, *tiers: list[tuple[str, int]]) -> Route:
    return Route(
        model=model,
        tiers=tuple(
            Tier(targets=tuple(RouteTarget(provider=name, weight=weight) for name, weight in tier))
            for tier in tiers
        ),
    )


def _table(*routes: Route) -> RoutingTable:
    names = {target.provider for r in routes for tier in r.tiers for target in tier.targets}
    timeouts = Timeouts(first_token_s=1.5, total_s=20)
    providers = tuple(
        Provider(id=name, base_url="https://p.test", timeouts=timeouts, pool=f"pool-{name}")
        for name in sorted(names)
    )
    return RoutingTable(Config(providers=providers, routes=routes))


def _served(table: RoutingTable, model: str) -> str | None:
    found = table.route(model)
    return found.model if found else None


def test_an_exact_name_goes_before_the_longest_prefix_and_that_before_a_shorter_one() -> None:
    one = [("a", 1)]
    table = _table(
        _route("*", one), _route("gpt-*", one), _route("gpt-4*", one), _route("gpt-4o", one)
    )
    assert _served(table, "gpt-4o") == "gpt-4o"
    assert _served(table, "gpt-4o-mini") == "gpt-4*"
    assert _served(table, "gpt-5") == "gpt-*"
    assert _served(table, "claude") == "*"


def test_a_name_without_a_route_has_none() -> None:
    assert _served(_table(_route("gpt-*", [("a", 1)])), "claude") is None


def test_tiers_keep_their_order() -> None:
    table = _table(_route("*", [("a", 1), ("b", 1)], [("c", 1)], [("d", 5), ("e", 1)]))
    for _ in range(50):
        route = table.route("m")
        assert route is not None
        order = [one.target.provider for one in table.candidates(route, "m", DICE)]
        assert set(order[:2]) == {"a", "b"}
        assert order[2] == "c"
        assert set(order[3:]) == {"d", "e"}


def test_weights_hold_statistically() -> None:
    table = _table(_route("*", [("a", 70), ("b", 20), ("c", 10)]))
    route = table.route("m")
    assert route is not None
    rounds = 20_000
    first = Counter(table.candidates(route, "m", DICE)[0].target.provider for _ in range(rounds))
    for name, share in (("a", 0.7), ("b", 0.2), ("c", 0.1)):
        assert abs(first[name] / rounds - share) < 0.015


def test_a_target_has_the_clients_model_name_unless_it_names_its_own() -> None:
    targets = (RouteTarget(provider="a"), RouteTarget(provider="a", model="own"))
    route = Route(model="*", tiers=(Tier(targets=targets[:1]), Tier(targets=targets[1:])))
    table = _table(route)
    labels = [one.label for one in table.candidates(route, "asked", DICE)]
    assert labels == ["a/asked", "a/own"]


def test_a_candidate_carries_its_providers_limits_and_pool() -> None:
    table = _table(_route("*", [("a", 1)]))
    route = table.route("m")
    assert route is not None
    (candidate,) = table.candidates(route, "m", DICE)
    assert (candidate.first_token_ms, candidate.total_ms) == (1_500, 20_000)
    assert candidate.pool == "pool-a"
