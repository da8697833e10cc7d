"""The judges of rows about upstream faults find what they are there to find."""

from typing import Literal

import pytest

from droveway.contracts.config import Health
from droveway.contracts.usage import (
    AttemptRecorded,
    AttemptTimes,
    RequestRecorded,
    RequestTimes,
    Row,
)
from droveway.simulator.book import Entry
from tests.prove.upstream_statuses import too_early
from tests.prove.upstream_uncounted import usage_shown
from tests.prove.upstream_waits import Wording, late_s, pauses
from tests.prove.upstream_world import WELL, Asked, Case, differences, misfated, misrouted
from tests.support.history import Request

CUT = Case("cut-after-2", "told", "elsewhere")
LIMITED = Case("429", "elsewhere", "elsewhere", "429 provider_rate_limited")
WRONG = Case("400", "passed", "passed", "400 provider_rejected")


def request(
    status: int, *terminals: Literal["done", "error"], tokens: int = 0, code: str = ""
) -> Request:
    return Request(
        id="raw-1", client="raw", model="m", stream=True, invoked_s=0.0, status=status,
        request_id="req_1", terminals=[*terminals], tokens=["t"] * tokens, error_code=code,
    )  # fmt: skip


def entry(model: str, started_s: float, *, fault: str | None = "500") -> Entry:
    return Entry(
        id="e", model=model, authorization_present=True, key_fingerprint=None, header_names=[],
        started_ms=started_s * 1000, ended_ms=started_s * 1000 + 1, fault=fault,
    )  # fmt: skip


def row(outcome: str, status: int, attempts: int = 1) -> RequestRecorded:
    return RequestRecorded(
        request_id="req_1", traceparent="", tenant="t", key_id="k", door="d",
        operation="chat.completions", model="m", stream=True, outcome=outcome, status=status,
        attempts=attempts, began_ns=1, times=RequestTimes(),
    )  # fmt: skip


def attempt(outcome: str, number: int = 1) -> AttemptRecorded:
    return AttemptRecorded(
        attempt_id=bytes([number]) * 16, request_id="req_1", attempt=number, traceparent="",
        tenant="t", key_id="k", caller="c", router="r", provider="p", credential="main", model="m",
        stream=True, outcome=outcome, began_ns=1, times=AttemptTimes(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("case", "stream", "other", "came"),
    [
        (CUT, True, False, request(200, "done", tokens=2)),
        (CUT, True, False, request(200, tokens=2)),
        (CUT, True, True, request(503, "error")),
        (CUT, False, True, request(502, "error")),
        (CUT, False, False, request(200, "done", tokens=5)),
        (LIMITED, True, False, request(503, "error", code="provider_unavailable")),
        (LIMITED, True, True, request(429, "error", code="provider_rate_limited")),
        (WRONG, False, True, request(200, "done", tokens=5)),
        (WRONG, False, False, request(502, "error", code="provider_rejected")),
    ],
)
def test_another_fate_is_found(case: Case, stream: bool, other: bool, came: Request) -> None:
    (found,) = misfated([Asked(case, stream, other, came)])
    assert found.startswith(case.fault)


@pytest.mark.parametrize(
    ("case", "stream", "other", "came"),
    [
        (CUT, True, True, request(200, "error", tokens=2)),
        (CUT, False, True, request(200, "done", tokens=5)),
        (CUT, False, False, request(502, "error")),
        (LIMITED, True, False, request(429, "error", code="provider_rate_limited")),
        (WRONG, True, True, request(400, "error", code="provider_rejected")),
    ],
)
def test_what_is_fated_is_no_violation(
    case: Case, stream: bool, other: bool, came: Request
) -> None:
    assert not [*misfated([Asked(case, stream, other, came)])]


def test_an_attempt_too_many_and_one_too_few_are_found() -> None:
    asked = [Asked(CUT, False, True, request(200, "done"))]
    right = [entry(CUT.model, 0), entry(WELL, 1)]
    assert misrouted(asked, right) == {}
    assert misrouted(asked, [*right, entry(CUT.model, 2)]) == {CUT.model: 1}
    assert misrouted(asked, right[:1]) == {WELL: -1}


def test_a_cut_that_was_shown_and_one_that_was_not_are_told_apart_by_the_book() -> None:
    shown = [Asked(CUT, True, True, request(200, "error", tokens=2))]
    hidden = [Asked(CUT, True, True, request(200, "done", tokens=5))]
    alone, both = [entry(CUT.model, 0)], [entry(CUT.model, 0), entry(WELL, 1)]
    assert misrouted(shown, alone) == misrouted(hidden, both) == {}
    assert misrouted(shown, both) == {WELL: 1}
    assert misrouted(hidden, alone) == {WELL: -1}, "a cut answer came out as a success"


def test_rows_that_tell_another_story_are_found() -> None:
    whole, cut = request(200, "done", tokens=5), request(200, "error", tokens=2)
    good: list[Row] = [row("completed", 200, 2), attempt("failed"), attempt("completed", 2)]
    assert not [*differences([whole], good)]
    assert not [*differences([cut], [row("interrupted", 200), attempt("interrupted")])]
    others: tuple[list[Row], ...] = (
        [],
        good[1:],
        good[:2],
        [row("failed", 503), attempt("failed")],
        [row("completed", 200), *good[1:]],
    )
    for rows in others:
        assert [*differences([whole], rows)]
    assert [*differences([cut], [row("interrupted", 200), attempt("completed")])]


def test_attempts_that_a_breaker_would_have_kept_away_are_found() -> None:
    rules = Health(consecutive=3, open_s=1.0, open_cap_s=4.0)
    kept = [entry("m", at_s) for at_s in (0, 0.1, 0.2, 1.3, 3.4, 7.5)]
    assert too_early(kept, rules) == 0
    assert too_early([entry("m", 0.2 * number) for number in range(10)], rules) > 4


def test_an_attempt_before_its_wait_was_over_is_found() -> None:
    wording = Wording("429-2", (2.0,))
    kept = [entry("m", at_s) for at_s in (0, 0.1, 2.1, 4.3)]
    assert [pause.early for pause in pauses(kept, wording)] == [False, False]
    hasty = [entry("m", at_s) for at_s in (0, 1.0, 3.1)]
    assert [pause.early for pause in pauses(hasty, wording)] == [True, False]


def test_a_provider_that_is_left_alone_for_too_long_is_found() -> None:
    wording = Wording("429-2", (2.0,))
    assert late_s([entry("m", 0), entry("m", 2.2)], wording, 3.0) < 0.3
    assert late_s([entry("m", 0)], wording, 30.0) > 27
    assert late_s([], wording, 30.0) == float("inf")


def test_the_usage_that_a_client_sees_is_read_from_both_dialects() -> None:
    assert usage_shown(b'{"usage":{"completion_tokens":7}}') == 7
    streamed = (
        b'data: {"usage":{"output_tokens":1}}\n\ndata: {"usage":{"output_tokens":9}}\n\n'
        b"data: [DONE]\n\n"
    )
    assert usage_shown(streamed) == 9
    assert usage_shown(b'data: {"usage":null}\n\n') is None
