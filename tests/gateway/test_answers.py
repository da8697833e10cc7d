import json

import pytest

from droveway.contracts.errors import CATALOGUE, ErrorCode, Failure, failure, status_of
from droveway.contracts.inference import Standing, TriedTarget, Window
from droveway.gateway.answers import (
    duration,
    error_body,
    error_headers,
    standing_headers,
    with_base,
)
from droveway.gateway.doors.client_frames import failed
from droveway.gateway.faces import ANTHROPIC, OPENAI, Face


@pytest.mark.parametrize(
    ("occurrence", "expected"),
    [
        (
            failure("invalid_api_key"),
            '{"message":"Incorrect API key provided","type":"invalid_request_error",'
            '"param":null,"code":"invalid_api_key"}',
        ),
        (
            failure("rate_limit_exceeded", "Rate limit exceeded for model gpt-4.1"),
            '{"message":"Rate limit exceeded for model gpt-4.1","type":"rate_limit_error",'
            '"param":null,"code":"rate_limit_exceeded"}',
        ),
        (
            failure("service_unavailable"),
            '{"message":"The server is currently unavailable","type":"server_error",'
            '"param":null,"code":"service_unavailable"}',
        ),
        (
            failure("invalid_request", "`n` must be 1", param="n"),
            '{"message":"`n` must be 1","type":"invalid_request_error","param":"n",'
            '"code":"invalid_request"}',
        ),
        (
            failure("provider_rejected", "no", type_="their_type", provider_code="their_code"),
            '{"message":"no","type":"their_type","param":null,"code":"their_code"}',
        ),
    ],
    ids=lambda value: value.code if isinstance(value, Failure) else "",
)
def test_an_error_has_openai_s_shape(occurrence: Failure, expected: str) -> None:
    assert error_body(occurrence).decode() == f'{{"error":{expected}}}'


def test_an_error_lists_the_targets_that_were_tried() -> None:
    tried = [
        TriedTarget(
            attempt_id=bytes(16), target="a/m", code="provider_timeout", status=0, duration_ms=900
        ),
        TriedTarget(
            attempt_id=bytes(16),
            target="b/m",
            code="provider_unavailable",
            status=503,
            duration_ms=12,
        ),
    ]
    error = json.loads(error_body(failure("all_targets_failed"), tried))["error"]
    assert error["details"] == [
        {"target": "a/m", "code": "provider_timeout", "status": None, "duration_ms": 900},
        {"target": "b/m", "code": "provider_unavailable", "status": 503, "duration_ms": 12},
    ]


def retried_by_openai_s_client(status: int) -> bool:
    """Without a header of ours. Source: openai-python 3.54, `_should_retry`."""
    return status in (408, 409, 429) or status >= 500


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_a_client_is_told_whether_and_when_to_retry(entry: ErrorCode) -> None:
    headers = dict(error_headers(failure(entry.code)))
    if entry.retry:
        assert headers[b"x-should-retry"] == b"true"
    elif retried_by_openai_s_client(entry.status):
        assert headers[b"x-should-retry"] == b"false"
    else:
        assert b"x-should-retry" not in headers
    told = entry.retry and entry.status in (429, 503)
    assert headers.get(b"retry-after") == (b"1" if told else None)
    assert headers.get(b"retry-after-ms") == (b"1000" if told else None)


@pytest.mark.parametrize(
    ("code", "wait_ms", "spent", "told"),
    [
        ("provider_unavailable", None, False, b"true"),
        ("provider_unavailable", None, True, b"false"),
        ("provider_unavailable", 5_000, True, b"true"),
        ("provider_unavailable", 61_000, True, b"false"),
        ("provider_rate_limited", 2_000, True, b"true"),
        ("provider_rate_limited", None, True, b"false"),
        ("provider_rate_limited", 61_000, False, b"false"),
        ("provider_timeout", None, False, b"true"),
        ("provider_timeout", None, True, b"false"),
        ("provider_busy", 1_000, True, b"true"),
        ("provider_auth_error", None, False, b"false"),
        ("all_targets_failed", None, True, b"false"),
        ("stream_interrupted", None, True, b"false"),
        ("deadline_exceeded", None, True, b"false"),
        ("rate_limit_exceeded", 30_000, False, b"true"),
        ("request_exceeds_limit", None, False, b"false"),
        ("insufficient_quota", None, False, b"false"),
    ],
)
def test_clients_do_not_multiply_retries_that_were_made(
    code: str, wait_ms: int | None, spent: bool, told: bytes
) -> None:
    occurrence = failure(code, retry_after_ms=wait_ms)
    headers = dict(error_headers(occurrence, spent=spent))
    assert headers[b"x-should-retry"] == told
    guessed = wait_ms is None and told == b"true" and status_of(occurrence) in (429, 503)
    assert headers.get(b"retry-after-ms") == (
        b"1000" if guessed else None if wait_ms is None else b"%d" % wait_ms
    )
    told_on_the_bus = failed(occurrence, (), {}, spent=spent)
    assert told_on_the_bus.should_retry is (told == b"true")


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_a_401_says_how_to_authenticate(entry: ErrorCode) -> None:
    header = dict(error_headers(failure(entry.code))).get(b"www-authenticate")
    assert header == (b'Bearer realm="droveway"' if entry.status == 401 else None)


