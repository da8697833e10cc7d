"""What an error of the SDK has to say about itself."""

from typing import Any, NamedTuple

import openai

BAD = "invalid_request_error"
SERVER = "server_error"


class Failure(NamedTuple):
    """One error, as a caller may look at it."""

    error: type[openai.APIStatusError]
    status: int
    code: str
    type: str
    param: str | None = None


def invalid(code: str, param: str | None = None) -> Failure:
    """A 400."""
    return Failure(openai.BadRequestError, 400, code, BAD, param)


def missing(code: str, param: str | None = None) -> Failure:
    """A 404."""
    return Failure(openai.NotFoundError, 404, code, BAD, param)


def too_large(code: str) -> Failure:
    """A 413, for which the SDK has no class of its own."""
    return Failure(openai.APIStatusError, 413, code, BAD)


def limited(code: str) -> Failure:
    """A 429."""
    return Failure(openai.RateLimitError, 429, code, "rate_limit_error")


def broken(status: int, code: str) -> Failure:
    """A status of 500 or more."""
    return Failure(openai.InternalServerError, status, code, SERVER)


def late(code: str) -> Failure:
    """A 504."""
    return Failure(openai.InternalServerError, 504, code, "timeout_error")


def check(error: openai.APIStatusError, expected: Failure) -> Any:
    """Compares everything that a caller may look at, and gives the answer's headers."""
    told = Failure(type(error), error.status_code, error.code, error.type, error.param)
    assert told == expected
    assert error.response.status_code == expected.status
    assert error.body["message"] in error.message
    assert error.request_id == error.response.headers["x-request-id"]
    assert error.request_id.startswith("req_")
    return error.response.headers
