"""The window's one promise, held against a model that remembers every amount."""

from bisect import bisect_left

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from droveway.limiter.window import PARTS, SlidingWindow
from tests.support.limit_model import Interval

GAPS_MS = st.lists(st.integers(0, 40_000), min_size=1, max_size=300)
LIMITS = st.integers(1, 12)
WINDOWS_MS = st.sampled_from([100, 101, 999, 1_000, 7_001, 60_000])
START_MS = 1_790_000_000_000


def _room(window: SlidingWindow, limit: int, now_ms: int) -> bool:
    return window.used(now_ms) < limit


def _run(
    window: SlidingWindow, limit: int, gaps_ms: list[int], now_ms: int = START_MS
) -> list[int]:
    """Takes one whenever there is room; the times at which it did."""
    granted: list[int] = []
    for gap_ms in gaps_ms:
        now_ms += gap_ms * window.window_ms // 100_000
        if _room(window, limit, now_ms):
            window.add(now_ms, 1)
            granted.append(now_ms)
    return granted


def _most_in_any_interval(times: list[int], window_ms: int) -> int:
    """The largest number in an interval [t, t + window_ms): one begins at a permit."""
    return max(
        (bisect_left(times, t + window_ms) - index for index, t in enumerate(times)), default=0
    )


@settings(deadline=None)
@given(GAPS_MS, LIMITS, WINDOWS_MS)
def test_no_interval_ever_has_more_than_the_limit(
    gaps_ms: list[int], limit: int, window_ms: int
) -> None:
    granted = _run(SlidingWindow(window_ms), limit, gaps_ms)
    assert _most_in_any_interval(granted, window_ms) <= limit


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=20, max_size=60), LIMITS, WINDOWS_MS)
def test_whoever_comes_at_the_first_moment_gets_no_more_than_the_limit(
    gaps_ms: list[int], limit: int, window_ms: int
) -> None:
    window, now_ms, granted = SlidingWindow(window_ms), START_MS, list[int]()
    for gap_ms in gaps_ms:
        now_ms += gap_ms * window_ms // 1_000
        if (used := window.used(now_ms)) >= limit:
            now_ms += window.wait_ms(now_ms, used + 1 - limit)
        window.add(now_ms, 1)
        granted.append(now_ms)
    assert _most_in_any_interval(granted, window_ms) <= limit


@settings(deadline=None)
@given(GAPS_MS, LIMITS, WINDOWS_MS)
def test_a_wait_is_true_to_the_millisecond(gaps_ms: list[int], limit: int, window_ms: int) -> None:
    window = SlidingWindow(window_ms)
    granted = _run(window, limit, gaps_ms)
    now_ms = granted[-1]
    if (used := window.used(now_ms)) < limit:
        return
    wait_ms = window.wait_ms(now_ms, used + 1 - limit)
    assert 0 < wait_ms <= window_ms + window_ms // PARTS + 1
    early = SlidingWindow(window_ms)
    for at_ms in granted:
        early.add(at_ms, 1)
    assert not _room(early, limit, now_ms + wait_ms - 1)
    assert _room(window, limit, now_ms + wait_ms)


@settings(deadline=None)
@given(GAPS_MS, LIMITS, WINDOWS_MS)
def test_none_waits_a_part_longer_than_it_must(
    gaps_ms: list[int], limit: int, window_ms: int
) -> None:
    window = SlidingWindow(window_ms)
    now_ms, granted = START_MS, list[int]()
    for gap_ms in gaps_ms:
        now_ms += gap_ms * window_ms // 100_000
        if _room(window, limit, now_ms):
            window.add(now_ms, 1)
            granted.append(now_ms)
        else:
            since_ms = now_ms - window_ms - window_ms // PARTS - 2
            assert len([at_ms for at_ms in granted if at_ms > since_ms]) >= limit


