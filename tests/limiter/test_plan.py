"""Which counters a request meets; their names keep what was counted over reloads."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from droveway.contracts.access import Limit
from droveway.contracts.admission import Admitted, StandingAsked
from droveway.contracts.config import Price
from droveway.contracts.limits import Admit
from droveway.limiter.counters import KINDS, counter_name, parse
from droveway.limiter.plan import MAX_PLANS, Plans
from tests.support.limiter_world import OTHER_PLACE, PLACE, World, config

SCOPES = st.sampled_from(["k:a", "t:acme", "m", "c:openai/main"])
MODELS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def _charged(world: World) -> list[str]:
    op, _ = world.ops[-1]
    assert isinstance(op, Admit)
    return [charge.counter for charge in op.charges]


@settings(deadline=None)
@given(SCOPES, st.integers(0, 4), st.integers(100, 10**9), MODELS, st.integers(0, 9))
def test_a_name_says_all_that_made_it(
    scope: str, kind: int, window_ms: int, model: str, burst: int
) -> None:
    burst = 0 if KINDS[kind] == "concurrency" else burst
    counter = parse(counter_name(scope, kind, window_ms, model, burst, 10))
    assert (counter.scope, counter.kind, counter.model) == (scope, kind, model)
    assert counter.burst == burst
    assert counter.of_place == scope.startswith("c:")
    other = parse(counter_name(scope, kind, window_ms, model, burst and burst + 1, 20))
    assert counter.base == other.base


def test_what_is_no_name_is_refused() -> None:
    with pytest.raises(ValueError, match="kind is one of requests, tokens"):
        parse("k:a|permits|60000")


def test_all_six_scopes_and_kinds_are_charged_in_one_decision() -> None:
    world = World(
        config(
            key=(Limit(requests=9, tokens=90),),
            tenant=(Limit(requests=9, tokens=90, window_s=1),),
            everybody=(Limit(requests=9, model="m*"), Limit(requests=9, model="other")),
            main=(Limit(requests=9),),
        )
    )
    world.admitted(1, input_tokens=3, max_output_tokens=4)
    assert sorted(_charged(world)) == [
        "c:p/main|requests|60000",
        "k:a|requests|60000",
        "k:a|tokens|60000",
        "m|requests|60000|m*",
        "t:t|requests|1000",
        "t:t|tokens|1000",
    ]


def test_a_limit_for_one_model_leaves_the_others_alone() -> None:
    world = World(config(key=(Limit(requests=1, model="m"),)))
    world.admitted(1)
    world.denied(2)
    world.admitted(3, model="another")


def test_models_of_one_pattern_share_its_counter() -> None:
    world = World(config(key=(Limit(requests=1, model="gpt-*"),)))
    world.admitted(1, model="gpt-5")
    world.denied(2, model="gpt-4o")


@pytest.mark.parametrize("burst", [None, 2], ids=["window", "burst"])
def test_a_new_limit_keeps_what_was_counted(burst: int | None) -> None:
    world = World(config(key=(Limit(requests=4, burst=burst),)))
    for number in range(burst or 4):
        world.admitted(number)
    world.denied(9)
    more = None if burst is None else burst + 1
    world.decisions.configure(config(key=(Limit(requests=5, burst=more),)))
    answers = [isinstance(world.ask(10 + number), Admitted) for number in range(3)]
    assert answers == ([True, False, False] if burst is None else [False] * 3)


def test_of_two_limits_with_one_counter_the_tighter_one_holds_and_counts_once() -> None:
    world = World(config(key=(Limit(requests=5), Limit(requests=2))))
    world.admitted(1)
    assert _charged(world) == ["k:a|requests|60000"]
    world.admitted(2)
    world.denied(3)


def test_keys_without_limits_have_the_default_ones() -> None:
    defaults = (Limit(requests=1),)
    world = World(msgspec.structs.replace(config(), default_limits=defaults))
    world.admitted(1)
    world.denied(2)
    world.admitted(3, key_id="b")
    named = config(key=(Limit(requests=2),))
    own = World(msgspec.structs.replace(named, default_limits=defaults))
    own.admitted(1)
    own.admitted(2)


def test_a_window_and_a_burst_hold_together() -> None:
    world = World(config(key=(Limit(requests=4), Limit(requests=400, burst=2))))
    passed = []
    for number in range(8):
        passed.append(isinstance(world.ask(number), Admitted))
        if number == 2:
            world.now_ms += 300
    assert passed == [True, True, False, True, True, False, False, False]


def test_plans_are_bounded_whatever_names_clients_make() -> None:
    plans = Plans()
    plans.configure(config(key=(Limit(requests=1, model="m"),)))
    for number in range(MAX_PLANS + 10):
        assert plans.client("a", "t", f"m{number}") is not None
    assert len(plans._by_model) <= MAX_PLANS


def test_a_long_name_of_a_model_is_remembered_in_part() -> None:
    world = World(config(key=(Limit(tokens=100),)))
    world.admitted(1, max_output_tokens=1, model="x" * 4_000, places=())
    assert len(world.book.holds["req_1"].model) == 256


def test_a_standing_shows_every_limit_and_budget_with_what_is_used() -> None:
    world = World(
        config(key=(Limit(requests=9, concurrency=3),), tenant=(Limit(tokens=90, model="m"),))
    )
    world.admitted(1, input_tokens=3, max_output_tokens=4)
    report = world.decisions.standing(StandingAsked(key_id="a", tenant="t"), world.now_ms)
    shown = {(one.scope, one.kind): one for one in report.limits}
    assert (shown["key", "requests"].used, shown["key", "requests"].limit) == (1, 9)
    assert 60_000 <= shown["key", "requests"].reset_ms <= 61_000
    assert (shown["key", "concurrency"].used, shown["key", "concurrency"].reset_ms) == (1, 0)
    assert (shown["tenant", "tokens"].used, shown["tenant", "tokens"].model) == (7, "m")


def test_the_tightest_limit_of_each_kind_is_shown() -> None:
    world = World(
        config(
            key=(Limit(requests=9, input_tokens=50),),
            tenant=(Limit(requests=5, output_tokens=60), Limit(tokens=1_000)),
            main=(Limit(requests=1),),
        )
    )
    shown = world.admitted(1, input_tokens=3, max_output_tokens=4)
    assert shown.requests is not None
    assert shown.tokens is not None
    assert shown.input_tokens is not None
    assert shown.output_tokens is not None
    assert (shown.requests.limit, shown.requests.remaining) == (5, 4)
    assert shown.tokens.remaining == 993
    assert shown.input_tokens.remaining == 47
    assert shown.output_tokens.remaining == 56


def test_a_new_router_that_has_other_places_gets_one_of_its_own() -> None:
    world = World(config(main=(Limit(requests=1),), spare=(Limit(requests=1),)))
    assert world.admitted(1, places=(PLACE,)).place == 0
    taken = {"router": "router-b", "ask": 2, "instead_of": "router-a"}
    assert world.admitted(1, places=(OTHER_PLACE, PLACE), **taken).place == 1, "where it is"
    taken = {"router": "router-c", "ask": 3, "instead_of": "router-b"}
    assert world.admitted(1, places=(OTHER_PLACE,), **taken).place == 0
    assert _charged(world) == ["c:p/spare|requests|60000"]


def test_the_configurations_own_price_holds_at_once() -> None:
    plans = Plans()
    assert plans.price_of(PLACE.provider, PLACE.model) is None
    plain = config()
    priced = msgspec.structs.replace(
        plain.providers[0], prices={PLACE.model: Price(input=1, output=2)}
    )
    plans.configure(msgspec.structs.replace(plain, providers=(priced,)))
    found = plans.price_of(PLACE.provider, PLACE.model)
    assert found is not None
    assert found.rates[0].output == 2 * 10**9
