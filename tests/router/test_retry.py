"""Retries: which wait a policy names, and a budget that no storm passes."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts.config import RETRY_PRESETS, Backoff, Retry, RetryBudget
from droveway.contracts.errors import failure
from droveway.contracts.inference import Needs
from droveway.router.retry import Budget, attempts_left, starts_anew, wait_s
from tests.support.requested import requested

LIMITED = failure("provider_rate_limited")
DOWN = failure("provider_unavailable")
LATE = failure("provider_timeout")
DICE = random.Random(7)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def waits(name: str, occurrence: object, count: int = 3) -> list[float | None]:
    policy = RETRY_PRESETS[name]
    return [wait_s(policy, occurrence, n, DICE) for n in range(count)]  # type: ignore[arg-type]


def test_the_exponential_preset_waits_one_and_a_half_three_and_then_no_more() -> None:
    assert waits("exponential", LIMITED) == [1.5, 3.0, None]
    assert waits("exponential", DOWN) == [1.0, 2.0, None]
    assert waits("exponential", LATE) == [0.0, 0.0, None]


def test_plus_one_waits_two_three_and_plus_random_up_to_a_second_more() -> None:
    assert waits("plus-one", LIMITED) == [2.0, 3.0, None]
    for base, told in zip((1.0, 2.0), waits("plus-random", LIMITED), strict=False):
        assert told is not None
        assert base <= told < base + 1


@given(st.integers(0, 1), st.randoms(use_true_random=False))
def test_full_jitter_stays_between_nothing_and_the_backoff(n: int, dice: random.Random) -> None:
    told = wait_s(RETRY_PRESETS["full-jitter"], DOWN, n, dice)
    assert told is not None
    assert 0 <= told <= 2.0**n


def test_what_a_provider_tells_to_wait_holds_where_it_is_longer() -> None:
    told = failure("provider_rate_limited", retry_after_ms=4_000)
    policy = Retry(rate_limited=Backoff(base_s=1, jitter="none"), max_wait_s=4)
    assert wait_s(policy, told, 0, DICE) == 4.0
    assert wait_s(Retry(max_wait_s=3.9), told, 0, DICE) is None, "its client is told instead"
    assert wait_s(policy, LIMITED, 0, DICE) == 1.0


@pytest.mark.parametrize("code", ["provider_rejected", "provider_auth_error", "bad_upstream"])
def test_what_would_be_refused_again_is_not_asked_again(code: str) -> None:
    assert wait_s(Retry(same_target=5), failure(code), 0, DICE) is None


def test_a_single_500_is_repeated_once_on_the_same_target() -> None:
    assert [one is None for one in waits("standard", DOWN)] == [False, True, True]


@pytest.mark.parametrize(
    ("policy", "most", "fields", "left"),
    [
        (3, 10, {}, 3),
        (6, 10, {}, 6),
        (6, 4, {}, 4),
        (6, 10, {"attempts_left": 2}, 2),
        (6, 10, {"attempts_made": 2, "attempts_left": 8}, 4),
        (2, 10, {"attempts_made": 5}, 1),
        (3, 10, {"attempts_made": 2, "avoid": ("openai/gpt-5",)}, 1),
        (3, 10, {"attempts_made": 3, "avoid": ("openai/gpt-5",)}, 0),
        (3, 10, {"attempts_made": 3, "needs": Needs(continues=True)}, 0),
        (1, 10, {"attempts_made": 1, "goes_on": True}, 0),
        (2, 10, {"attempts_made": 1, "goes_on": True}, 1),
    ],
    ids=[
        "by default", "as the policy says", "as the operator says", "as the door says",
        "those made count", "one more after a router's death", "one more to go on",
        "none more to start over", "none more to go on", "none more though only a caller died",
        "one more though only a caller died",
    ],
)  # fmt: skip
def test_the_policy_decides_how_many_attempts_are_left(
    policy: int, most: int, fields: dict[str, Any], left: int
) -> None:
    assert attempts_left(Retry(attempts=policy), requested(**fields), most) == left


@pytest.mark.parametrize(
    ("fields", "anew"),
    [
        ({}, True),
        ({"attempts_made": 1, "instead_of": "router-000000000000"}, True),
        ({"goes_on": True}, False),
        ({"avoid": ("openai/gpt-5",)}, False),
        ({"needs": Needs(continues=True)}, False),
    ],
    ids=["new", "router-died", "caller-died", "target-broke-off", "goes-on"],
)
def test_what_broke_off_brings_the_budget_no_credit(fields: dict[str, Any], anew: bool) -> None:
    assert starts_anew(requested(**fields)) is anew


def test_the_budget_is_a_share_of_ten_seconds_requests_and_some_a_second() -> None:
    clock = Clock()
    budget = Budget(clock)
    budget.configure(RetryBudget(ratio=0.2, per_s=10))
    for _ in range(100):
        budget.deposit()
    assert sum(budget.withdraw() for _ in range(200)) == 10 + 20
    clock.now_s += 1
    assert sum(budget.withdraw() for _ in range(200)) == 10
    assert budget.refused > 0


def test_credits_of_requests_last_ten_seconds() -> None:
    clock = Clock()
    budget = Budget(clock)
    budget.configure(RetryBudget(ratio=0.5, per_s=0))
    for _ in range(10):
        budget.deposit()
    clock.now_s += 9
    assert budget.credits == 5
    clock.now_s += 1.5
    assert not budget.withdraw()


@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "retry"]), st.floats(0, 2)), min_size=1, max_size=300
    )
)
def test_no_ten_seconds_see_more_retries_than_their_requests_allow(
    steps: list[tuple[str, float]],
) -> None:
    clock = Clock()
    budget = Budget(clock)
    rules = RetryBudget(ratio=0.2, per_s=3)
    budget.configure(rules)
    began_s, asked, retried = clock.now_s, 0, 0
    for what, after_s in steps:
        clock.now_s += after_s
        if what == "ask":
            budget.deposit()
            asked += 1
        else:
            retried += budget.withdraw()
        elapsed_s = clock.now_s - began_s
        assert retried <= rules.ratio * asked + rules.per_s * (elapsed_s + 1) + 10
        assert retried <= rules.ratio * asked + 10 + rules.per_s * elapsed_s + 1e-6
