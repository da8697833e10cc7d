"""The caller's boundary table: a provider's status or a broken call, as a `Failure` of ours."""

from collections.abc import Mapping

from droveway.caller.retry_after import retry_after_ms
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
from droveway.contracts.errors import Failure, failure
from droveway.dialects.chat.passing import error_parts

_SPENT = frozenset({"insufficient_quota", "credit_balance_exhausted", "billing_hard_limit_reached"})

_OVERFLOW = "context_length_exceeded"
"""OpenAI's code; llama.cpp has a type for it, Anthropic only words."""

_ANTHROPIC_TYPES = {
    "not_found_error": "model_not_found",  # of what we ask, nothing else can be missing
    "request_too_large": "",
    "conflict_error": "",
    "permission_error": "",
}
"""Anthropic's types of refusals, and our codes for those that Anthropic has no code for."""


def failure_of_status(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """What a status that isn't 2xx means.

    1. 401, 402, 403, or a 429 since our account is spent: our credential's fault, not the client's.
    2. 429: a rate limit, with its wait.
    3. 408, 504: late.  4. Other 5xx: unavailable.
    5. Other 4xx: the client's request; the provider's own words are passed on.
    6. 1xx, 3xx: no answer that we understand.
    """
    message, type_, code, param = error_parts(body)
    if status in (400, 413) and _is_overflow(message, type_):
        code = _OVERFLOW
    if type_ in _ANTHROPIC_TYPES:
        code = code or _ANTHROPIC_TYPES[type_]
        type_ = ""  # the client's own API has the word for it
        if code == "model_not_found":
            param = "model"
    wait_ms = retry_after_ms(headers)
    if status in (401, 402, 403) or code in _SPENT:
        return failure("provider_auth_error")
    if status == 429:
        return failure("provider_rate_limited", retry_after_ms=wait_ms)
    if status in (408, 504):
        return failure("provider_timeout", f"The provider answered {status}")
    if status >= 500:
        return failure(
            "provider_unavailable", f"The provider answered {status}", retry_after_ms=wait_ms
        )
    if status >= 400:
        return failure(
            "provider_rejected", message, param=param, status=status, type_=type_,
            provider_code=code,
        )  # fmt: skip
    return failure("bad_upstream", f"The provider answered with status {status}")


def _is_overflow(message: str, type_: str) -> bool:
    """Whether a provider that has no code for it says that the prompt is too long."""
    return type_ == "exceed_context_size_error" or message.startswith("prompt is too long")


def failure_before_commit(error: UpstreamError | SseCapExceeded) -> Failure:
    """A call that broke before anything was relayed."""
    match error:
        case PoolFull():
            return failure("provider_busy", retry_after_ms=1_000)
        case ConnectFailed() | SendFailed():
            return failure("provider_unavailable", f"The provider can't be reached: {_why(error)}")
        case ResponseTimeout() | ReadStalled():
            return failure("provider_timeout")
        case NoResponse():
            return failure("provider_no_response")
        case BodyCut():
            return failure("provider_no_response", "The provider cut its answer short")
        case BadResponse():
            return failure("bad_upstream", f"The provider's answer was refused: {_why(error)}")
        case SseCapExceeded():
            return failure("bad_upstream", f"The provider's stream went over {error.cap}")
        case _:
            return failure("provider_unavailable")


def failure_after_commit(error: UpstreamError | SseCapExceeded) -> Failure:
    """A call that broke in the middle of a relayed answer."""
    match error:
        case ReadStalled() | ResponseTimeout():
            return failure("stream_stalled")
        case SseCapExceeded():
            return failure("stream_interrupted", f"The provider's stream went over {error.cap}")
        case _:
            return failure("stream_interrupted")


def _why(error: UpstreamError) -> str:
    """The cause, with the status that is behind it; never more, as of where a redirect leads."""
    return f"{error.cause}, status {error.status}" if error.status else error.cause
