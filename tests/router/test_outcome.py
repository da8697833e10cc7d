"""What the client is told when nothing worked: one row per mixture of failures."""

import msgspec
import pytest

from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import TriedTarget
from droveway.router.outcome import is_misfit, last_word

LIMITED = failure("provider_rate_limited", retry_after_ms=9_000)
LIMITED_SOONER = failure("provider_rate_limited", retry_after_ms=2_000)
LIMITED_SILENT = failure("provider_rate_limited")
DOWN = failure("provider_unavailable", "The provider answered 500")
DOWN_AGAIN = failure("provider_unavailable", "The provider answered 503")
LATE = failure("provider_timeout")
MISFIT = msgspec.structs.replace(failure("invalid_request", param="a"), elsewhere=True)
OTHER_MISFIT = msgspec.structs.replace(MISFIT, param="b")

ROWS: list[tuple[list[Failure], str, int | None]] = [
    ([], "service_unavailable", None),
    ([LATE], "provider_timeout", None),
    ([LIMITED], "provider_rate_limited", 9_000),
    ([LIMITED, LIMITED_SOONER, LIMITED_SILENT], "provider_rate_limited", 2_000),
    ([LIMITED_SILENT, LIMITED_SILENT], "provider_rate_limited", None),
    ([DOWN, DOWN_AGAIN], "provider_unavailable", None),
    ([DOWN, LATE], "all_targets_failed", None),
    ([LIMITED, DOWN], "all_targets_failed", None),
    ([MISFIT], "invalid_request", None),
    ([MISFIT, DOWN], "provider_unavailable", None),
    ([DOWN, MISFIT], "provider_unavailable", None),
    ([LIMITED, MISFIT, LIMITED_SOONER], "provider_rate_limited", 2_000),
    ([MISFIT, DOWN, LATE], "all_targets_failed", None),
]


def _tried(failures: list[Failure]) -> list[TriedTarget]:
    return [
        TriedTarget(attempt_id=bytes(16), target=f"p{number}/m", code=one.code)
        for number, one in enumerate(failures)
    ]


@pytest.mark.parametrize(("failures", "code", "wait_ms"), ROWS)
def test_failures_become_one_word(failures: list[Failure], code: str, wait_ms: int | None) -> None:
    word = last_word(failures, _tried(failures))
    assert (word.code, word.retry_after_ms) == (code, wait_ms)


def test_different_failures_are_listed_by_target() -> None:
    word = last_word([DOWN, LATE], _tried([DOWN, LATE]))
    assert word.message == (
        "All API providers failed (p0/m: provider_unavailable; p1/m: provider_timeout)"
    )


def test_a_client_error_after_failures_is_the_clients_error() -> None:
    """The last target understood the request and refused it: that's what the client can act on."""
    refused = failure("provider_rejected", "bad", status=400)
    assert last_word([DOWN, refused], _tried([DOWN, refused])).code == "provider_rejected"


def test_when_no_target_has_words_for_it_the_first_ones_reason_is_told() -> None:
    failures = [MISFIT, OTHER_MISFIT]
    assert last_word(failures, _tried(failures)) == MISFIT


def test_only_a_refusal_that_another_target_may_not_share_is_a_misfit() -> None:
    assert is_misfit(MISFIT)
    assert not is_misfit(failure("invalid_request"))
    assert not is_misfit(DOWN)
