"""One credential's cooldowns: obeyed, capped, escalated once per refusal, ended by the clock."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.caller.cooling import (
    FORBIDDEN_IN_A_ROW,
    MAX_BACKOFF_S,
    PROBE_S,
    PROVEN_S,
    Cooling,
)
from droveway.caller.provider_limits import MAX_EXHAUSTED_S, Allowance, ToldLimits
from droveway.contracts.health import EXHAUSTED, RATE_LIMITED, REFUSED
from droveway.runtime.heard_health import Cooldown

NOTHING = ToldLimits()
MAX_S, REFUSED_S = 600.0, 60.0
EMPTY = ToldLimits(Allowance(0, 20.0), None, 20.0)


def cooling(max_s: float = MAX_S) -> Cooling:
    return Cooling(max_s, REFUSED_S, random.Random(7))


def test_a_wait_is_obeyed_to_its_end() -> None:
    one = cooling()
    assert one.limited(2.0, NOTHING, 100.0) == 2.0
    assert one.cooldown(101.9) == Cooldown(102.0, RATE_LIMITED)
    assert not one.begin(101.9)
    assert one.cooldown(102.0) is None
    assert one.begin(102.0)


def test_a_refusal_of_before_makes_it_longer_and_never_shorter() -> None:
    one = cooling()
    one.limited(10.0, NOTHING, 0.0)
    assert one.limited(2.0, NOTHING, 1.0) == 9.0
    assert one.limited(20.0, NOTHING, 1.0) == 20.0


def test_without_a_wait_each_refusal_doubles_it_up_to_a_minute() -> None:
    one, now_s, waits = cooling(), 0.0, []
    for _ in range(9):
        waits.append(one.limited(None, NOTHING, now_s))
        now_s += waits[-1]
    for step_s, wait_s in zip((1, 2, 4, 8, 16, 32, 60, 60, 60), waits, strict=True):
        assert 0.8 * step_s <= wait_s <= min(MAX_BACKOFF_S, 1.2 * step_s)


def test_refusals_of_what_ran_at_once_are_one_strike() -> None:
    one = cooling()
    first_s = one.limited(None, NOTHING, 0.0)
    for _ in range(50):
        assert one.limited(None, NOTHING, 0.0) == first_s
    assert one.limited(None, NOTHING, first_s) <= 2.4


def test_a_success_afterwards_begins_anew_and_one_of_before_does_not_end_it() -> None:
    one = cooling()
    one.limited(None, NOTHING, 0.0)
    one.limited(None, NOTHING, 5.0)
    one.succeeded(NOTHING, 5.1)
    assert one.cooldown(5.2) is not None
    one.succeeded(NOTHING, 20.0)
    assert one.limited(None, NOTHING, 30.0) <= 1.2


def test_where_nothing_remains_it_rests_until_the_reset() -> None:
    one = cooling()
    one.succeeded(EMPTY, 0.0)
    assert one.cooldown(19.9) == Cooldown(20.0, EXHAUSTED)
    assert one.cooldown(20.0) is None


def test_a_refusal_without_a_wait_waits_for_the_reset_and_with_one_for_that() -> None:
    assert cooling().limited(None, EMPTY, 0.0) == 20.0
    assert cooling().limited(2.0, EMPTY, 0.0) == 2.0


@pytest.mark.parametrize("status", [401, 402, 403, 429])
def test_a_refused_credential_is_probed_by_one_attempt_at_a_time(status: int) -> None:
    one = cooling()
    assert one.refused(status, 0.0)
    assert one.cooldown(59.0) == Cooldown(60.0, REFUSED)
    assert not one.refused(status, 1.0), "no news"
    assert one.begin(61.0)
    assert not one.begin(61.1)
    assert one.begin(61.0 + PROBE_S), "that one never ended"
    assert not one.refused(status, 75.0), "still no news"
    assert not one.begin(134.0)
    assert one.begin(135.0)
    one.succeeded(NOTHING, 136.0)
    assert one.cooldown(136.0) is None
    assert one.refused(status, 300.0), "news again"


def test_a_probe_that_is_limited_has_been_let_in() -> None:
    one = cooling()
    one.refused(401, 0.0)
    one.begin(60.0)
    assert one.limited(2.0, NOTHING, 61.0) == 2.0
    assert one.cooldown(62.0) == Cooldown(63.0, RATE_LIMITED)


def test_one_request_that_is_forbidden_costs_nobody_else_a_credential_that_works() -> None:
    one = cooling()
    one.succeeded(NOTHING, 0.0)
    for _ in range(FORBIDDEN_IN_A_ROW - 1):
        assert not one.refused(403, 1.0)
    assert one.cooldown(1.0) is None
    assert one.refused(403, 1.0)
    later = cooling()
    later.succeeded(NOTHING, 0.0)
    assert later.refused(403, PROVEN_S)
    other = cooling()
    other.succeeded(NOTHING, 0.0)
    assert other.refused(401, 1.0)


def test_what_remains_is_known_until_its_reset() -> None:
    one = cooling()
    one.succeeded(ToldLimits(Allowance(5, 30.0), Allowance(70, None)), 100.0)
    assert one.remaining(110.0) == ToldLimits(Allowance(5, 20.0), Allowance(70, None))
    one.succeeded(NOTHING, 115.0)
    assert one.remaining(120.0).requests == Allowance(5, 10.0)
    assert one.remaining(130.0).requests is None
    assert one.remaining(160.0).tokens is None


def test_a_cap_of_zero_spares_nothing() -> None:
    one = cooling(max_s=0.0)
    one.limited(None, EMPTY, 0.0)
    one.succeeded(EMPTY, 0.0)
    one.refused(401, 0.0)
    assert one.cooldown(0.0) is None
    assert one.begin(0.0)
    assert one.begin(0.0)


_WAITS = st.none() | st.floats(0.1, MAX_S)
_EMPTY_FOR = st.floats(0, MAX_EXHAUSTED_S).map(lambda s: ToldLimits(Allowance(0, s), None, s))
_STEPS: st.SearchStrategy[Callable[[Cooling, float], Any]] = st.one_of(
    st.tuples(_WAITS, _EMPTY_FOR).map(lambda told: lambda one, now: one.limited(*told, now)),
    _EMPTY_FOR.map(lambda told: lambda one, now: one.succeeded(told, now)),
    st.sampled_from([401, 402, 403]).map(lambda status: lambda one, now: one.refused(status, now)),
    st.just(lambda one, now: one.begin(now)),
)


@given(st.lists(st.tuples(st.floats(0, 100), _STEPS), max_size=60))
def test_whatever_comes_it_may_be_used_again_within_the_cap(
    history: list[tuple[float, Callable[[Cooling, float], Any]]],
) -> None:
    one, now_s = cooling(), 0.0
    for passes_s, step in history:
        now_s += passes_s
        before = one.cooldown(now_s)
        step(one, now_s)
        after = one.cooldown(now_s)
        assert after is None or after.until_s - now_s <= MAX_S
        if before is not None and before.why == RATE_LIMITED:
            assert after is not None
            assert after.until_s >= before.until_s, "what was asked for is kept"
    assert one.begin(now_s + MAX_S)
