"""Tokens and places among concurrent requests: reserved, settled once, freed when nobody works."""

import pytest

from droveway.contracts.access import Limit
from droveway.contracts.admission import Admitted, Held
from droveway.limiter.decisions import DecisionSettings
from tests.support.limiter_world import OTHER_PLACE, PLACE, World, config

TOKENS = (Limit(tokens=100),)
BOTH_PLACES = (PLACE, OTHER_PLACE)


def _left(world: World, number: int = 99) -> int:
    """Tokens that the key `a` could still have."""
    shown = world.denied(number, input_tokens=0, max_output_tokens=100).tokens
    assert shown is not None
    return shown.remaining


def test_what_is_reserved_is_gone_until_it_is_settled() -> None:
    world = World(config(key=TOKENS))
    admitted = world.admitted(1, input_tokens=10, max_output_tokens=60)
    assert admitted.lease_ms == 10_000
    assert admitted.tokens is not None
    assert admitted.tokens.remaining == 30
    world.denied(2, input_tokens=10, max_output_tokens=30)
    world.settle(1, 12, 8)
    assert world.admitted(2, input_tokens=10, max_output_tokens=70).tokens


def test_it_is_given_back_once_however_often_it_is_settled() -> None:
    world = World(config(key=TOKENS))
    world.admitted(1, input_tokens=10, max_output_tokens=60)
    assert len(world.settle(1, 10, 10)) == 1
    assert _left(world) == 80
    for attempt in (1, 2):
        assert world.settle(1, 0, 0, attempt=attempt) == ()
    assert world.release(1) == ()
    assert _left(world) == 80


def test_what_was_used_beyond_it_counts_from_then_on() -> None:
    world = World(config(key=TOKENS))
    world.admitted(1, input_tokens=10, max_output_tokens=40)
    world.now_ms += 59_000
    world.settle(1, 10, 90)
    assert _left(world) == 0
    world.now_ms += 10_000
    assert _left(world) == 50, "what was reserved has left, the debt hasn't"


def test_a_provider_s_negative_numbers_give_nothing_back() -> None:
    world = World(config(key=TOKENS))
    world.admitted(1, input_tokens=10, max_output_tokens=40)
    world.settle(1, -1_000, 10)
    assert _left(world) == 90


@pytest.mark.parametrize(
    ("limit", "tokens"),
    [
        (Limit(tokens=100), {"input_tokens": 41, "max_output_tokens": 60}),
        (Limit(input_tokens=100), {"input_tokens": 101, "max_output_tokens": 1}),
        (Limit(output_tokens=100), {"input_tokens": 1, "max_output_tokens": 101}),
        (Limit(tokens=100), {"input_tokens": 100}),
        (Limit(tokens=100, burst=20), {"input_tokens": 11, "max_output_tokens": 10}),
    ],
    ids=["tokens", "input", "output", "input alone", "burst"],
)
def test_what_is_larger_than_a_limit_never_fits(limit: Limit, tokens: dict[str, int]) -> None:
    failure = World(config(key=(limit,))).denied(1, **tokens).failure
    assert failure.code == "request_exceeds_limit"
    assert failure.retry_after_ms is None
    assert "never fits" in failure.message


def test_without_a_bound_it_takes_all_that_remains_and_runs_alone() -> None:
    world = World(config(key=TOKENS))
    world.admitted(1, input_tokens=10, max_output_tokens=50)
    admitted = world.admitted(2, input_tokens=10)
    assert admitted.tokens is not None
    assert admitted.tokens.remaining == 0
    world.denied(3, input_tokens=10)
    world.settle(2, 10, 5)
    assert world.admitted(3, input_tokens=10).tokens is not None


def test_five_at_once_never_have_more_than_the_limit_together() -> None:
    world = World(config(key=TOKENS))
    answers = [world.ask(number, input_tokens=10) for number in range(5)]
    assert [isinstance(answer, Admitted) for answer in answers] == [True, *[False] * 4]
    world.settle(0, 10, 80)
    world.denied(5, input_tokens=10)


def test_what_answers_had_is_what_is_reserved_for_the_next() -> None:
    world = World(config(key=(Limit(tokens=100_000),)))
    for number in range(20):
        world.admitted(number, input_tokens=10)
        world.settle(number, 10, 30)
    admitted = world.admitted(50, input_tokens=10)
    assert admitted.tokens is not None
    assert 100_000 - 20 * 40 - admitted.tokens.remaining == 10 + 31


