"""How long to leave one credential alone, as its provider's answers have it; pure but for dice.

While it cools, nothing is sent, so whatever comes then was asked before: further refusals can make
the cooldown longer but are no new strike, and successes don't end it.
"""

import random

from droveway.caller.provider_limits import MIN_COOLDOWN_S, Allowance, ToldLimits
from droveway.contracts.health import EXHAUSTED, RATE_LIMITED, REFUSED
from droveway.runtime.heard_health import Cooldown

MAX_BACKOFF_S = 60.0
"""Of the waits 1, 2, 4 … after refusals that don't say how long to wait."""
PROBE_S = 10.0
"""How long the one attempt at a refused credential has until there is another."""
PROVEN_S = 60.0
FORBIDDEN_IN_A_ROW = 3
"""Of a credential with a success in the last `PROVEN_S` one 403 says nothing: providers answer it
to what is wrong with one request or model, too, which must not cost everybody else the credential.
So many without a success between them do."""
_JITTER = 0.2
_MAX_STRIKES = 16


class Cooling:
    """One credential's state.

    Args:
        max_cooldown_s: Cap of what a provider may ask for; 0: it never cools.
        refused_s: How long a credential that was refused isn't tried.
        dice: For jitter.
    """

    def __init__(self, max_cooldown_s: float, refused_s: float, dice: random.Random) -> None:
        self._max_cooldown_s = max_cooldown_s
        self._refused_s = min(refused_s, max_cooldown_s)
        self._dice = dice
        self._cooldown = Cooldown(0.0, "")
        self._strikes = 0
        self._probing = False
        self._succeeded_s = float("-inf")
        self._forbidden = 0
        self._told = ToldLimits()
        self._told_s = 0.0

    def cooldown(self, now_s: float) -> Cooldown | None:
        """What holds now; None: it may be used."""
        return self._cooldown if now_s < self._cooldown.until_s else None

    def begin(self, now_s: float) -> bool:
        """An attempt wants to use it; False: not now. After a refusal one attempt goes first."""
        if now_s < self._cooldown.until_s:
            return False
        if self._cooldown.why == REFUSED:
            self._cooldown = Cooldown(now_s + min(PROBE_S, self._refused_s), REFUSED)
            self._probing = True
        return True

    def succeeded(self, told: ToldLimits, now_s: float) -> None:
        """An answer was 2xx."""
        self._succeeded_s, self._forbidden = now_s, 0
        self._note(told, now_s)
        if self._probing or now_s >= self._cooldown.until_s:
            self._cooldown, self._strikes, self._probing = Cooldown(0.0, ""), 0, False
        self._exhaust(told, now_s)

    def limited(self, wait_s: float | None, told: ToldLimits, now_s: float) -> float:
        """It was told 429; how long it cools from now on.

        Args:
            wait_s: As the provider asked, capped already; None: it didn't say.
            told: What else the answer says.
            now_s: The monotonic clock.
        """
        self._note(told, now_s)
        if self._probing:  # whoever is counted is known
            self._cooldown, self._probing = Cooldown(0.0, ""), False
        if wait_s is None:
            wait_s = max(self._backoff_s(now_s), told.exhausted_s)
        self._extend(wait_s, RATE_LIMITED, now_s)
        return max(0.0, self._cooldown.until_s - now_s)

    def refused(self, status: int, now_s: float) -> bool:
        """It was told 401, 402, 403, or that its account is spent; whether that is news."""
        self._forbidden += status == 403
        proven = now_s - self._succeeded_s < PROVEN_S and self._forbidden < FORBIDDEN_IN_A_ROW
        if status == 403 and proven:
            return False
        known = self._cooldown.why == REFUSED
        self._probing = False
        self._extend(self._refused_s, REFUSED, now_s)
        return not known

    def remaining(self, now_s: float) -> ToldLimits:
        """What the last answer said is left, less the time since then."""
        age_s = now_s - self._told_s
        told = self._told
        return ToldLimits(_aged(told.requests, age_s), _aged(told.tokens, age_s))

    def _backoff_s(self, now_s: float) -> float:
        if now_s < self._cooldown.until_s:  # asked before the cooldown began
            return 0.0
        step_s = min(MAX_BACKOFF_S, 2.0 ** min(self._strikes, _MAX_STRIKES))
        self._strikes += 1
        return min(MAX_BACKOFF_S, step_s * self._dice.uniform(1 - _JITTER, 1 + _JITTER))

    def _exhaust(self, told: ToldLimits, now_s: float) -> None:
        if told.exhausted_s >= MIN_COOLDOWN_S:
            self._extend(told.exhausted_s, EXHAUSTED, now_s)

    def _extend(self, wait_s: float, why: str, now_s: float) -> None:
        until_s = now_s + min(wait_s, self._max_cooldown_s)
        if until_s > self._cooldown.until_s or why == REFUSED:
            self._cooldown = Cooldown(max(until_s, self._cooldown.until_s), why)

    def _note(self, told: ToldLimits, now_s: float) -> None:
        if told.requests is not None or told.tokens is not None:
            self._told, self._told_s = told, now_s


def _aged(allowance: Allowance | None, age_s: float) -> Allowance | None:
    if allowance is None:
        return None
    if allowance.reset_s is None:
        return allowance if age_s < MAX_BACKOFF_S else None
    left_s = allowance.reset_s - age_s
    return Allowance(allowance.remaining, left_s) if left_s > 0 else None
