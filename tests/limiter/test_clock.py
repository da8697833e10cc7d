"""The log's clock lags or is right; it never leads, and never steps back."""

import itertools

import pytest

from droveway.limiter.clock import LogClock

BROKER_MS = 1_800_000_000_000


class Monotonic:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def clock() -> tuple[LogClock, Monotonic]:
    monotonic = Monotonic()
    return LogClock(monotonic), monotonic


def test_the_first_owner_begins_with_the_brokers_time() -> None:
    log_clock, monotonic = clock()
    assert log_clock.begin(BROKER_MS, 0) == BROKER_MS
    monotonic.now_s += 1.5
    assert log_clock.now_ms() == BROKER_MS + 1_500


def test_a_new_owner_goes_on_from_what_it_heard_however_the_brokers_clock_stepped() -> None:
    for step_ms in (3_600_000, 0):
        log_clock, monotonic = clock()
        log_clock.heard(BROKER_MS)
        monotonic.now_s += 10
        assert log_clock.begin(BROKER_MS + 10_000 + step_ms, BROKER_MS) == BROKER_MS + 10_000


def test_a_broker_whose_clock_went_back_costs_no_more_than_the_gap() -> None:
    log_clock, monotonic = clock()
    log_clock.heard(BROKER_MS)
    monotonic.now_s += 0.3
    assert log_clock.begin(BROKER_MS - 3_600_000, BROKER_MS + 50) == BROKER_MS + 50
    monotonic.now_s += 0.1
    assert log_clock.now_ms() == BROKER_MS + 150


def test_a_batch_that_lay_unread_tells_less_than_one_that_came_fast() -> None:
    log_clock, monotonic = clock()
    log_clock.heard(BROKER_MS)
    monotonic.now_s += 5
    log_clock.heard(BROKER_MS + 3_000)  # two seconds on its way
    assert log_clock.begin(BROKER_MS + 9_000, 0) == BROKER_MS + 5_000


def test_it_never_leads_an_owner_however_long_its_batches_are_on_their_way() -> None:
    for delays_s in ((0.5, 0.1, 2.0), (0.0, 1.0), (3.0,)):
        log_clock, monotonic = clock()
        began_s = monotonic.now_s
        for delay_s in delays_s:
            monotonic.now_s += 4
            at_ms = BROKER_MS + int((monotonic.now_s - delay_s - began_s) * 1_000)
            log_clock.heard(at_ms)
        owners_ms = BROKER_MS + int((monotonic.now_s - began_s) * 1_000)
        lag_ms = owners_ms - log_clock.begin(2 * BROKER_MS, 0)
        assert 0 <= lag_ms <= min(delays_s) * 1_000 + 1


def test_what_was_heard_long_ago_is_forgotten() -> None:
    """Monotonic clocks of hosts drift apart."""
    log_clock, monotonic = clock()
    log_clock.heard(BROKER_MS + 500)
    for _ in range(3):
        monotonic.now_s += 31
        log_clock.heard(BROKER_MS + int(monotonic.now_s - 1_000) * 1_000)
    assert log_clock.begin(2 * BROKER_MS, 0) == BROKER_MS + 93_000


def test_it_never_steps_back() -> None:
    log_clock, monotonic = clock()
    readings = [log_clock.begin(BROKER_MS, BROKER_MS + 10)]
    for step_s in (0.001, 0.0, 0.0004, 1.0, 0.0):
        monotonic.now_s += step_s
        readings.append(log_clock.now_ms())
    readings.append(log_clock.begin(BROKER_MS - 5_000, readings[-1]))
    assert all(before <= after for before, after in itertools.pairwise(readings))


def test_who_owns_nothing_has_no_time() -> None:
    with pytest.raises(RuntimeError, match="begin first"):
        clock()[0].now_ms()
