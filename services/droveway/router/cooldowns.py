"""Which candidates to spare: those whose credentials cool come last, and are never dropped."""

import asyncio
import math
import time
from collections.abc import Iterable
from typing import NamedTuple

from droveway.contracts import dispatch
from droveway.contracts.errors import Failure, failure
from droveway.contracts.health import RATE_LIMITED, REFUSED
from droveway.router.routes import Candidate
from droveway.runtime.heard_health import Cooldown, HeardHealth

SHORT_WAIT_S = 0.5
"""A request waits for so long until a credential may be used; longer waits are its client's."""


class CooldownStatistics(NamedTuple):
    """A snapshot for gauges."""

    callers: int
    """Those that were heard."""
    cooling: int
    """Credentials."""
    refused: int
    """Requests refused since each of their targets cools."""
    malformed: int


class Cooldowns:
    """What callers have told of their credentials, by digests and by failed attempts."""

    def __init__(self) -> None:
        self._heard = HeardHealth()
        self.on_digest = self._heard.on_digest
        self._refused = 0

    def order(self, candidates: list[Candidate]) -> list[Candidate] | Failure:
        """The candidates with the cooling ones last, by the end of their cooldowns.

        A failure when all of them cool because of rate limits for longer than a short wait: sending
        it would bring the client the same, later, and the provider work. Candidates of which none
        is rate limited but all are refused are for the callers to try: they know each one's secret.
        """
        now_s = time.monotonic()
        found = [self._cooldown(one, now_s) for one in candidates]
        if not any(found):
            return candidates
        free = [one for one, cooling in zip(candidates, found, strict=True) if cooling is None]
        waits = sorted(
            ((cooling.until_s, index) for index, cooling in enumerate(found) if cooling is not None)
        )
        if not free:
            limited = [one.until_s for one in found if one is not None and one.why != REFUSED]
            if limited and min(limited) - now_s > SHORT_WAIT_S:
                self._refused += 1
                wait_ms = math.ceil((min(limited) - now_s) * 1000)
                return failure("provider_rate_limited", retry_after_ms=wait_ms)
        return free + [candidates[index] for _, index in waits]

    async def short_wait(self, candidates: list[Candidate]) -> None:
        """Waits for the first one's cooldown if that ends shortly."""
        now_s = time.monotonic()
        cooling = self._cooldown(candidates[0], now_s) if candidates else None
        if cooling is not None and cooling.until_s - now_s <= SHORT_WAIT_S:
            await asyncio.sleep(cooling.until_s - now_s)

    def learn(self, target: dispatch.Target, news: dispatch.AttemptNews) -> None:
        """A caller spares a credential that this router thought free: its digest has been lost."""
        if not isinstance(news, dispatch.AttemptFailed) or news.request_sent:
            return
        told = news.failure
        if told.code == "provider_rate_limited" and told.retry_after_ms:
            key = (target.provider, target.credential)
            self._heard.learn(news.caller, key, RATE_LIMITED, told.retry_after_ms)

    def spares_all(self, provider: str, credentials: Iterable[str]) -> bool:
        """Whether nothing can be asked of the provider now: each of its credentials cools."""
        now_s = time.monotonic()
        return all(self._heard.cooldown((provider, one), now_s) for one in credentials)

    def statistics(self) -> CooldownStatistics:
        """A snapshot for gauges."""
        heard = self._heard.statistics()
        return CooldownStatistics(heard.callers, heard.cooling, self._refused, heard.malformed)

    def _cooldown(self, candidate: Candidate, now_s: float) -> Cooldown | None:
        target = candidate.target
        return self._heard.cooldown((target.provider, target.credential), now_s)
