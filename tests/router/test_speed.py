"""How quick a target lately was."""

from hypothesis import given
from hypothesis import strategies as st

from droveway.router.speed import Speed


def test_a_slow_answer_counts_at_once_and_quick_ones_by_and_by() -> None:
    speed = Speed()
    for at_s in range(10):
        speed.note(at_s, 0.2)
    speed.note(10, 28.0)
    assert speed.value_s(10) == 28.0
    for at_s in range(11, 51):
        speed.note(at_s, 0.2)
    assert 0.2 < speed.value_s(50) < 3


def test_what_is_long_ago_is_not_known_any_more() -> None:
    speed = Speed()
    assert speed.value_s(0) == 0
    speed.note(0, 5.0)
    assert speed.value_s(60) == 5.0
    assert speed.value_s(60.1) == 0
    speed.note(61, 0.1)
    assert speed.value_s(61) == 0.1


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0.001, 100)), min_size=1))
def test_the_mean_lies_among_what_was_seen(seen: list[tuple[float, float]]) -> None:
    speed, now_s = Speed(), 0.0
    for after_s, took_s in seen:
        now_s += after_s
        speed.note(now_s, took_s)
        value = speed.value_s(now_s)
        assert min(one for _, one in seen) - 1e-9 <= value <= max(one for _, one in seen) + 1e-9
        assert value >= took_s - 1e-9