def test_what_is_learned_must_be_there_before_one_more_starts() -> None:
    world = World(config(key=(Limit(tokens=1_000, window_s=1),)))
    for number in range(20):
        world.admitted(number, input_tokens=10)
        world.settle(number, 10, 490)
        world.now_ms += 2_000
    world.admitted(50, input_tokens=490, max_output_tokens=10)
    world.denied(51, input_tokens=10)
    world.settle(50, 390, 10)
    world.admitted(51, input_tokens=10)


def test_utilisation_with_known_bounds_is_over_95_percent() -> None:
    limit, used, world = 10_000, 0, World(config(key=(Limit(tokens=10_000),)))
    for number in range(1_000):  # four times as many as fit, a few at a time
        world.now_ms += 15
        if isinstance(world.ask(number, input_tokens=20, max_output_tokens=30), Admitted):
            world.now_ms += 15
            world.settle(number, 20, 20)
            used += 40
    assert 0.95 * limit <= used <= limit


def test_concurrency_is_freed_by_the_end_of_a_request() -> None:
    world = World(config(key=(Limit(concurrency=2),)))
    world.admitted(1)
    world.admitted(2)
    failure = world.denied(3).failure
    assert failure.message.startswith(
        "Rate limit exceeded for model m: 2 requests at the same time (key: 2 used"
    )
    assert failure.retry_after_ms == 1_000
    world.settle(1, committed=False)
    world.denied(3)
    world.release(1)
    world.admitted(3)
    world.denied(4)


def test_a_lease_that_runs_out_frees_its_place_and_keeps_its_tokens() -> None:
    world = World(config(key=(Limit(concurrency=1, tokens=1_000),)))
    world.admitted(1, input_tokens=10, max_output_tokens=90)
    world.now_ms += 9_999
    assert world.expire() == ()
    world.now_ms += 1
    assert len(world.expire()) == 1
    admitted = world.admitted(2, input_tokens=0, max_output_tokens=0)
    assert admitted.tokens is not None
    assert admitted.tokens.remaining == 900


def test_a_lease_without_a_running_attempt_leaves_nothing_behind() -> None:
    world = World(config(key=(Limit(tokens=1_000),)))
    world.admitted(1, input_tokens=10, max_output_tokens=90)
    world.settle(1, 10, 0, committed=False)
    world.now_ms += 10_000
    world.expire()
    admitted = world.admitted(2, input_tokens=0, max_output_tokens=0)
    assert admitted.tokens is not None
    assert admitted.tokens.remaining == 990


def test_a_caller_that_renewed_is_charged_for_what_it_had() -> None:
    world = World(config(key=(Limit(tokens=1_000),)))
    world.admitted(1, input_tokens=10, max_output_tokens=90)
    world.now_ms += 5_000
    world.renew(1, 25)
    world.now_ms += 9_999
    assert world.expire() == ()
    world.now_ms += 1
    assert len(world.expire()) == 1
    admitted = world.admitted(2, input_tokens=0, max_output_tokens=0)
    assert admitted.tokens is not None
    assert admitted.tokens.remaining == 1_000 - 35


def test_at_take_over_every_lease_is_whole_again() -> None:
    world = World(config(key=(Limit(concurrency=1),)))
    world.admitted(1)
    world.now_ms += 9_000
    world.take_over(world.book)
    world.now_ms += 9_000
    assert world.expire() == ()
    world.now_ms += 1_000
    assert len(world.expire()) == 1


def test_a_released_request_has_used_nothing_more() -> None:
    world = World(config(key=(Limit(tokens=100),)))
    world.admitted(1, input_tokens=10, max_output_tokens=60)
    assert world.release(1, router="router-b") == ()
    assert len(world.release(1)) == 1
    assert world.admitted(2, input_tokens=50, max_output_tokens=50)


