"""What an error of the SDK has to say about itself."""

from typing import Any, NamedTuple

import anthropic

# The first major has no class of its own for 504.
_LATE = getattr(anthropic, "GatewayTimeoutError", anthropic.InternalServerError)


class Failure(NamedTuple):
    """One error, as a caller may look at it."""

    error: type[anthropic.APIStatusError]
    status: int
    type: str
    code: str
    """Droveway's own, in the error's details."""


def invalid(code: str) -> Failure:
    """A 400."""
    return Failure(anthropic.BadRequestError, 400, "invalid_request_error", code)


def unauthorized(code: str) -> Failure:
    """A 401."""
    return Failure(anthropic.AuthenticationError, 401, "authentication_error", code)


def missing(code: str) -> Failure:
    """A 404."""
    return Failure(anthropic.NotFoundError, 404, "not_found_error", code)


def too_large(code: str) -> Failure:
    """A 413."""
    return Failure(anthropic.RequestTooLargeError, 413, "request_too_large", code)


def limited(code: str) -> Failure:
    """A 429."""
    return Failure(anthropic.RateLimitError, 429, "rate_limit_error", code)


def broken(code: str) -> Failure:
    """A 502: a provider answered what can't be passed on."""
    return Failure(anthropic.InternalServerError, 502, "api_error", code)


def late(code: str) -> Failure:
    """A 504."""
    return Failure(_LATE, 504, "timeout_error", code)


def overloaded(code: str) -> Failure:
    """A 529, which this API has where others have 503."""
    return Failure(anthropic.OverloadedError, 529, "overloaded_error", code)


def check(error: anthropic.APIStatusError, expected: Failure) -> Any:
    """Compares everything that a caller may look at, and gives the answer's headers."""
    body = error.body
    assert body["type"] == "error"
    details = body["error"]["details"]
    told = Failure(type(error), error.status_code, body["error"]["type"], details["error_code"])
    assert told == expected
    assert error.type == expected.type
    assert error.response.status_code == expected.status
    assert body["error"]["message"] in error.message
    assert error.request_id == body["request_id"] == error.response.headers["request-id"]
    assert error.request_id.startswith("req_")
    return error.response.headers
