"""What an attempt that failed comes to, and what the client is told when every target failed."""

from droveway.contracts import dispatch
from droveway.contracts.dispatch import AttemptNews
from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import TriedTarget
from droveway.router.routes import FallbackCase

_REFUSALS = frozenset({"invalid_request", "unsupported_parameter"})


def failure_of(news: AttemptNews) -> Failure:
    """Why an attempt that didn't commit didn't."""
    match news:
        case dispatch.AttemptFailed():
            return news.failure
        case dispatch.Busy():
            return failure("provider_busy", retry_after_ms=1_000)
        case dispatch.Started() | dispatch.Committed():
            return failure("internal_error", f"unexpected {type(news).__name__} after the start")


def is_misfit(occurrence: Failure) -> bool:
    """The target has no words for the request: nothing was sent, and its provider isn't at fault.

    Neither an attempt that counts nor anything to be held against the target.
    """
    return occurrence.elsewhere and occurrence.code in _REFUSALS


_TOO_LONG = frozenset({"context_length_exceeded"})
_CONTENT = frozenset({"content_filter", "content_policy_violation", "invalid_prompt"})


def case_of(failures: list[Failure]) -> FallbackCase:
    """Why other models should help: by the last failure if it is of the request, else by all."""
    last = failures[-1]
    if last.provider_code in _TOO_LONG:
        return "context"
    if last.provider_code in _CONTENT:
        return "content"
    limited = all(one.code == "provider_rate_limited" for one in failures)
    return "rate_limited" if limited else "failed"


def last_word(failures: list[Failure], tried: list[TriedTarget]) -> Failure:
    """One failure for all attempts.

    1. No target has words for the request: why the first one hasn't, which names the parameter.
       Otherwise only those that have count.
    2. One attempt: its own failure.
    3. The last one ended the search (the client's own mistake, the deadline): that failure.
    4. All were rate limits: 429 with the earliest time at which one would pass.
    5. All alike: that failure.
    6. Else `all_targets_failed`, 503.
    """
    if not failures:
        return failure("service_unavailable", "No target could be tried in time")
    misfit = failures[0]
    failures = [one for one in failures if not is_misfit(one)]
    if not failures:
        return misfit
    if len(failures) == 1 or not failures[-1].elsewhere:
        return failures[-1]
    codes = {one.code for one in failures}
    if codes == {"provider_rate_limited"}:
        waits = [one.retry_after_ms for one in failures if one.retry_after_ms is not None]
        return failure("provider_rate_limited", retry_after_ms=min(waits) if waits else None)
    if len(codes) == 1:
        return failures[-1]
    summary = "; ".join(f"{one.target}: {one.code}" for one in tried)
    return failure("all_targets_failed", f"All API providers failed ({summary})")