def test_a_further_attempt_counts_at_its_credential_and_not_again_at_the_client() -> None:
    limits = (Limit(requests=1, tokens=100),)
    world = World(config(key=limits, main=(Limit(requests=1),), spare=(Limit(requests=1),)))
    assert world.admitted(1, input_tokens=10, max_output_tokens=60, places=BOTH_PLACES).place == 0
    world.settle(1, 10, 0, committed=False)
    again = world.admitted(
        1, input_tokens=10, max_output_tokens=60, attempt=2, places=(OTHER_PLACE,)
    )
    assert again.tokens is not None
    assert again.tokens.remaining == 100 - 70 - 10, "the first attempt's tokens and the reservation"
    failure = world.denied(1, attempt=3, places=BOTH_PLACES).failure
    assert failure.code == "provider_busy"
    world.settle(1, 10, 20, attempt=2, credential="spare")
    used = world.book.meters.windows["k:a|tokens|60000"].used(world.now_ms)
    assert used == 10 + 30


def test_a_late_word_on_the_first_attempt_leaves_the_second_one_s_reservation() -> None:
    tokens = (Limit(tokens=100),)
    world = World(config(main=tokens, spare=tokens))
    world.admitted(1, input_tokens=10, max_output_tokens=60, places=(PLACE,))
    world.admitted(1, input_tokens=10, max_output_tokens=60, attempt=2, places=(OTHER_PLACE,))
    world.settle(1, 10, 0, committed=False)
    world.denied(2, input_tokens=10, max_output_tokens=60, places=(OTHER_PLACE,))
    world.admitted(2, input_tokens=30, max_output_tokens=60, places=(PLACE,))


def test_the_first_place_with_room_is_taken() -> None:
    world = World(config(main=(Limit(requests=1),), spare=(Limit(requests=2),)))
    places = [world.admitted(number, places=BOTH_PLACES).place for number in range(3)]
    assert places == [0, 1, 1]
    assert world.denied(3, places=BOTH_PLACES).failure.code == "provider_busy"


def test_what_a_dead_router_s_settled_request_had_is_reserved_anew() -> None:
    world = World(config(key=(Limit(requests=1, tokens=100),)))
    world.admitted(1, input_tokens=10, max_output_tokens=60)
    world.settle(1, 10, 30)
    other = {"router": "router-b", "ask": 2, "instead_of": "router-a"}
    world.admitted(1, input_tokens=10, max_output_tokens=50, **other)
    assert isinstance(world.ask(1), Held)
    world.settle(1, 10, 50, attempt=2)
    world.denied(1, input_tokens=1, max_output_tokens=1, router="router-c", ask=3,
                 instead_of="router-b")  # fmt: skip


def test_a_repeated_question_after_a_take_over_has_the_first_answer() -> None:
    world = World(config(key=TOKENS, main=(Limit(requests=1),)))
    world.admitted(1, max_output_tokens=10, places=BOTH_PLACES)
    first = world.admitted(2, max_output_tokens=10, places=BOTH_PLACES)
    assert first.place == 1
    world.take_over(type(world.book).restore(world.book.snapshot()))
    assert world.ask(2, max_output_tokens=10, places=BOTH_PLACES) == first


def test_no_more_are_open_than_are_remembered() -> None:
    world = World(config(key=TOKENS), DecisionSettings(remembered_holds=2))
    for number in (1, 2):
        world.admitted(number, max_output_tokens=1)
    assert world.denied(3, max_output_tokens=1).failure.code == "overloaded"
    world.settle(1)
    world.admitted(3, max_output_tokens=1)
    assert len(world.book.holds) == 2


def test_a_late_word_on_the_first_of_two_attempts_at_one_credential_is_about_the_first() -> None:
    world = World(config(main=(Limit(tokens=100),)))
    world.admitted(1, input_tokens=10, max_output_tokens=30)
    world.now_ms += 30_000
    world.admitted(1, input_tokens=10, max_output_tokens=30, attempt=2)
    world.settle(1, 10, 0, committed=False)
    world.now_ms += 32_000
    window = world.book.meters.windows["c:p/main|tokens|60000"]
    assert window.used(world.now_ms) == 40, "the second one's reservation"


def test_a_further_attempt_of_a_forgotten_request_counts_no_request_again() -> None:
    world = World(config(key=(Limit(requests=1, tokens=100),)))
    world.admitted(1, max_output_tokens=10)
    admitted = world.admitted(2, attempt=2, max_output_tokens=10)
    assert admitted.tokens is not None
    assert admitted.tokens.remaining == 80, "what it may use is reserved all the same"
