"""When a canary is judged to do worse than the stable channel."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts.config import CanaryGuard
from droveway.metrics.canary_window import ChannelWindow, Seen, verdict

RULES = CanaryGuard(
    min_requests=100, success_points=5, first_token_factor=2, first_token_floor_s=0.5, window_s=60
)


def _seen(attempts: int = 200, completed: int = 200, p95_s: float = 0.4) -> Seen:
    return Seen(attempts, completed, attempts, p95_s)


def _window(times_s: list[float]) -> ChannelWindow:
    window = ChannelWindow(60)
    for at_s in times_s:
        window.add(at_s, completed=True, first_token_s=None)
    return window


def test_a_canary_that_does_as_well_stays() -> None:
    assert verdict(RULES, _seen(), _seen()) == ""
    assert verdict(RULES, _seen(completed=191), _seen()) == "", "4.5 points are within bounds"


def test_more_failures_than_allowed_roll_it_back() -> None:
    reason = verdict(RULES, _seen(completed=188), _seen())
    assert reason == (
        "success 94.0% of 200 attempts, stable 100.0% of 200: 6.0 points worse, 5 are allowed"
    )


def test_it_is_compared_with_the_stable_channel_and_not_with_perfection() -> None:
    assert verdict(RULES, _seen(completed=140), _seen(completed=145)) == ""


@pytest.mark.parametrize(("canary", "stable"), [(99, 200), (200, 99)])
def test_too_few_attempts_say_nothing(canary: int, stable: int) -> None:
    assert verdict(RULES, _seen(canary, 0, 9), _seen(stable, stable)) == ""


def test_slower_first_tokens_than_allowed_roll_it_back() -> None:
    reason = verdict(RULES, _seen(p95_s=0.9), _seen())
    assert reason == "P95 first token 0.90 s, stable 0.40 s; at most 0.80 s are allowed"
    assert verdict(RULES, _seen(p95_s=0.79), _seen()) == ""


def test_below_the_floor_no_first_token_is_too_slow() -> None:
    assert verdict(RULES, _seen(p95_s=0.45), _seen(p95_s=0.01)) == ""


def test_what_is_older_than_the_window_is_forgotten() -> None:
    assert _window([*range(0, 60, 3), 61.0]).seen().attempts == 20
    assert _window([0.0, 1_000.0]).seen().attempts == 1
    assert _window([1_000.0, 0.0]).seen().attempts == 1, "one that comes too late"
    assert _window([1_000.0, 970.0]).seen().attempts == 2, "one that comes late"


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=300))
def test_the_95th_percentile_is_told_to_5_percent(firsts_s: list[float]) -> None:
    window = ChannelWindow(60)
    for first_s in firsts_s:
        window.add(1.0, completed=True, first_token_s=first_s)
    exact = sorted(firsts_s)[math.ceil(len(firsts_s) * 0.95) - 1]
    assert exact * 0.999 <= window.seen().p95_first_token_s <= exact * 1.051


@given(st.lists(st.floats(0, 1e9), max_size=200))
def test_it_stays_small_whatever_times_it_is_told(times_s: list[float]) -> None:
    window = _window(times_s)
    assert len(window._slots) <= 21
    assert window.seen().attempts <= len(times_s)
