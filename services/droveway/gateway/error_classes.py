"""The class of a request's bad end, for `ai_api_errors_total`: few words for all of them.

The words are those of the programs that Droveway takes the place of: by the HTTP status that the
client got, and three for an answer that was cut after its 200 had gone out.
"""

from droveway.contracts.errors import Failure, status_of

CLIENT_GONE = 499
_BY_STATUS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    429: "RateLimit",
    500: "InternalError",
    502: "BadGateway",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}
_CUT = {504: "Timeout", 502: "ConnectionError", 503: "ConnectionError"}
UNKNOWN = "Unknown"


def error_class(status: int, failure: Failure | None) -> str:
    """The class of one ended request; empty when it ended well, or its client left first.

    Args:
        status: What the client got.
        failure: Why it ended badly, if it did.
    """
    if status == CLIENT_GONE or (status < 400 and failure is None):
        return ""
    if status < 400:
        assert failure is not None
        return _CUT.get(status_of(failure), UNKNOWN)
    return _BY_STATUS.get(status) or (f"HTTP_{status}" if status < 600 else UNKNOWN)


_KINDS = {
    "rate_limit_exceeded": "rate",
    "request_exceeds_limit": "size",
    "insufficient_quota": "budget",
    "too_many_failed_logins": "logins",
    "provider_rate_limited": "provider",
}


def rejection_kind(failure: Failure | None) -> str:
    """Which kind of limit refused the request; empty when none did."""
    return "" if failure is None else _KINDS.get(failure.code, "")
