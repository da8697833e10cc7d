"""Denials name their limit, and their wait is true: then it passes, 50 ms before it doesn't."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from droveway.contracts.access import Limit
from droveway.contracts.admission import Admitted, Denied
from droveway.limiter.book import Book
from tests.support.limiter_world import OTHER_PLACE, PLACE, World, config

NUMBERS = st.integers(1, 60)
WINDOWS = st.sampled_from([0.1, 0.7, 1.0, 7.001, 60.0])


@st.composite
def _limits(draw: st.DrawFn) -> Limit:
    kind = draw(st.sampled_from(["requests", "tokens", "input_tokens", "output_tokens"]))
    number = draw(NUMBERS)
    burst = draw(st.one_of(st.none(), st.integers(1, number)))
    return Limit(window_s=draw(WINDOWS), burst=burst, **{kind: number})  # type: ignore[arg-type]


LISTS = st.lists(_limits(), max_size=2)
QUESTIONS = st.lists(
    st.tuples(
        st.integers(0, 400), st.integers(0, 15), st.one_of(st.none(), st.integers(0, 15)),
        st.integers(0, 20), st.booleans(),
    ),
    min_size=1, max_size=40,
)  # fmt: skip
"""Pause, input, bound of the output, output, and whether it is settled at once."""


@settings(deadline=None)
@given(LISTS, LISTS, LISTS, LISTS, QUESTIONS)
def test_a_retry_at_the_told_time_passes_and_one_just_before_does_not(
    key: list[Limit], tenant: list[Limit], main: list[Limit], spare: list[Limit], questions: Any
) -> None:
    world = World(config(key=key, tenant=tenant, main=main, spare=spare))
    for number, (gap_ms, input_tokens, bound, output, settled) in enumerate(questions):
        world.now_ms += gap_ms
        asked = {
            "input_tokens": input_tokens,
            "max_output_tokens": bound,
            "places": (PLACE, OTHER_PLACE),
        }
        answer = world.ask(number, **asked)
        if isinstance(answer, Denied):
            wait_ms = answer.failure.retry_after_ms
            if wait_ms is None:
                assert answer.failure.code == "request_exceeds_limit"
                continue
            assert wait_ms > 0
            chunks = world.book.snapshot()
            for early_ms in {50, 1} - {*range(wait_ms + 1, 51)}:
                assert isinstance(_later(world, chunks, wait_ms - early_ms, asked), Denied)
            assert isinstance(_later(world, chunks, wait_ms, asked), Admitted)
        elif settled:
            world.settle(number, input_tokens, output)


def _later(world: World, chunks: list[bytes], wait_ms: int, asked: dict[str, Any]) -> Any:
    other = World(world.config)
    other.decisions = other.owner(Book.restore(chunks))
    other.now_ms = world.now_ms + wait_ms
    return other.ask(10_000, **asked)


def test_a_denial_names_scope_window_and_what_is_used() -> None:
    world = World(config(tenant=(Limit(tokens=50, window_s=0.5),)))
    world.admitted(1, input_tokens=10, max_output_tokens=20)
    failure = world.denied(2, input_tokens=10, max_output_tokens=20).failure
    assert failure.code == "rate_limit_exceeded"
    assert failure.message.startswith(
        "Rate limit exceeded for model m: 50 tokens per 0.5 s "
        "(tenant: 30 used, 30 asked for). Please retry after "
    )


def test_the_longest_of_all_waits_is_told() -> None:
    world = World(config(key=(Limit(requests=1, window_s=1), Limit(requests=1, window_s=60))))
    world.admitted(1)
    denied = world.denied(2)
    assert (denied.failure.retry_after_ms or 0) >= 60_000
    assert denied.requests is not None
    assert denied.requests.window_ms == 60_000


@pytest.mark.parametrize(
    ("requests_s", "tokens_s", "longest_ms"),
    [(1, 7, 7_000), (7, 1, 7_000)],
    ids=["tokens", "requests"],
)
def test_the_longest_wait_of_all_kinds_is_told(
    requests_s: float, tokens_s: float, longest_ms: int
) -> None:
    limits = (Limit(requests=1, window_s=requests_s), Limit(tokens=10, window_s=tokens_s))
    world = World(config(key=limits))
    world.admitted(1, max_output_tokens=10)
    denied = world.denied(2, max_output_tokens=10)
    assert (denied.failure.retry_after_ms or 0) >= longest_ms


def test_what_a_credential_lacks_is_told_as_the_provider_s() -> None:
    world = World(config(main=(Limit(requests=1, window_s=1),), spare=(Limit(requests=1),)))
    both = (PLACE, OTHER_PLACE)
    for number in (1, 2):
        world.admitted(number, places=both)
    failure = world.denied(3, places=both).failure
    assert failure.code == "provider_busy"
    assert failure.elsewhere
    assert (failure.retry_after_ms or 0) <= 1_017, "the place that is free first"
    assert failure.message.startswith("No capacity at the provider for model m: 1 requests per 1 s")


@pytest.mark.parametrize("length", [1, 5_000])
def test_a_name_from_outside_is_cut(length: int) -> None:
    world = World(config(key=(Limit(requests=1),)))
    world.admitted(1, model="x" * length)
    assert len(world.denied(2, model="x" * length).failure.message) < 300