@pytest.mark.parametrize(
    ("wait_ms", "seconds"), [(0, b"0"), (1, b"1"), (1_000, b"1"), (1_001, b"2"), (60_918, b"61")]
)
def test_retry_after_is_never_shorter_than_the_wait(wait_ms: int, seconds: bytes) -> None:
    headers = dict(error_headers(failure("rate_limit_exceeded", retry_after_ms=wait_ms)))
    assert headers[b"retry-after"] == seconds
    assert headers[b"retry-after-ms"] == b"%d" % wait_ms


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, b"0ms"),
        (120, b"120ms"),
        (999, b"999ms"),
        (1_000, b"1s"),
        (1_500, b"1.5s"),
        (12_345, b"12.345s"),
        (59_999, b"59.999s"),
        (60_000, b"1m0s"),
        (90_500, b"1m30s"),
        (360_000, b"6m0s"),
        (3_599_999, b"1h0m0s"),
        (3_661_000, b"1h1m1s"),
        (86_400_000, b"24h0m0s"),
    ],
)
def test_durations_are_written_as_openai_does(milliseconds: int, text: bytes) -> None:
    assert duration(milliseconds) == text


def test_the_window_of_the_tightest_limit_is_told() -> None:
    window = Window(limit=60, remaining=59, reset_ms=360_000, window_ms=360_000)
    standing = Standing(requests=window, tokens=window)
    assert standing_headers(standing) == [
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"59"),
        (b"x-ratelimit-reset-requests", b"6m0s"),
        (b"x-ratelimit-limit-tokens", b"60"),
        (b"x-ratelimit-remaining-tokens", b"59"),
        (b"x-ratelimit-reset-tokens", b"6m0s"),
    ]
    assert standing_headers(None) == []


def test_every_answer_names_its_request() -> None:
    assert with_base([(b"a", b"b")], "req_1") == [
        (b"x-request-id", b"req_1"),
        (b"openai-version", b"2020-10-01"),
        (b"a", b"b"),
    ]


def test_anthropics_clients_are_told_of_each_limit_by_its_own_names() -> None:
    window = Window(limit=60, remaining=59, reset_ms=360_000, window_ms=360_000)
    headers = dict(ANTHROPIC.standing_headers(Standing(requests=window, input_tokens=window)))
    assert {name.rpartition(b"-")[0] for name in headers} == {
        b"anthropic-ratelimit-requests",
        b"anthropic-ratelimit-input-tokens",
    }
    assert headers[b"anthropic-ratelimit-input-tokens-remaining"] == b"59"


@pytest.mark.parametrize(("face", "status"), [(OPENAI, 429), (ANTHROPIC, 402)])
def test_a_budget_that_is_used_up_is_no_reason_to_retry(face: Face, status: int) -> None:
    spent = failure("insufficient_quota")
    assert face.status(spent) == status
    assert dict(error_headers(spent)) == {b"x-should-retry": b"false"}


@pytest.mark.parametrize(("wait_ms", "told"), [(60_000, b"true"), (60_001, b"false")])
def test_who_would_have_to_wait_longer_than_sdks_do_is_told_not_to(
    wait_ms: int, told: bytes
) -> None:
    headers = dict(error_headers(failure("rate_limit_exceeded", retry_after_ms=wait_ms)))
    assert headers.get(b"x-should-retry") == told
    assert headers[b"retry-after-ms"] == b"%d" % wait_ms
