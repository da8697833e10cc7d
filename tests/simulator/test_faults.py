"""The grammar of faults."""

import pytest

from droveway.simulator.fail_first import FailFirst
from droveway.simulator.fault_names import BUNDLES, SHAPES
from droveway.simulator.faults import (
    FaultError,
    Faults,
    parse_faults,
    parse_model_faults,
    said_by_name,
)


def test_an_empty_spec_has_no_faults() -> None:
    assert parse_faults("") == Faults()
    assert parse_model_faults("gpt-5") == Faults()


@pytest.mark.parametrize(
    ("header", "model"),
    [
        ("429", "fault-429"),
        ("429=2,times=3", "fault-429-2+times-3"),
        ("cut-after=3,numbered=20", "fault-cut-after-3+numbered-20"),
        ("sloppy=null-content", "fault-sloppy-null-content"),
        ("null-content", "fault-null-content"),
        ("reset-before-headers", "fault-reset-before-headers"),
        ("slow-first-token=250, no-done", "fault-slow-first-token-250+no-done"),
        ("1xx=2", "fault-1xx=2"),
    ],
)
def test_header_and_model_name_say_the_same(header: str, model: str) -> None:
    by_header, by_model = parse_faults(header), parse_model_faults(model)
    assert by_header.spec == header
    assert (by_header.instead, by_header.ending, by_header.retry_after) == (
        by_model.instead,
        by_model.ending,
        by_model.retry_after,
    )
    assert (by_header.flags, by_header.numbers) == (by_model.flags, by_model.numbers)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_a_fault_of_its_own(shape: str) -> None:
    assert parse_faults(shape).flags == parse_faults(f"sloppy={shape}").flags == {shape}


def test_retry_after_may_be_a_date() -> None:
    faults = parse_faults("503=Wed%2C 21 Oct 2026 07:28:00 GMT")
    assert (faults.instead, faults.retry_after) == ("503", "Wed, 21 Oct 2026 07:28:00 GMT")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("explode", "unknown fault 'explode'; known faults: 400, "),
        ("500=3", "unknown fault '500=3'"),
        ("sloppy=round", "known shapes: null-content"),
        ("cut-after", "takes a whole number of 0 to 1000000, not ''"),
        ("cut-after=-1", "whole number"),
        ("1xx=101", "0 to 100"),
        ("429=a%0d%0ab", "printable ASCII"),
        ("429,500", "faults 429 and 500 exclude each other"),
        ("cut-after=1,fin-after=1", "exclude each other"),
    ],
)
def test_a_wrong_spec_is_told_what_would_be_right(spec: str, said: str) -> None:
    with pytest.raises(FaultError) as error:
        parse_faults(spec)
    assert said in str(error.value)


def test_a_share_is_struck_evenly_after_those_that_are_skipped() -> None:
    first = FailFirst(10)
    faults = parse_model_faults("fault-503+skip-3+percent-40")
    struck = [first.strikes(faults, "m", "") for _ in range(13)]
    assert struck == [False] * 3 + [False, False, True, False, True] * 2
    few = parse_faults("503,skip=1,times=2")
    assert [first.strikes(few, "m", "") for _ in range(4)] == [False, True, True, False]


def test_a_share_of_a_thousand_is_struck_to_the_last_one() -> None:
    first = FailFirst(10)
    faults = parse_faults("silence,permille=386")
    struck = [first.strikes(faults, "m", "") for _ in range(1_000)]
    assert sum(struck) == 386
    assert all(sum(struck[at : at + 100]) in (38, 39) for at in range(0, 1_000, 100))


def test_times_counts_for_spec_model_and_scope_apart() -> None:
    first = FailFirst(limit=10)
    faults = parse_faults("500,times=2")
    assert [first.strikes(faults, "m", "") for _ in range(4)] == [True, True, False, False]
    assert first.strikes(faults, "other", "")
    assert first.strikes(faults, "m", "scope")
    first.clear()
    assert first.strikes(faults, "m", "")


def test_counters_beyond_the_limit_start_anew() -> None:
    first = FailFirst(limit=1)
    faults = parse_faults("500,times=1")
    assert first.strikes(faults, "a", "")
    assert first.strikes(faults, "b", "")
    assert first.strikes(faults, "a", "")


def test_a_fault_that_spares_a_request_still_says_its_numbers() -> None:
    assert parse_faults("500,times=1,numbered=7").spared().numbers == {"numbered": 7}


@pytest.mark.parametrize(
    ("model", "numbers", "flags"),
    [
        ("numbered-3", {"numbered": 3}, set()),
        ("numbered", {}, set()),
        ("embed-12", {"dimensions": 12}, set()),
        ("embed-floats-12", {"dimensions": 12}, {"floats"}),
        ("reasoning-any", {"reasoning": 8}, set()),
        ("reasoning-numbered-3", {"reasoning": 8, "numbered": 3}, set()),
    ],
)
def test_a_name_without_a_spec_says_what_is_said(
    model: str, numbers: dict[str, int], flags: set[str]
) -> None:
    assert said_by_name(model) == Faults(numbers=numbers, flags=frozenset(flags))
    assert parse_model_faults(model) == Faults()


def test_a_spec_wins_over_what_a_name_says() -> None:
    saying = parse_faults("500,numbered=7").saying(said_by_name("reasoning-numbered-3"))
    assert saying.instead == "500"
    assert saying.numbers == {"numbered": 7, "reasoning": 8}


def test_a_model_that_reasons_may_fail_as_well() -> None:
    assert parse_model_faults("reasoning-fault-cut-after-2").ending == "cut-after"


@pytest.mark.parametrize(("name", "shapes"), BUNDLES.items())
def test_a_provider_is_several_oddities(name: str, shapes: tuple[str, ...]) -> None:
    assert parse_model_faults(f"quirk-{name}").flags == set(shapes)
    assert set(shapes) <= set(SHAPES)


def test_a_reason_to_finish_is_any_word() -> None:
    assert parse_model_faults("quirk-finish-content_filter").finish == "content_filter"