@settings(deadline=None)
@given(GAPS_MS, LIMITS, LIMITS, WINDOWS_MS)
def test_under_another_limit_nothing_is_forgotten(
    gaps_ms: list[int], limit: int, other: int, window_ms: int
) -> None:
    window = SlidingWindow(window_ms)
    before = _run(window, limit, gaps_ms)
    after = _run(window, other, gaps_ms, before[-1])
    for at_ms in after:
        recent = [t for t in (*before, *after) if at_ms - window_ms < t <= at_ms]
        assert len(recent) <= max(other, limit)
    assert _most_in_any_interval(sorted((*before, *after)), window_ms) <= max(limit, other)


def test_reset_tells_when_it_is_empty() -> None:
    window = SlidingWindow(60_000)
    assert (window.used(START_MS), window.reset_ms(START_MS)) == (0, 0)
    window.add(START_MS, 1)
    reset_ms = window.reset_ms(START_MS)
    assert 60_000 <= reset_ms <= 61_000
    assert window.used(START_MS + reset_ms - 1) == 1
    assert window.used(START_MS + reset_ms) == 0


def test_a_clock_that_stands_still_is_no_way_around() -> None:
    assert len(_run(SlidingWindow(1_000), 2, [0] * 10)) == 2


def test_a_clock_that_steps_back_frees_nothing_early() -> None:
    window = SlidingWindow(1_000)
    window.add(START_MS, 1)
    window.add(START_MS - 3_600_000, 1)
    assert window.used(START_MS + 999) == 2
    assert window.used(START_MS + 1_100) == 0


def test_no_more_is_given_back_than_was_taken() -> None:
    window = SlidingWindow(1_000)
    window.add(START_MS, 3)
    window.refund(START_MS, 5)
    assert window.used(START_MS) == 0
    window.refund(START_MS + 500, 5)
    assert window.used(START_MS) == 0


class AmountsMachine(RuleBasedStateMachine):
    """Amounts come if they fit, are given back in part once, or turn out larger: debt."""

    LIMIT = 100
    WINDOW_MS = 1_234

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = START_MS
        self.window = SlidingWindow(self.WINDOW_MS)
        self.model = Interval(self.WINDOW_MS)
        self.open: list[tuple[int, int, object]] = []
        self.worst = 0

    @rule(gap_ms=st.integers(0, 700))
    def time_passes(self, gap_ms: int) -> None:
        self.now_ms += gap_ms

    @rule(amount=st.integers(1, 100))
    def one_asks(self, amount: int) -> None:
        used = self.window.used(self.now_ms)
        if used + amount > self.LIMIT:
            wait_ms = self.window.wait_ms(self.now_ms, used + amount - self.LIMIT)
            later = SlidingWindow(self.WINDOW_MS, self.window.state(self.now_ms))
            assert later.used(self.now_ms + wait_ms - 1) + amount > self.LIMIT
            assert later.used(self.now_ms + wait_ms) + amount <= self.LIMIT
            return
        self.window.add(self.now_ms, amount)
        entry, counted = self.model.take(self.now_ms, amount)
        assert counted <= self.LIMIT
        self.open.append((self.now_ms, amount, entry))

    @precondition(lambda self: self.open)
    @rule(pick=st.integers(0, 10**6), actual=st.integers(0, 130))
    def one_is_settled(self, pick: int, actual: int) -> None:
        at_ms, amount, entry = self.open.pop(pick % len(self.open))
        if actual <= amount:
            self.window.refund(at_ms, amount - actual)
            self.model.lessen(entry, actual)  # type: ignore[arg-type]
        else:
            self.window.add(self.now_ms, actual - amount)
            self.model.take(self.now_ms, actual - amount)

    @invariant()
    def what_counts_is_never_less_than_what_is_in_the_interval(self) -> None:
        _, counted = self.model.take(self.now_ms, 0)
        assert self.window.used(self.now_ms) >= counted
        again = SlidingWindow(self.WINDOW_MS, self.window.state(self.now_ms))
        assert again.used(self.now_ms) == self.window.used(self.now_ms)


TestAmounts = AmountsMachine.TestCase
TestAmounts.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
