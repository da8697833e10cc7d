"""What is learned of the length of answers: near, recent, bounded."""

from hypothesis import given, settings
from hypothesis import strategies as st

from droveway.limiter.learned import ENOUGH, MAX_MODELS, Learned


@settings(deadline=None)
@given(st.lists(st.integers(0, 200_000), min_size=ENOUGH, max_size=200))
def test_it_is_no_less_than_the_percentile_and_a_quarter_more_at_most(lengths: list[int]) -> None:
    learned = Learned()
    for tokens in lengths:
        learned.add("m", tokens)
    exact = sorted(lengths)[-(-len(lengths) * 95 // 100) - 1]
    found = learned.output_tokens("m")
    assert found is not None
    assert exact <= found <= exact * 1.25


def test_nothing_is_known_before_enough_answers() -> None:
    learned = Learned()
    for _ in range(ENOUGH - 1):
        learned.add("m", 100)
    assert learned.output_tokens("m") is None
    learned.add("m", 100)
    assert learned.output_tokens("m") is not None


def test_newer_answers_outweigh_older_ones() -> None:
    learned = Learned()
    for _ in range(10_000):
        learned.add("m", 10_000)
    for _ in range(1_500):
        learned.add("m", 10)
    assert (learned.output_tokens("m") or 0) < 20


def test_the_model_that_was_longest_unheard_of_is_forgotten() -> None:
    learned = Learned()
    for number in range(MAX_MODELS):
        for _ in range(ENOUGH):
            learned.add(f"m{number}", 5)
    learned.add("m0", 5)
    learned.add("new", 5)
    assert learned.output_tokens("m0") == 5
    assert learned.output_tokens("m1") is None
    assert len(learned.state()) == MAX_MODELS


def test_what_is_larger_than_every_bucket_is_in_the_last_one() -> None:
    learned = Learned()
    for _ in range(ENOUGH):
        learned.add("m", 2**52)
    assert (learned.output_tokens("m") or 0) >= 2**24
