"""Spread evenly: in any interval at most the burst and what drains meanwhile."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from droveway.limiter.gcra import MAX_SLACKS, NS_PER_MS, Gcra
from tests.support.limit_model import Admission, over_admissions

START_MS = 1_790_000_000_000
STEPS = st.lists(
    st.tuples(st.integers(0, 900), st.integers(1, 30), st.one_of(st.none(), st.integers(0, 30))),
    max_size=60,
)
"""Pause, amount, and what is settled of the oldest open one before."""
SHAPES = st.tuples(st.integers(1, 200), st.integers(1, 40), st.sampled_from([100, 1_000, 7_001]))
"""Limit, burst and window."""


def _unit_ns(limit: int, window_ms: int) -> int:
    return -(-window_ms * NS_PER_MS // limit)


@settings(deadline=None)
@given(STEPS, SHAPES)
def test_no_admission_is_over_and_a_wait_is_true(
    steps: list[tuple[int, int, int | None]], shape: tuple[int, int, int]
) -> None:
    limit, burst, window_ms = shape
    unit_ns, now_ms, bucket = _unit_ns(limit, window_ms), START_MS, Gcra()
    history: list[Admission] = []
    for gap_ms, amount, _ in steps:
        now_ms += gap_ms
        used = bucket.used(now_ms, unit_ns)
        if used + amount <= burst:
            bucket.add(now_ms, amount, unit_ns)
            history.append(Admission(now_ms, "b", amount, limit, window_ms, burst))
        elif amount <= burst:
            wait_ms = bucket.wait_ms(now_ms, used + amount - burst, unit_ns)
            assert bucket.used(now_ms + wait_ms - 1, unit_ns) + amount > burst
            assert bucket.used(now_ms + wait_ms, unit_ns) + amount <= burst
    assert over_admissions(history) == []


@settings(deadline=None)
@given(STEPS, SHAPES)
def test_what_is_given_back_opens_no_interval_for_more(
    steps: list[tuple[int, int, int | None]], shape: tuple[int, int, int]
) -> None:
    limit, burst, window_ms = shape
    unit_ns, now_ms, bucket = _unit_ns(limit, window_ms), START_MS, Gcra()
    taken: list[list[int]] = []
    settled = 0
    for gap_ms, amount, actual in steps:
        now_ms += gap_ms
        if actual is not None and settled < len(taken):
            at_ms, reserved = taken[settled]
            taken[settled][1] = min(actual, reserved)
            bucket.refund(at_ms, reserved - taken[settled][1], unit_ns)
            settled += 1
        if bucket.used(now_ms, unit_ns) + amount <= burst:
            bucket.add(now_ms, amount, unit_ns)
            taken.append([now_ms, amount])
            for index, (since_ms, _) in enumerate(taken):
                total = sum(each for _, each in taken[index:])
                assert total <= burst + Fraction((now_ms - since_ms) * limit, window_ms)


def test_what_is_given_back_at_once_is_free_at_once() -> None:
    bucket, unit_ns = Gcra(), 1_000 * NS_PER_MS
    bucket.add(START_MS, 10, unit_ns)
    bucket.refund(START_MS, 9, unit_ns)
    assert bucket.used(START_MS, unit_ns) == 1


def test_what_has_drained_is_not_given_back() -> None:
    bucket, unit_ns = Gcra(), 1_000 * NS_PER_MS
    bucket.add(START_MS, 10, unit_ns)
    later_ms = START_MS + 20_000
    bucket.add(later_ms, 5, unit_ns)
    bucket.refund(START_MS, 10, unit_ns)
    assert bucket.used(later_ms, unit_ns) == 5


def test_its_memory_is_bounded() -> None:
    bucket, unit_ns = Gcra(), 1_000 * NS_PER_MS
    for second in range(1_000):
        bucket.add(START_MS + second * 1_000, 2, unit_ns)
    state = bucket.state(START_MS)
    assert state is not None
    assert len(state[2]) <= MAX_SLACKS


def test_what_came_before_a_charge_does_not_cut_what_it_gets_back() -> None:
    bucket, unit_ns = Gcra(), 1_000 * NS_PER_MS
    bucket.add(START_MS, 2, unit_ns)
    bucket.add(START_MS + 1_000, 10, unit_ns)
    bucket.refund(START_MS + 1_000, 9, unit_ns)
    assert bucket.used(START_MS + 1_000, unit_ns) == 2
