"""Anthropic's manners: keys, the headers of each answer, errors.

Source: platform.claude.com/docs/en/api/errors and /rate-limits.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from droveway.simulator.delivery import Event, Kind, Words
from droveway.simulator.dialect import Dialect, Name, bearer_key
from droveway.simulator.errors import ApiError
from droveway.simulator.fault_names import REFUSALS
from droveway.simulator.faults import Faults

MALFORMED = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"'
ORGANIZATION = "00000000-0000-4000-8000-000000000001"
_LIMITS = {"requests": 4_000, "tokens": 480_000, "input-tokens": 400_000, "output-tokens": 80_000}
"""What a minute holds; the simulator tells limits and enforces none."""

_INVALID = "invalid_request_error"
_REFUSALS = {
    "400": (_INVALID, "The request is invalid."),
    "401": ("authentication_error", "invalid x-api-key"),
    "402": ("billing_error", "Your credit balance is too low to access the API."),
    "403": ("permission_error", "Your API key does not have permission to use this resource."),
    "404": ("not_found_error", "The requested resource could not be found."),
    "405": (_INVALID, "Method Not Allowed"),
    "408": ("timeout_error", "The request took too long to arrive."),
    "409": ("conflict_error", "The resource is being changed by another request."),
    "413": ("request_too_large", "Request exceeds the maximum allowed number of bytes."),
    "422": (_INVALID, "The request could not be processed."),
    "429": ("rate_limit_error", "This request would exceed your organization's rate limit."),
    "500": ("api_error", "Internal server error"),
    "502": ("api_error", "Bad gateway"),
    "503": ("api_error", "Service unavailable"),
    "504": ("timeout_error", "The request timed out."),
    "529": ("overloaded_error", "Overloaded"),
    "insufficient-quota": (
        "rate_limit_error",
        "This request would exceed the spend limit that your organization has set.",
    ),
    "context-length": (_INVALID, "prompt is too long: 201000 tokens > 200000 maximum"),
}
_DETAILS = {"insufficient-quota": {"error_code": "enforced_spend_limit_reached"}}


class Anthropic:
    """Anthropic's manners."""

    name: Name = "anthropic"

    def key(self, headers: Mapping[str, str]) -> str | None:
        """Find the key; SDKs of 2.x send a bearer, earlier ones `x-api-key`, which wins."""
        return headers.get("x-api-key", "").strip() or bearer_key(headers)

    def headers(self, request_id: str, processing_ms: int) -> dict[str, str]:
        """Say which headers every answer has."""
        at = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        limits = {
            f"anthropic-ratelimit-{name}-{what}": value
            for name, limit in _LIMITS.items()
            for what, value in (("limit", str(limit)), ("remaining", str(limit - 1)), ("reset", at))
        }
        return {"request-id": request_id, "anthropic-organization-id": ORGANIZATION, **limits}

    def limit_headers(self, remaining: int, reset_ms: int) -> dict[str, str]:
        """Say how many requests are left; times are RFC 3339."""
        at = datetime.now(UTC) + timedelta(milliseconds=reset_ms)
        return {
            "anthropic-ratelimit-requests-remaining": str(remaining),
            "anthropic-ratelimit-requests-reset": at.isoformat(timespec="milliseconds"),
        }

    def error_body(self, error: ApiError, request_id: str) -> bytes:
        """Encode `{"type":"error","error":{...}}`."""
        kind, message = _REFUSALS.get(str(error.status), ("api_error", "The request failed."))
        return error_object(error.kind or kind, error.message or message, request_id)

    def words(self, request_id: str, faults: Faults) -> Words:
        """Say what is said where an answer fails."""
        failed = error_object("overloaded_error", "Overloaded", request_id)
        delta = "content_block_delta"
        return Words(
            refusal=lambda name: _refusal(name, request_id),
            failed_whole=failed,
            failed_event=Event(kind=Kind.TERMINAL, data=failed, name="error"),
            malformed=Event(kind=Kind.CONTENT, data=MALFORMED, name=delta),
        )


def error_object(
    kind: str, message: str, request_id: str, details: dict[str, str] | None = None
) -> bytes:
    """Encode an error as Anthropic does, before the first byte and in a stream alike."""
    error: dict[str, object] = {"type": kind, "message": message}
    if details is not None:
        error["details"] = details
    return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id or None})


def _refusal(name: str, request_id: str) -> tuple[int, bytes]:
    kind, message = _REFUSALS[name]
    body = error_object(kind, message, request_id, _DETAILS.get(name))
    return REFUSALS.get(name) or int(name), body


ANTHROPIC: Dialect = Anthropic()
