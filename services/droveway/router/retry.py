"""Whether, when and how often: retries as frozen data, and the budget that all of them share."""

import random
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from droveway.contracts.config import (
    RETRY_PRESETS,
    Backoff,
    Config,
    Retry,
    RetryBudget,
    RetryPreset,
    Route,
)
from droveway.contracts.errors import Failure
from droveway.contracts.inference import InferenceRequested

_CREDIT_S = 10.0
"""A request's credit lasts so long. Source: Finagle, "Retry Budgets", 2016."""
_RATE_LIMITED = frozenset({"provider_rate_limited"})
_TIMED_OUT = frozenset({"provider_timeout"})
_FAILED = frozenset({"provider_unavailable", "provider_no_response", "provider_busy"})
_DEEPEST = 32
_ROUNDING = 1e-9


def policy_of(config: Config, route: Route | None) -> Retry:
    """The route's policy, else the configuration's."""
    own = route.retry if route is not None else None
    return _named(config.retry if own is None else own)


def starts_anew(request: InferenceRequested) -> bool:
    """Whether it is no continuation: what broke off and is gone on with is one more attempt."""
    return not (request.goes_on or request.avoid or request.needs.continues)


def attempts_left(policy: Retry, request: InferenceRequested, most: int) -> int:
    """Attempts that a request may still have; those of whoever had it before count.

    One whose router died has one at least: how its last attempt ended, nobody may have seen.

    Args:
        policy: The route's.
        request: As its door has published it this time.
        most: Of any request, by the operator's word.
    """
    left = min(min(policy.attempts, most) - request.attempts_made, request.attempts_left)
    return max(1 if starts_anew(request) else 0, left)


def wait_s(policy: Retry, occurrence: Failure, repeats: int, dice: random.Random) -> float | None:
    """Seconds until the same target may be asked again; None: it isn't.

    Args:
        policy: The route's.
        occurrence: How its last attempt ended.
        repeats: How often the target was asked again already.
        dice: For the jitter.
    """
    backoff = _backoff_of(policy, occurrence)
    if backoff is None or repeats >= policy.same_target:
        return None
    told_s = (occurrence.retry_after_ms or 0) / 1000
    pause_s = max(told_s, _backed_off_s(backoff, repeats, dice))
    return pause_s if pause_s <= policy.max_wait_s else None


def _named(policy: RetryPreset | Retry) -> Retry:
    return RETRY_PRESETS[policy] if isinstance(policy, str) else policy


def _backoff_of(policy: Retry, occurrence: Failure) -> Backoff | None:
    if occurrence.code in _RATE_LIMITED:
        return policy.rate_limited
    if occurrence.code in _TIMED_OUT:
        return policy.timed_out
    return policy.failed if occurrence.code in _FAILED else None


def _backed_off_s(backoff: Backoff, repeats: int, dice: random.Random) -> float:
    most_s = backoff.base_s * backoff.factor ** min(repeats, _DEEPEST) + backoff.plus_s
    if backoff.jitter == "plus":
        most_s += dice.random()
    most_s = min(backoff.cap_s, most_s)
    return dice.uniform(0, most_s) if backoff.jitter == "full" else most_s


class BudgetStatistics(NamedTuple):
    """A snapshot for gauges."""

    credits: float
    """Attempts beyond requests' first ones that could be made now."""
    tried: int
    """Those that were."""
    refused: int
    """Those that weren't."""


class Budget:
    """Credits for attempts beyond the first ones: some a second are free, each request brings more.

    A request's credit lasts ten seconds, so a quiet hour doesn't pay for a storm.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rules = RetryBudget()
        self._free = self._rules.per_s
        self._at_s = clock()
        self._earned: deque[list[float]] = deque()
        """A second and what its requests brought, oldest first."""
        self.spent = 0
        self.refused = 0

    def configure(self, rules: RetryBudget) -> None:
        """Takes other rules; what requests have brought stays."""
        self._settle()
        self._rules = rules
        self._free = min(self._free, rules.per_s)

    def deposit(self) -> None:
        """A request has come."""
        second = float(int(self._clock()))
        if not self._earned or self._earned[-1][0] != second:
            self._earned.append([second, 0.0])
        self._earned[-1][1] += self._rules.ratio

    def withdraw(self) -> bool:
        """Whether one more attempt may be made."""
        self._settle()
        if self._free >= 1:
            self._free -= 1
        elif sum(credit for _, credit in self._earned) >= 1 - _ROUNDING:
            self._take_one()
        else:
            self.refused += 1
            return False
        self.spent += 1
        return True

    def statistics(self) -> BudgetStatistics:
        """A snapshot for gauges."""
        return BudgetStatistics(credits=self.credits, tried=self.spent, refused=self.refused)

    @property
    def credits(self) -> float:
        """Attempts that could be made now."""
        self._settle()
        return self._free + sum(credit for _, credit in self._earned)

    def _settle(self) -> None:
        now_s = self._clock()
        most = max(1.0, self._rules.per_s) if self._rules.per_s else 0.0
        self._free = min(most, self._free + (now_s - self._at_s) * self._rules.per_s)
        self._at_s = now_s
        while self._earned and self._earned[0][0] <= now_s - _CREDIT_S:
            self._earned.popleft()

    def _take_one(self) -> None:
        """The oldest credits go first."""
        left = 1.0
        while left > 0 and self._earned:
            taken = min(left, self._earned[0][1])
            self._earned[0][1] -= taken
            left -= taken
            if self._earned[0][1] <= 0:
                self._earned.popleft()
