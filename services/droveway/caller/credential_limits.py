"""All credentials of one caller: what their providers' answers say of when to use them again."""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from droveway.caller.cooling import Cooling
from droveway.caller.provider_limits import Allowance, told_limits, told_wait_s
from droveway.contracts.errors import Failure, failure
from droveway.contracts.health import MAX_CREDENTIALS, REFUSED, CredentialHealth
from droveway.otel.logs import log_event
from droveway.runtime.heard_health import Cooldown, HeardHealth, Key

log = logging.getLogger(__name__)

SHORT_REST_S = 0.1
_TICK_S = 0.001


class CredentialStatistics(NamedTuple):
    """A snapshot for gauges; NaN where the provider doesn't say."""

    cooldown_seconds: float
    remaining_requests: float
    remaining_tokens: float


class CredentialLimits:
    """Fed with each answer's head; asked before each attempt.

    Args:
        max_cooldown_s: Cap of what a provider may ask for; 0: no credential ever cools.
        refused_s: How long a refused credential isn't tried.
        heard: What other callers of the pool were told.
    """

    def __init__(self, max_cooldown_s: float, refused_s: float, heard: HeardHealth) -> None:
        self._max_cooldown_s = max_cooldown_s
        self._refused_s = refused_s
        self._heard = heard
        self._dice = random.Random()  # noqa: S311 - jitter, not secrets
        self._known: dict[Key, Cooling] = {}
        self.on_change: Callable[[], None] = lambda: None
        """Called when a cooldown begins, is made longer, or ends before its time."""

    async def short_rest(self, key: Key) -> None:
        """Waits for the end of a cooldown that the router saw end already: a digest takes time."""
        now_s = time.monotonic()
        while (cooldown := self._cooldown(key, now_s)) is not None:
            rest_s = cooldown.until_s - now_s
            if rest_s > SHORT_REST_S:
                return
            await asyncio.sleep(max(_TICK_S, rest_s))
            now_s = time.monotonic()

    def refusal(self, key: Key) -> Failure | None:
        """Why no attempt may use the credential now; None: one begins."""
        now_s = time.monotonic()
        cooldown = self._cooldown(key, now_s)
        if cooldown is None:
            self._of(key).begin(now_s)
            return None
        if cooldown.why == REFUSED:
            return failure("provider_auth_error")
        wait_ms = math.ceil((cooldown.until_s - now_s) * 1000)
        return failure("provider_rate_limited", retry_after_ms=wait_ms)

    def answered(self, key: Key, headers: Mapping[str, str]) -> None:
        """An answer that is 2xx begins."""
        now_s, one = time.monotonic(), self._of(key)
        before = one.cooldown(now_s)
        one.succeeded(told_limits(headers), now_s)
        self._tell(before, one, now_s)

    def failed(
        self, key: Key, status: int, headers: Mapping[str, str], occurrence: Failure
    ) -> Failure:
        """An answer that is no success: what its client is told, with the wait that we keep."""
        now_s, one = time.monotonic(), self._of(key)
        before = one.cooldown(now_s)
        if occurrence.code == "provider_auth_error":
            if one.refused(status, now_s):
                log_event(
                    log, "credential_refused", level=logging.WARNING,
                    provider=key[0], credential=key[1], status=status, for_s=self._refused_s,
                )  # fmt: skip
        elif occurrence.code == "provider_rate_limited":
            told_s = told_wait_s(headers, self._max_cooldown_s)
            wait_s = one.limited(told_s, told_limits(headers), now_s)
            if wait_s:
                wait_ms = math.ceil(wait_s * 1000)
                occurrence = msgspec.structs.replace(occurrence, retry_after_ms=wait_ms)
        self._tell(before, one, now_s)
        return occurrence

    def digest(self) -> tuple[CredentialHealth, ...]:
        """What is known, cooling ones first."""
        now_s = time.monotonic()
        found = [_health(key, one, now_s) for key, one in self._known.items()]
        told = [one for one in found if one != CredentialHealth(
            provider=one.provider, credential=one.credential
        )]  # fmt: skip
        return tuple(sorted(told, key=lambda one: not one.cooldown_ms)[:MAX_CREDENTIALS])

    def keep(self, keys: Iterable[Key]) -> None:
        """The configuration was read anew: forgets all other ones, and refusals of secrets."""
        now_s, kept = time.monotonic(), frozenset(keys)
        for key, one in list(self._known.items()):
            cooldown = one.cooldown(now_s)
            if key not in kept or (cooldown is not None and cooldown.why == REFUSED):
                del self._known[key]
        self.on_change()

    def reset(self, provider: str) -> None:
        """An operator wants the provider's credentials used again, all providers' where empty."""
        for key in [*self._known]:
            if provider in ("", key[0]):
                del self._known[key]
        self._heard.reset(provider)
        self.on_change()

    def statistics(self, key: Key) -> CredentialStatistics:
        """A snapshot of one credential for gauges."""
        now_s, one = time.monotonic(), self._of(key)
        cooldown, told = one.cooldown(now_s), one.remaining(now_s)
        return CredentialStatistics(
            cooldown_seconds=cooldown.until_s - now_s if cooldown is not None else 0.0,
            remaining_requests=told.requests.remaining if told.requests else math.nan,
            remaining_tokens=told.tokens.remaining if told.tokens else math.nan,
        )

    def _cooldown(self, key: Key, now_s: float) -> Cooldown | None:
        """The longer one of what this caller was told and of what it heard from others.

        A secret that another process found refused may be another one here.
        """
        own, heard = self._of(key).cooldown(now_s), self._heard.cooldown(key, now_s)
        if heard is None or heard.why == REFUSED or not self._max_cooldown_s:
            return own
        until_s = min(heard.until_s, now_s + self._max_cooldown_s)
        return own if own is not None and own.until_s >= until_s else Cooldown(until_s, heard.why)

    def _of(self, key: Key) -> Cooling:
        found = self._known.get(key)
        if found is None:
            found = Cooling(self._max_cooldown_s, self._refused_s, self._dice)
            self._known[key] = found
        return found

    def _tell(self, before: Cooldown | None, one: Cooling, now_s: float) -> None:
        if one.cooldown(now_s) != before:
            self.on_change()


def _health(key: Key, one: Cooling, now_s: float) -> CredentialHealth:
    cooldown, told = one.cooldown(now_s), one.remaining(now_s)
    return CredentialHealth(
        provider=key[0],
        credential=key[1],
        cooldown_ms=math.ceil((cooldown.until_s - now_s) * 1000) if cooldown else 0,
        why=cooldown.why if cooldown else "",
        remaining_requests=told.requests.remaining if told.requests else None,
        remaining_tokens=told.tokens.remaining if told.tokens else None,
        requests_reset_ms=_reset_ms(told.requests),
        tokens_reset_ms=_reset_ms(told.tokens),
    )


def _reset_ms(allowance: Allowance | None) -> int | None:
    if allowance is None or allowance.reset_s is None:
        return None
    return math.ceil(allowance.reset_s * 1000)
