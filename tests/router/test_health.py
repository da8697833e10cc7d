"""What a router makes of its own attempts and of those that others' callers tell of."""

from typing import Any

import msgspec
import pytest

from droveway.contracts import dispatch, events
from droveway.contracts.config import Health
from droveway.contracts.dispatch import Target
from droveway.contracts.errors import failure
from droveway.contracts.health import TargetHealth
from droveway.router.health import TargetsHealth
from droveway.router.routes import Candidate

RULES = Health(consecutive=3, ratio=0.3, min_outcomes=10, window_s=30, slow_s=5)
ONE = Candidate(Target(provider="openai", credential="main", model="fast"), "default", 1, 1)
COMMITTED = dispatch.Committed(attempt_id=bytes(16), caller="caller-1")
FAILED = dispatch.AttemptFailed(
    attempt_id=bytes(16), caller="caller-1", failure=failure("provider_timeout")
)


def health() -> TargetsHealth:
    made = TargetsHealth("router-1")
    made.configure(RULES)
    return made


def row(router: str = "router-2", **fields: Any) -> TargetHealth:
    told = {"provider": "openai", "model": "fast", "router": router, **fields}
    return msgspec.convert(told, TargetHealth)


def down(count: int) -> dict[str, Any]:
    return {"failed": {"provider_unavailable": count}}


def is_open(health: TargetsHealth) -> bool:
    return health.statistics().opened == 1


def test_a_router_that_asked_nothing_learns_from_others() -> None:
    one = health()
    one.hear([row(**down(3))])
    assert is_open(one)
    (seen,) = one.seen()
    assert (seen.state, seen.why, seen.outcomes, seen.failed) == (
        "open", "provider_unavailable", 3, 3,
    )  # fmt: skip


def test_own_failures_and_those_of_others_are_one_row() -> None:
    one = health()
    one.learn(ONE, FAILED, 0, stream=True)
    one.learn(ONE, FAILED, 0, stream=True)
    assert not is_open(one)
    one.hear([row(**down(1))])
    assert is_open(one)


def test_own_attempts_do_not_count_a_second_time_by_digest() -> None:
    one = health()
    one.learn(ONE, FAILED, 0, stream=True)
    one.learn(ONE, FAILED, 0, stream=True)
    one.hear([row("router-1", **down(2))])
    assert not is_open(one)
    (seen,) = one.seen()
    assert (seen.outcomes, seen.failed) == (2, 2)


def test_own_answers_that_were_cut_are_no_good_ones_any_more() -> None:
    one = health()
    for _ in range(10):
        one.learn(ONE, COMMITTED, 0.1, stream=True)
    one.hear([row("router-1", cut=2)])
    (seen,) = one.seen()
    assert (seen.outcomes, seen.failed, seen.state) == (10, 2, "closed")
    one.hear([row("router-1", cut=1)])
    (seen,) = one.seen()
    assert (seen.failed, seen.state, seen.why) == (3, "open", "cut")


def test_a_good_one_elsewhere_ends_a_row_and_the_share_goes_on() -> None:
    one = health()
    one.learn(ONE, FAILED, 0, stream=True)
    one.learn(ONE, FAILED, 0, stream=True)
    one.hear([row(good=6)])
    one.learn(ONE, FAILED, 0, stream=True)
    assert not is_open(one)
    one.hear([row(slow=1)])
    assert is_open(one), "four of ten"


@pytest.mark.parametrize(("provider", "model"), [("", ""), ("openai", ""), ("openai", "fast")])
def test_a_reset_closes_what_it_names(provider: str, model: str) -> None:
    one = health()
    one.hear([row(**down(3))])
    one.reset("azure", "")
    one.reset("openai", "large")
    assert is_open(one)
    one.reset(provider, model)
    assert not is_open(one)


def test_each_change_of_a_target_is_told_once() -> None:
    told: list[events.Event] = []
    one = TargetsHealth("router-1", told.append)
    one.configure(RULES)
    for _ in range(5):
        one.learn(ONE, FAILED, 0, stream=True)
    one.hear([row(**down(9))])
    one.reset("", "")
    one.reset("", "")
    assert told == [
        events.TargetOpened(provider="openai", model="fast", why="provider_timeout"),
        events.TargetClosed(provider="openai", model="fast"),
    ]


def test_first_tokens_elsewhere_count_for_the_quickest() -> None:
    one = health()
    one.hear([row(good=3, first_token_ms=400)])
    assert one.first_token_s(ONE.target) == pytest.approx(0.4, rel=0.05)
