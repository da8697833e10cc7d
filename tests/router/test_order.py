"""Who comes first in a tier: as often as weights say, and the same for prompts that are alike."""

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts.config import (
    Config,
    Credential,
    Provider,
    Route,
    RouteTarget,
    Strategy,
    Tier,
)
from droveway.contracts.dispatch import Target
from droveway.contracts.inference import user_hash
from droveway.router.order import Choice, by_prefix, prefix_of
from droveway.router.routes import RoutingTable
from tests.support.requested import by_chance, requested

PROMPTS = 4_000
WEIGHTS = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3), st.integers(1, 50), min_size=1, max_size=8
)
PREFIXES = st.binary(min_size=16, max_size=16)


def _choices(weights: Mapping[str, float]) -> list[Choice]:
    return [
        Choice(Target(provider=name, credential="main", model="m"), weight)
        for name, weight in weights.items()
    ]


def _order(prefix: bytes, weights: Mapping[str, float]) -> list[str]:
    return [one.target.provider for one in by_prefix(prefix, _choices(weights))]


def _prefixes(seed: int = 0) -> list[bytes]:
    dice = random.Random(seed)
    return [dice.randbytes(16) for _ in range(PROMPTS)]


@given(weights=WEIGHTS, seed=st.integers(0, 2**32))
def test_prompts_are_shared_out_as_weights_say(weights: dict[str, int], seed: int) -> None:
    first = Counter(_order(prefix, weights)[0] for prefix in _prefixes(seed)[:1_000])
    total = sum(weights.values())
    for name, weight in weights.items():
        share = weight / total
        deviation = (share * (1 - share) / 1_000) ** 0.5
        assert abs(first[name] / 1_000 - share) <= 6 * deviation + 0.006


@given(prefix=PREFIXES, weights=WEIGHTS.filter(lambda weights: len(weights) > 1), data=st.data())
def test_without_a_target_the_others_keep_their_order(
    prefix: bytes, weights: dict[str, int], data: st.DataObject
) -> None:
    """So only its own prompts move when it goes, and the same ones come back with it."""
    gone = data.draw(st.sampled_from(sorted(weights)))
    left = {name: weight for name, weight in weights.items() if name != gone}
    assert _order(prefix, left) == [name for name in _order(prefix, weights) if name != gone]


@given(prefix=PREFIXES, weights=WEIGHTS, more=st.integers(1, 50), data=st.data())
def test_a_target_that_weighs_more_only_wins_prompts(
    prefix: bytes, weights: dict[str, int], more: int, data: st.DataObject
) -> None:
    grown = data.draw(st.sampled_from(sorted(weights)))
    before = _order(prefix, weights)
    after = _order(prefix, weights | {grown: weights[grown] + more})
    assert after.index(grown) <= before.index(grown)
    assert [name for name in after if name != grown] == [name for name in before if name != grown]


@given(prefix=PREFIXES, weights=WEIGHTS, seed=st.integers(0, 100))
def test_the_order_of_the_entries_doesnt_matter(
    prefix: bytes, weights: dict[str, int], seed: int
) -> None:
    names = [*weights]
    random.Random(seed).shuffle(names)
    assert _order(prefix, {name: weights[name] for name in names}) == _order(prefix, weights)


def test_a_targets_prompts_are_spread_over_all_others_when_it_is_gone() -> None:
    weights = {"a": 1, "b": 1, "c": 2}
    orders = [_order(prefix, weights) for prefix in _prefixes()]
    second = Counter(order[1] for order in orders if order[0] == "a")
    assert 0.27 < second["b"] / second.total() < 0.40


def test_every_process_of_every_release_comes_to_the_same() -> None:
    """Another order would empty all providers' caches at once; routers of two releases run."""
    weights = {"openai": 3, "azure": 1, "relay": 1}
    found = ["".join(name[0] for name in _order(bytes([n] * 16), weights)) for n in range(8)]
    assert found == ["ora", "ora", "aro", "oar", "ora", "roa", "aor", "oar"]


def test_a_prompt_without_a_prefix_goes_by_its_user_and_else_by_its_key() -> None:
    assert prefix_of(requested(prefix=bytes(16), user=b"u" * 16)) == bytes(16)
    assert prefix_of(requested(prefix=b"", user=b"u" * 16)) == b"u" * 16
    by_key = prefix_of(requested(prefix=b"", user=b"", tenant="t", key_id="k"))
    assert by_key == user_hash("t", key_id="k")


def _table(**route: Any) -> tuple[RoutingTable, Route]:
    """Provider `a` has two credentials and weighs twice as much as `b`."""
    credentials = (Credential(id="one"), Credential(id="two"))
    providers = (
        Provider(id="a", base_url="https://p.test", credentials=credentials),
        Provider(id="b", base_url="https://p.test"),
    )
    targets = (RouteTarget(provider="a", credential="*", weight=2), RouteTarget(provider="b"))
    own = Route(model="m", tiers=(Tier(targets=targets),), **route)
    return RoutingTable(Config(providers=providers, routes=(own,))), own


@pytest.mark.parametrize("strategy", ["weighted", "cached"])
def test_credentials_share_their_targets_weight(strategy: str) -> None:
    table, route = _table(strategy=strategy)
    first: Counter[str] = Counter()
    order = by_chance()
    for prefix in _prefixes():
        found = table.candidates(route, "m", requested(prefix=prefix), order)
        names = [f"{one.target.provider}/{one.target.credential}" for one in found]
        assert sorted(names) == ["a/one", "a/two", "b/main"]
        first[names[0]] += 1
    assert all(abs(count / PROMPTS - 1 / 3) < 0.04 for count in first.values()), first


def test_a_conversation_stays_with_one_credential_while_dice_would_change_it() -> None:
    table, route = _table(strategy="cached")
    request, order = requested(prefix=b"p" * 16), by_chance()
    found = {tuple(table.candidates(route, "m", request, order)) for _ in range(50)}
    assert len(found) == 1


def test_one_target_alone_is_in_order_by_any_strategy() -> None:
    provider = Provider(id="a", base_url="https://p.test")
    strategies: tuple[Strategy, ...] = ("weighted", "fastest", "cheapest", "cached")
    for strategy in strategies:
        tier = Tier(targets=(RouteTarget(provider="a"),))
        route = Route(model="m", tiers=(tier,), strategy=strategy)
        table = RoutingTable(Config(providers=(provider,), routes=(route,)))
        (found,) = table.candidates(route, "m", requested(), by_chance())
        assert found.label == "a/m"


def test_the_largest_weights_are_told_apart() -> None:
    huge = 9 * 10**15
    first = Counter(
        by_chance(seed)
        .arranged("weighted", _choices({"a": huge, "b": huge}), requested())[0]
        .target
        for seed in range(200)
    )
    assert 60 < max(first.values()) < 140
