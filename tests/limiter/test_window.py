"""The window's one promise, held against a model that remembers every permit."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from droveway.limiter.window import PARTS, SlidingWindow

GAPS_S = st.lists(st.floats(0, 3.0, allow_nan=False), min_size=1, max_size=300)
LIMITS = st.integers(1, 12)
WINDOWS_S = st.sampled_from([0.5, 1.0, 7.0, 60.0])
ROUNDING_S = 1e-9


def _run(window: SlidingWindow, gaps_s: list[float], start_s: float = 1e6) -> list[float]:
    """Takes a permit whenever there is one; the times at which it did."""
    now_s = start_s
    granted: list[float] = []
    for gap_s in gaps_s:
        now_s += gap_s * window.window_s / 7
        if window.standing(now_s).wait_s == 0:
            window.take(now_s)
            granted.append(now_s)
    return granted


def _most_in_any_interval(times: list[float], window_s: float) -> int:
    """The largest number of permits in an interval [t, t + window_s): one begins at a permit."""
    return max(
        (bisect_left(times, t + window_s - ROUNDING_S) - index for index, t in enumerate(times)),
        default=0,
    )


@given(GAPS_S, LIMITS, WINDOWS_S)
def test_no_interval_ever_has_more_than_the_limit(
    gaps_s: list[float], limit: int, window_s: float
) -> None:
    granted = _run(SlidingWindow(limit, window_s), gaps_s)
    assert _most_in_any_interval(granted, window_s) <= limit


@given(GAPS_S, LIMITS, WINDOWS_S)
def test_a_wait_is_true(gaps_s: list[float], limit: int, window_s: float) -> None:
    window = SlidingWindow(limit, window_s)
    start_s = 1e6
    granted = _run(window, gaps_s, start_s)
    now_s = granted[-1] if granted else start_s
    standing = window.standing(now_s)
    if standing.wait_s == 0:
        assert standing.remaining > 0
        return
    assert standing.remaining == 0
    assert standing.wait_s <= window_s * (1 + 1 / PARTS) + ROUNDING_S
    early = SlidingWindow(limit, window_s)
    for at_s in granted:
        early.take(at_s)
    before_s = now_s + standing.wait_s - window_s / PARTS / 10
    if before_s > now_s:
        assert early.standing(before_s).wait_s > 0, "a tenth of a part before it is too early"
    assert window.standing(now_s + standing.wait_s + ROUNDING_S).wait_s == 0


@given(GAPS_S, LIMITS, WINDOWS_S)
def test_no_permit_waits_a_part_longer_than_it_must(
    gaps_s: list[float], limit: int, window_s: float
) -> None:
    window = SlidingWindow(limit, window_s)
    now_s, granted = 1e6, []
    for gap_s in gaps_s:
        now_s += gap_s * window_s / 7
        if window.standing(now_s).wait_s == 0:
            window.take(now_s)
            granted.append(now_s)
        else:
            recent = [at_s for at_s in granted if at_s > now_s - window_s * (1 + 1 / PARTS) - 1e-6]
            assert len(recent) >= limit


@given(GAPS_S, LIMITS, LIMITS, WINDOWS_S)
def test_a_resized_window_forgets_nothing(
    gaps_s: list[float], limit: int, other: int, window_s: float
) -> None:
    first = SlidingWindow(limit, window_s)
    before = _run(first, gaps_s)
    second = first.resized(other)
    after = _run(second, gaps_s, before[-1] if before else 1e6)
    if other <= limit:
        # Permits of before may be more than the new limit allows, but none is added to them.
        for at_s in after:
            recent = [t for t in (*before, *after) if at_s - window_s + ROUNDING_S < t <= at_s]
            assert len(recent) <= max(other, 1)
    assert _most_in_any_interval(sorted((*before, *after)), window_s) <= max(limit, other)


def test_remaining_and_reset_tell_where_it_stands() -> None:
    window = SlidingWindow(3, 60.0)
    assert window.standing(1000.0) == (3, 3, 0.0, 0.0)
    window.take(1000.0)
    standing = window.standing(1000.0)
    assert (standing.limit, standing.remaining, standing.wait_s) == (3, 2, 0.0)
    assert 60.0 <= standing.reset_s <= 61.0
    assert window.standing(1061.0) == (3, 3, 0.0, 0.0)


def test_a_clock_that_stands_still_is_no_way_around() -> None:
    window = SlidingWindow(2, 1.0)
    assert len(_run(window, [0.0] * 10)) == 2
