"""Which targets a model name leads to, in which order."""

from collections import Counter

import msgspec
import pytest

from droveway.contracts.config import (
    Config,
    Credential,
    Fallbacks,
    Model,
    Provider,
    Route,
    RouteTarget,
    Tier,
    Timeouts,
)
from droveway.contracts.errors import Failure
from droveway.contracts.inference import Needs
from droveway.dialects import dialect
from droveway.router.routes import FallbackCase, RoutingTable
from tests.support.requested import by_chance, requested

REQUEST = requested()
ORDER = by_chance()


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
        order = [one.target.provider for one in table.candidates(route, "m", REQUEST, ORDER)]
        assert set(order[:2]) == {"a", "b"}
        assert order[2] == "c"
        assert set(order[3:]) == {"d", "e"}


def test_weights_hold_statistically() -> None:
    table = _table(_route("*", [("a", 70), ("b", 20), ("c", 10)]))
    route = table.route("m")
    assert route is not None
    rounds = 20_000
    first = Counter(
        table.candidates(route, "m", REQUEST, ORDER)[0].target.provider for _ in range(rounds)
    )
    for name, share in (("a", 0.7), ("b", 0.2), ("c", 0.1)):
        assert abs(first[name] / rounds - share) < 0.015


def test_a_target_has_the_clients_model_name_unless_it_names_its_own() -> None:
    targets = (RouteTarget(provider="a"), RouteTarget(provider="a", model="own"))
    route = Route(model="*", tiers=(Tier(targets=targets[:1]), Tier(targets=targets[1:])))
    table = _table(route)
    labels = [one.label for one in table.candidates(route, "asked", REQUEST, ORDER)]
    assert labels == ["a/asked", "a/own"]


def test_a_candidate_carries_its_providers_limits_and_pool() -> None:
    table = _table(_route("*", [("a", 1)]))
    route = table.route("m")
    assert route is not None
    (candidate,) = table.candidates(route, "m", REQUEST, ORDER)
    assert (candidate.first_token_ms, candidate.total_ms) == (1_500, 20_000)
    assert candidate.pool == "pool-a"


PROVIDERS = (
    Provider(id="a", base_url="https://p.test"),
    Provider(id="claude", base_url="https://p.test", dialect="anthropic"),
    Provider(id="deep", base_url="https://p.test", kind="deepseek"),
)


def _named(route: str, *targets: str, **more: object) -> RoutingTable:
    """One route to `provider/model` targets, a tier each."""
    pairs = [target.split("/") for target in targets]
    tiers = (Tier(targets=(RouteTarget(provider=one, model=model),)) for one, model in pairs)
    config = Config(providers=PROVIDERS, routes=(Route(model=route, tiers=tuple(tiers)),))
    return RoutingTable(msgspec.structs.replace(config, **more))


def _able(
    table: RoutingTable, needs: Needs, asked: str = dialect.CHAT, model: str = "m"
) -> list[str] | Failure:
    route = table.route(model)
    assert route is not None
    found = table.able(table.candidates(route, model, REQUEST, ORDER), needs, asked)
    return found if isinstance(found, Failure) else [one.label for one in found]


@pytest.mark.parametrize(
    ("needs", "labels"),
    [
        (Needs(), ["a/o1-mini", "claude/claude-opus-4-6", "deep/deepseek-chat"]),
        (Needs(tools=True), ["claude/claude-opus-4-6", "deep/deepseek-chat"]),
        (Needs(images=True), ["claude/claude-opus-4-6"]),
        (Needs(prefill=True), ["a/o1-mini", "deep/deepseek-chat"]),
        (Needs(json_schema=True), ["claude/claude-opus-4-6"]),
        (Needs(choices=True), ["a/o1-mini"]),
    ],
    ids=["nothing", "tools", "images", "prefill", "schema", "choices"],
)
def test_a_target_that_lacks_a_need_is_left_out(needs: Needs, labels: list[str]) -> None:
    table = _named("m", "a/o1-mini", "claude/claude-opus-4-6", "deep/deepseek-chat")
    assert _able(table, needs) == labels


def test_only_providers_of_anthropics_dialect_count_tokens() -> None:
    table = _named("m", "a/o1-mini", "claude/claude-opus-4-6", "deep/deepseek-chat")
    assert _able(table, Needs(), dialect.COUNT_TOKENS) == ["claude/claude-opus-4-6"]
    refused = _able(_named("m", "a/o1-mini"), Needs(), dialect.COUNT_TOKENS)
    assert isinstance(refused, Failure)
    assert (refused.code, refused.param) == ("unsupported_parameter", "model")


