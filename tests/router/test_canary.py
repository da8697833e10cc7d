"""Who gets a route's canary: shares of users, regions, tenants; always the same ones."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts.canary import (
    STEPS,
    CanaryOrder,
    channel_of,
    digest_of,
    entry_of,
    in_force,
    with_orders,
)
from droveway.contracts.config import Canary, Config, Provider, Route, RouteTarget, Tier
from droveway.contracts.inference import user_hash
from droveway.router.routes import RoutingTable
from tests.contracts.samples import SHORT
from tests.support.requested import by_chance

USERS = 10_000
SHARE_POINTS = 0.6
ORDER = by_chance()
REQUEST = next(one for one in SHORT if type(one).__name__ == "InferenceRequested")
TARGET = RouteTarget(provider="new")


def _request(number: int = 0, seed: int = 0, **fields: Any) -> Any:
    user = user_hash("acme", user=f"user-{seed}-{number}", key_id="k1")
    return msgspec.structs.replace(REQUEST, **({"user": user} | fields))


def _members(percent: float, seed: int = 0) -> set[int]:
    canary = Canary(targets=(TARGET,), percent=percent)
    return {
        number for number in range(USERS) if channel_of(canary, _request(number, seed)) == "canary"
    }


def _config(**fields: Any) -> Config:
    providers = tuple(Provider(id=name, base_url="https://p.test") for name in ("old", "new"))
    tier = Tier(targets=(RouteTarget(provider="old"),))
    return Config(providers=providers, routes=(Route(model="*", tiers=(tier,), **fields),))


def _order(config: Config, canary: Canary, state: Any = "running") -> dict[str, CanaryOrder]:
    file = digest_of(config.routes[0].canary)
    return {"*": CanaryOrder(route="*", state=state, canary=canary, file=file, at="", by="")}


@pytest.mark.parametrize("percent", [1.25, 5, 20, 50, 80])
def test_the_share_of_users_is_the_percent(percent: float) -> None:
    share = 100 * len(_members(percent)) / USERS
    assert abs(share - percent) <= SHARE_POINTS


def test_who_is_in_stays_in_as_it_grows() -> None:
    for fewer, more in pairwise(_members(percent) for percent in STEPS):
        assert fewer < more
    assert len(_members(100)) == USERS
    assert not _members(0)


@given(
    name=st.text(),
    percents=st.tuples(*[st.integers(0, 10_000).map(lambda n: n / 100)] * 2).map(sorted),
)
def test_any_user_is_sticky_under_growing_percents(name: str, percents: list[float]) -> None:
    request = _request(user=user_hash("t", user=name, key_id="k"))
    lower, higher = (
        channel_of(Canary(targets=(TARGET,), percent=percent), request) for percent in percents
    )
    assert lower == channel_of(Canary(targets=(TARGET,), percent=percents[0]), request)
    assert (lower, higher) != ("canary", "stable")


def test_a_key_without_users_is_one_user_and_another_one_than_its_name() -> None:
    assert user_hash("t", key_id="k") == user_hash("t", key_id="k")
    assert user_hash("t", key_id="k") != user_hash("t", user="k", key_id="k")
    assert user_hash("t", user="u", key_id="k") == user_hash("t", user="u", key_id="other")
    assert user_hash("t", user="u", key_id="k") != user_hash("other", user="u", key_id="k")


def test_regions_and_tenants_get_it_whoever_the_user_is() -> None:
    canary = Canary(targets=(TARGET,), regions=("cn-north",), tenants=("acme-beta",))
    assert channel_of(canary, _request(region="cn-north")) == "canary"
    assert channel_of(canary, _request(tenant="acme-beta")) == "canary"
    assert channel_of(canary, _request(region="eu")) == "stable"
    assert channel_of(canary, _request()) == "stable"


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, ["stable", "canary"]), (100, ["canary", "stable"])]
)
def test_each_channel_is_the_others_fallback(percent: float, expected: list[str]) -> None:
    table = RoutingTable(_config(canary=Canary(targets=(TARGET,), percent=percent)))
    route = table.route("m")
    assert route is not None
    found = table.ordered(route, "m", _request(), ORDER)
    assert [one.channel for one in found] == expected
    assert {one.target.provider: one.channel for one in found} == {"old": "stable", "new": "canary"}


def test_a_route_without_a_canary_has_no_channels() -> None:
    table = RoutingTable(_config())
    route = table.route("m")
    assert route is not None
    assert [one.channel for one in table.ordered(route, "m", _request(), ORDER)] == [""]


def test_an_order_stands_for_the_files_canary() -> None:
    config = _config(canary=Canary(targets=(TARGET,), percent=5))
    grown = Canary(targets=(TARGET,), percent=20)
    assert with_orders(config, _order(config, grown)).routes[0].canary == grown


def test_a_canary_that_was_rolled_back_is_no_fallback_either() -> None:
    canary = Canary(targets=(TARGET,), percent=50)
    config = _config(canary=canary)
    assert with_orders(config, _order(config, canary, "rolled_back")).routes[0].canary is None


def test_a_newer_line_of_the_file_goes_before_an_order() -> None:
    config = _config(canary=Canary(targets=(TARGET,), percent=5))
    order = _order(config, Canary(targets=(TARGET,), percent=20))["*"]
    newer = Canary(targets=(TARGET,), percent=100)
    assert in_force(_config(canary=newer).routes[0], order) == newer


def test_any_name_of_a_model_makes_an_entry() -> None:
    assert entry_of("*") != entry_of("gpt-*")
    assert set(entry_of("a/b.c:d*>é").removeprefix("canary.")) < set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )
