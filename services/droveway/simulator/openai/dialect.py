"""OpenAI's manners: the key, the headers of each answer, errors.

Source: platform.openai.com/docs/guides/error-codes and openai-python 3.54.
"""

from collections.abc import Mapping

import msgspec

from droveway.simulator.delivery import Event, Kind, Words
from droveway.simulator.dialect import Dialect, Name, bearer_key
from droveway.simulator.errors import ApiError
from droveway.simulator.fault_names import REFUSALS
from droveway.simulator.faults import Faults

MALFORMED = b'{"id":"chatcmpl-malformed","choices":[{"index":0,"delta":{"content":"'

_INVALID = "invalid_request_error"
_REFUSALS = {
    "400": ("The request is invalid.", _INVALID, None),
    "401": ("Incorrect API key provided.", _INVALID, "invalid_api_key"),
    "402": ("Payment is required.", "billing_error", "billing_not_active"),
    "403": (
        "Country, region, or territory not supported.",
        "request_forbidden",
        "unsupported_country_region_territory",
    ),
    "404": (
        "The model does not exist or you do not have access to it.",
        _INVALID,
        "model_not_found",
    ),
    "408": ("The request took too long to arrive.", _INVALID, "request_timeout"),
    "409": ("The resource is being changed by another request.", _INVALID, "conflict"),
    "413": ("The request body is too large.", _INVALID, None),
    "422": ("The request could not be processed.", _INVALID, None),
    "429": ("Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
    "500": (
        "The server had an error while processing your request.",
        "server_error",
        "server_error",
    ),
    "502": ("Bad gateway.", "server_error", "bad_gateway"),
    "503": (
        "That model is currently overloaded with other requests.",
        "service_unavailable_error",
        "server_is_overloaded",
    ),
    "504": ("The model did not answer in time.", "server_error", "gateway_timeout"),
    "529": ("Overloaded.", "overloaded_error", "server_is_overloaded"),
    "insufficient-quota": (
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    "context-length": (
        "This model's maximum context length is 128000 tokens. However, your messages resulted in "
        "200000 tokens. Please reduce the length of the messages.",
        _INVALID,
        "context_length_exceeded",
    ),
}


REQUESTS_PER_MINUTE = 10_000
"""The limit that is told beside what is left of it."""


class OpenAI:
    """OpenAI's manners."""

    name: Name = "openai"

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Find the key."""
        return bearer_key(headers)

    def headers(self, request_id: str, processing_ms: int) -> dict[str, str]:
        """Say which headers every answer has."""
        return {
            "x-request-id": request_id,
            "openai-version": "2020-10-01",
            "openai-processing-ms": str(processing_ms),
        }

    def limit_headers(self, remaining: int, reset_ms: int) -> dict[str, str]:
        """Say how many requests are left; times are durations as Go writes them."""
        return {
            "x-ratelimit-limit-requests": str(max(remaining, REQUESTS_PER_MINUTE)),
            "x-ratelimit-remaining-requests": str(remaining),
            "x-ratelimit-reset-requests": f"{reset_ms}ms",
        }

    def error_body(self, error: ApiError, request_id: str) -> bytes:
        """Encode `{"error": {...}}`."""
        known = _REFUSALS.get(str(error.status), ("The request failed.", _INVALID, None))
        if error.message is None:
            message, kind, code = known
        else:
            message, kind, code = error.message, error.kind or _INVALID, error.code
        return error_object(message, kind, code, error.param)

    def words(self, request_id: str, faults: Faults) -> Words:
        """Say what is said where an answer fails."""
        numeric = "integer-error-code" in faults.flags
        code = 500 if numeric else "server_error"
        failed = error_object("The simulator was told to fail here.", "server_error", code)
        return Words(
            refusal=lambda name: _refusal(name, numeric),
            failed_whole=failed,
            failed_event=Event(kind=Kind.TERMINAL, data=failed),
            malformed=Event(kind=Kind.CONTENT, data=MALFORMED),
        )


def error_object(
    message: str, kind: str, code: str | int | None, param: str | None = None
) -> bytes:
    """Encode an error as OpenAI does, before the first byte and in a stream alike."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return msgspec.json.encode({"error": error})


def model_not_found(model: str) -> ApiError:
    """Refuse a model as OpenAI refuses one that doesn't exist."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return ApiError(404, message, code="model_not_found", param="model")


def _refusal(name: str, numeric: bool) -> tuple[int, bytes]:
    status = REFUSALS.get(name) or int(name)
    message, kind, code = _REFUSALS[name]
    return status, error_object(message, kind, status if numeric else code)


OPENAI: Dialect = OpenAI()