def test_when_none_is_left_the_first_targets_lack_is_told() -> None:
    table = _named("m", "a/o1-mini", "deep/deepseek-chat")
    refused = _able(table, Needs(tools=True, images=True))
    assert isinstance(refused, Failure)
    assert (refused.code, refused.param) == ("unsupported_parameter", "tools")
    assert refused.message == "`o1-mini` doesn't support tools."


def test_anthropics_own_requests_are_anthropics_to_refuse() -> None:
    table = _named("m", "claude/claude-opus-4-6")
    assert isinstance(_able(table, Needs(prefill=True)), Failure)
    assert _able(table, Needs(prefill=True), dialect.MESSAGES) == ["claude/claude-opus-4-6"]


def test_the_operator_may_correct_what_a_model_can() -> None:
    table = _named("m", "a/o1-mini", models=(Model(name="o1-mini", tools=True),))
    assert _able(table, Needs(tools=True)) == ["a/o1-mini"]


def test_a_model_that_nobody_knows_is_asked_for_anything() -> None:
    every = Needs(**dict.fromkeys(Needs.__struct_fields__, True))
    assert _able(_named("m", "a/new"), every) == ["a/new"]


@pytest.mark.parametrize(
    ("route", "asked", "served"),
    [
        ("*", "fast", "gpt-4o-mini"),
        ("*", "claude-sonnet-4.5-20250514", "claude-sonnet-4-5"),
        ("claude-sonnet-4.5*", "claude-sonnet-4.5-x", "claude-sonnet-4.5-x"),
        ("claude-sonnet-4.5", "claude-sonnet-4.5", "claude-sonnet-4.5"),
        ("claude-*", "claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("gpt-*", "claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("*", "gpt-5", "gpt-5"),
    ],
)
def test_an_alias_is_resolved_before_routes(route: str, asked: str, served: str) -> None:
    table = _named(route, "a/", aliases={"fast": "gpt-4o-mini"})
    assert table.served(asked) == served
    assert table.served(asked) == served  # and remembered as such


def test_an_aliass_target_gets_the_models_real_name() -> None:
    table = _named("*", "a/", aliases={"fast": "gpt-4o-mini"})
    assert _able(table, Needs(), model=table.served("fast")) == ["a/gpt-4o-mini"]


def test_the_fastest_target_of_a_tier_is_tried_first_and_an_unknown_one_before_it() -> None:
    table = _table(_route("*", [("a", 1), ("b", 1), ("c", 1)], [("d", 1)]))
    route = table.route("m")
    assert route is not None
    route = msgspec.structs.replace(route, strategy="fastest")
    speeds = {"a": 3.0, "b": 1.0, "c": 0.0, "d": 0.1}
    order = ORDER._replace(first_token_s=lambda target: speeds[target.provider])
    found = [one.target.provider for one in table.candidates(route, "m", REQUEST, order)]
    assert found == ["c", "b", "a", "d"], "tiers are priorities: speed counts within one"


def test_each_credential_of_a_provider_is_a_target_of_its_own() -> None:
    names = ("one", "two", "three")
    provider = Provider(
        id="a",
        base_url="https://p.test",
        credentials=tuple(Credential(id=name, api_key="${KEY}") for name in names),
    )
    any_key = RouteTarget(provider="a", credential="*")
    route = Route(model="*", tiers=(Tier(targets=(any_key,)),))
    table = RoutingTable(Config(providers=(provider,), routes=(route,)))
    first: Counter[str] = Counter()
    for _ in range(300):
        found = [one.target.credential for one in table.candidates(route, "m", REQUEST, ORDER)]
        assert sorted(found) == sorted(names)
        first[found[0]] += 1
    assert min(first.values()) > 60


def test_fallbacks_are_other_models_served_as_their_own_routes_say() -> None:
    small = msgspec.structs.replace(
        _route("small", [("a", 1)]),
        fallbacks=Fallbacks(failed=("other",), context=("large", "huge-1")),
    )
    table = _table(small, _route("large", [("b", 1)], [("c", 1)]), _route("*", [("d", 1)]))
    assert _labels(table, small, "context") == ["b/large", "c/large", "d/huge-1"]
    assert _labels(table, small, "failed") == ["d/other"]
    assert _labels(table, small, "rate_limited") == ["d/other"], "as failed, unless it is said"
    assert _labels(table, small, "content") == []


def _labels(table: RoutingTable, route: Route, case: FallbackCase) -> list[str]:
    return [one.label for one in table.fallbacks(route, case, REQUEST, ORDER)]
