"""The boundary table row by row: what a provider did, and what it's called from here on."""

from typing import Any

import pytest

from droveway.caller.failures import (
    failure_after_commit,
    failure_before_commit,
    failure_of_status,
)
from droveway.caller.sse_parser import SseCapExceeded
from droveway.caller.upstream_errors import (
    BadResponse,
    BodyCut,
    ConnectFailed,
    NoResponse,
    PoolFull,
    ReadStalled,
    ResponseTimeout,
    SendFailed,
    UpstreamError,
)
from droveway.contracts.errors import CATALOGUE

STATUSES: list[tuple[int, bytes, str, int, bool]] = [
    # status, body, code, what the client gets, whether another target is tried
    (400, b"", "provider_rejected", 400, False),
    (401, b"", "provider_auth_error", 502, True),
    (402, b"", "provider_auth_error", 502, True),
    (403, b"", "provider_auth_error", 502, True),
    (404, b"", "provider_rejected", 404, False),
    (408, b"", "provider_timeout", 504, True),
    (409, b"", "provider_rejected", 409, False),
    (413, b"", "provider_rejected", 413, False),
    (422, b"", "provider_rejected", 422, False),
    (429, b"", "provider_rate_limited", 429, True),
    (429, b'{"error":{"code":"insufficient_quota"}}', "provider_auth_error", 502, True),
    (400, b'{"error":{"code":"billing_hard_limit_reached"}}', "provider_auth_error", 502, True),
    (500, b"", "provider_unavailable", 503, True),
    (502, b"", "provider_unavailable", 503, True),
    (503, b"", "provider_unavailable", 503, True),
    (504, b"", "provider_timeout", 504, True),
    (520, b"", "provider_unavailable", 503, True),
    (529, b"", "provider_unavailable", 503, True),
    (101, b"", "bad_upstream", 502, True),
    (302, b"", "bad_upstream", 502, True),
]


@pytest.mark.parametrize(("status", "body", "code", "told", "elsewhere"), STATUSES)
def test_a_status_has_one_meaning(
    status: int, body: bytes, code: str, told: int, elsewhere: bool
) -> None:
    found = failure_of_status(status, {}, body)
    assert (found.code, found.elsewhere) == (code, elsewhere)
    assert (found.status or CATALOGUE[code].status) == told


def test_a_client_error_keeps_the_providers_words() -> None:
    body = (
        b'{"error":{"message":"too long","type":"invalid_request_error",'
        b'"param":"messages","code":"context_length_exceeded"}}'
    )
    found = failure_of_status(400, {}, body)
    assert found.message == "too long"
    assert found.param == "messages"
    assert found.provider_code == "context_length_exceeded"
    assert found.type == "invalid_request_error"


def test_a_refused_credential_is_not_quoted() -> None:
    body = b'{"error":{"message":"Incorrect API key provided: sk-canary"}}'
    assert "sk-canary" not in repr(failure_of_status(401, {}, body))


@pytest.mark.parametrize("status", [429, 503, 529])
def test_a_wait_is_handed_on(status: int) -> None:
    assert failure_of_status(status, {"retry-after": "7"}, b"").retry_after_ms == 7_000


BROKEN: list[tuple[type[UpstreamError], str, str]] = [
    (PoolFull, "provider_busy", "stream_interrupted"),
    (ConnectFailed, "provider_unavailable", "stream_interrupted"),
    (SendFailed, "provider_unavailable", "stream_interrupted"),
    (ResponseTimeout, "provider_timeout", "stream_stalled"),
    (ReadStalled, "provider_timeout", "stream_stalled"),
    (NoResponse, "provider_no_response", "stream_interrupted"),
    (BodyCut, "provider_no_response", "stream_interrupted"),
    (BadResponse, "bad_upstream", "stream_interrupted"),
]


@pytest.mark.parametrize(("kind", "before", "after"), BROKEN)
def test_a_broken_call_has_a_name_before_and_after_commit(
    kind: type[UpstreamError], before: str, after: str
) -> None:
    error: Any = kind("cause", "explanation with 10.0.0.1", request_sent=True)
    first, then = failure_before_commit(error), failure_after_commit(error)
    assert (first.code, then.code) == (before, after)
    assert first.elsewhere
    assert not then.elsewhere, "after commit nothing is tried again"
    assert "10.0.0.1" not in first.message + then.message


def test_a_stream_over_a_cap_has_a_name() -> None:
    error = SseCapExceeded("max_line_bytes", 1)
    assert failure_before_commit(error).code == "bad_upstream"
    assert failure_after_commit(error).code == "stream_interrupted"
