"""Why a request may not run, in words and in a time after which it may."""

from typing import NamedTuple

from droveway.contracts.admission import AdmissionRequested
from droveway.contracts.errors import Failure, failure
from droveway.limiter.counters import CONCURRENCY, KINDS
from droveway.limiter.plan import BudgetRule, Rule

_SHOWN_NAME = 100
_NANO = 10**9


class Full(NamedTuple):
    """A limit that has no room now."""

    rule: Rule
    used: int
    needed: int
    wait_ms: int
    """Nothing else happening it passes then, and not before."""


class NeverFits(NamedTuple):
    """A limit that is smaller than the request."""

    rule: Rule
    needed: int


class Spent(NamedTuple):
    """A budget that can't pay for the request."""

    rule: BudgetRule
    spent_nano: int
    open_nano: int
    needed_nano: int


class Unready(NamedTuple):
    """What must be known to decide isn't."""

    missing: str


class Overloaded(NamedTuple):
    """As many requests as are remembered have something reserved."""

    open_holds: int


Reason = Overloaded | Full | NeverFits | Spent | Unready


def told(reason: Reason, request: AdmissionRequested) -> Failure:
    """What the client reads."""
    model = request.model[:_SHOWN_NAME]
    if isinstance(reason, Full):
        return _full(reason, model)
    if isinstance(reason, NeverFits):
        text = (
            f"Request too large for model {model}: it may need {reason.needed} "
            f"{_words(reason.rule)}, of which the {reason.rule.scope} has "
            f"{reason.rule.room} {_per(reason.rule)}, so it never fits. "
            "Shorten the input or lower the maximum of output tokens"
        )
        return failure("request_exceeds_limit", text)
    if isinstance(reason, Spent):
        rule = reason.rule
        text = (
            f"You exceeded your current quota: the {rule.scope} has a budget of "
            f"{_usd(rule.limit_nano)} ({rule.period}), {_usd(reason.spent_nano)} are spent, "
            f"{_usd(reason.open_nano)} reserved, and this request may cost "
            f"{_usd(reason.needed_nano)}"
        )
        return failure("insufficient_quota", text)
    if isinstance(reason, Overloaded):
        return failure("overloaded", f"Too many requests are running: {reason.open_holds}")
    return failure("limiter_unavailable", f"The limiter doesn't know {reason.missing} yet")


def _full(reason: Full, model: str) -> Failure:
    rule = reason.rule
    wait = f"Please retry after {reason.wait_ms / 1000:.3f} seconds"
    if rule.scope == "credential":
        text = (
            f"No capacity at the provider for model {model}: {rule.limit} {_words(rule)} "
            f"{_per(rule)} (credential: {reason.used} used, {reason.needed} asked for). {wait}"
        )
        return failure("provider_busy", text, retry_after_ms=reason.wait_ms)
    text = (
        f"Rate limit exceeded for model {model}: {rule.limit} {_words(rule)} {_per(rule)} "
        f"({rule.scope}: {reason.used} used, {reason.needed} asked for). {wait}"
    )
    return failure("rate_limit_exceeded", text, retry_after_ms=reason.wait_ms)


def _words(rule: Rule) -> str:
    return "requests" if rule.kind == CONCURRENCY else KINDS[rule.kind].replace("_", " ")


def _per(rule: Rule) -> str:
    if rule.kind == CONCURRENCY:
        return "at the same time"
    burst = f", {rule.room} at once" if rule.unit_ns else ""
    return f"per {rule.window_ms / 1000:g} s{burst}"


def _usd(nano: int) -> str:
    """Six digits after the point: enough for one cheap request."""
    return f"${nano / _NANO:.6f}".rstrip("0").rstrip(".")
