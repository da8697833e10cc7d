"""A target's health: what opens it, who probes it, what closes it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts.config import Health
from droveway.router.breaker import TRIALS, Breaker

RULES = Health(consecutive=3, ratio=0.3, min_outcomes=10, window_s=30, slow_s=5, open_s=1)
DOWN = "provider_unavailable"


def opened(at_s: float = 100.0) -> Breaker:
    breaker = Breaker(RULES, at_s)
    for _ in range(3):
        breaker.failed(at_s, DOWN, at_s)
    return breaker


def test_three_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    breaker = Breaker(RULES, 0)
    for code in (DOWN, DOWN):
        breaker.failed(1.0, code, 1.0)
    breaker.succeeded(1.0, 0.1, 1.0)
    breaker.failed(1.0, DOWN, 1.0)
    breaker.failed(1.0, DOWN, 1.0)
    assert breaker.state(1.0) == "closed"
    breaker.failed(1.0, DOWN, 1.0)
    assert breaker.state(1.0) == "open"
    assert breaker.why == DOWN


def test_a_share_of_failures_opens_it_though_none_follows_another() -> None:
    breaker = Breaker(RULES, 0)
    for n in range(12):
        if n % 3 == 2:
            breaker.failed(n / 10, DOWN, n / 10)
        else:
            breaker.succeeded(n / 10, 0.1, n / 10)
    assert breaker.state(1.2) == "open"


def test_slow_answers_open_it_as_failures_do() -> None:
    breaker = Breaker(RULES, 0)
    for n in range(10):
        breaker.succeeded(n / 10, 28.0 if n % 2 else 0.2, n / 10)
    assert breaker.state(1.0) == "open"
    assert breaker.why == "slow"


def test_a_sudden_fall_opens_it_before_the_window_is_over() -> None:
    breaker, now_s = Breaker(RULES, 0), 0.0
    for _ in range(600):  # 20 a second
        now_s += 0.05
        breaker.succeeded(now_s, 0.1, now_s)
    fell_s = now_s
    while breaker.state(now_s) == "closed":
        now_s += 0.05
        if round(now_s / 0.05) % 5 in (0, 2):
            breaker.failed(now_s, DOWN, now_s)
        else:
            breaker.succeeded(now_s, 0.1, now_s)
    assert now_s - fell_s < 4


def test_a_tenth_that_fails_opens_it_by_no_means() -> None:
    breaker = Breaker(RULES, 0)
    for n in range(5_000):
        if n % 10 == 9:
            breaker.failed(n / 20, DOWN, n / 20)
        else:
            breaker.succeeded(n / 20, 0.1, n / 20)
        assert breaker.state(n / 20) == "closed"


def test_what_left_the_window_counts_no_more() -> None:
    breaker = Breaker(RULES, 0)
    for n in range(9):
        breaker.failed(0.1 * n, DOWN, 0.1 * n) if n % 2 else breaker.succeeded(
            0.1 * n, 0.1, 0.1 * n
        )
    for n in range(9):
        breaker.succeeded(40 + 0.1 * n, 0.1, 40 + 0.1 * n)
    breaker.failed(41.0, DOWN, 41.0)
    assert breaker.state(41.0) == "closed"


def test_one_probe_first_then_more_for_each_that_went_well_until_it_is_closed() -> None:
    breaker = opened(100.0)
    assert breaker.state(100.9) == "open"
    now_s, most = 101.0, []
    while breaker.state(now_s) != "closed":
        at_once = 0
        while breaker.state(now_s) == "probing":
            breaker.probe(now_s, within_s=10)
            at_once += 1
        most.append(at_once)
        for _ in range(at_once):
            breaker.succeeded(now_s + 0.1, 0.1, now_s)
        now_s += 0.2
    assert most == [1, 3, 4]
    assert breaker.since_s == pytest.approx(101.5)


def test_one_bad_trial_opens_it_again_for_longer() -> None:
    breaker = opened(100.0)
    for _ in range(TRIALS - 1):
        assert breaker.state(101.0) == "probing"
        breaker.probe(101.0, within_s=10)
        breaker.succeeded(101.0, 0.1, 101.0)
    assert not breaker.down
    breaker.probe(101.0, within_s=10)
    breaker.succeeded(101.1, 9.0, 101.0)
    assert (breaker.why, breaker.wait_s, breaker.down) == ("slow", 2.0, True)
    assert breaker.state(103.0) == "open"
    assert breaker.state(103.2) == "probing"


def test_a_provider_that_serves_six_of_ten_gets_next_to_nothing() -> None:
    breaker, dice, now_s, sent = Breaker(RULES, 0), random.Random(7), 0.0, 0
    for _ in range(40 * 60):
        now_s += 1 / 40
        if breaker.state(now_s) == "open":
            continue
        sent += 1
        breaker.probe(now_s, within_s=1)
        if dice.random() < 0.39:
            breaker.failed(now_s, DOWN, now_s)
        else:
            breaker.succeeded(now_s, 0.1, now_s)
    assert sent < 40 * 60 * 0.05


def test_a_failed_probe_doubles_the_wait_up_to_its_cap() -> None:
    breaker, at_s = opened(100.0), 100.0
    waits = []
    for _ in range(5):
        waits.append(breaker.wait_s)
        at_s += breaker.wait_s
        breaker.probe(at_s, within_s=10)
        breaker.failed(at_s, DOWN, at_s)
    assert waits == [1.0, 2.0, 4.0, 4.0, 4.0]
    assert breaker.since_s == 100.0


def test_failures_of_attempts_that_began_before_it_opened_do_not_prolong_it() -> None:
    breaker = opened(100.0)
    for _ in range(50):
        breaker.failed(101.5, DOWN, 99.9)
    assert breaker.wait_s == 1.0
    assert breaker.state(101.5) == "probing"


def test_a_probe_that_is_never_heard_of_gives_way_to_another() -> None:
    breaker = opened(100.0)
    breaker.probe(101.0, within_s=5)
    assert breaker.state(105.9) == "open"
    assert breaker.state(106.0) == "probing"


def test_a_probe_that_says_nothing_of_its_health_lets_the_next_one_try() -> None:
    breaker = opened(100.0)
    breaker.probe(101.0, within_s=50)
    breaker.spared(101.0)
    assert breaker.state(101.1) == "probing"


def test_it_closes_only_once_every_trial_is_known_to_be_good() -> None:
    breaker = opened(100.0)
    breaker.probe(101.0, within_s=30)
    breaker.succeeded(101.1, 0.1, 101.0)
    breaker.probe(101.2, within_s=30)
    while breaker.state(101.2) == "probing":
        breaker.probe(101.2, within_s=30)
        breaker.succeeded(101.2, 0.1, 101.2)
    assert breaker.why, "one of them may stall"
    breaker.failed(103.0, DOWN, 101.2)
    assert breaker.wait_s == 2.0


def test_good_ones_of_others_close_nothing() -> None:
    breaker = opened(100.0)
    breaker.heard(103.0, 50, 0, 0, "slow")
    assert breaker.down


def test_a_cut_takes_the_place_of_a_good_one() -> None:
    breaker = Breaker(RULES, 0)
    for n in range(10):
        breaker.succeeded(n, 0.1, n)
    breaker.cut(10.0, 2)
    assert breaker.outcomes(10.0) == (8, 2)
    breaker.cut(20.0, 30)
    assert breaker.outcomes(20.0) == (0, 32)
    assert breaker.why == "cut"


@given(st.lists(st.tuples(st.sampled_from(["good", "bad", "slow"]), st.floats(0, 20))))
def test_it_never_stays_open_for_longer_than_its_cap_without_a_probe(
    steps: list[tuple[str, float]],
) -> None:
    breaker, now_s = Breaker(RULES, 0), 0.0
    for what, after_s in steps:
        now_s += after_s
        if what == "bad":
            breaker.failed(now_s, DOWN, now_s)
        else:
            breaker.succeeded(now_s, 9.0 if what == "slow" else 0.1, now_s)
        assert breaker.state(now_s + RULES.open_cap_s) != "open"
        good, bad = breaker.outcomes(now_s)
        assert good >= 0 <= bad
