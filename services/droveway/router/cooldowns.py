"""Which candidates to spare: those whose credentials cool come last, and are never dropped."""

import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from droveway.contracts import dispatch
from droveway.contracts.errors import Failure, failure
from droveway.contracts.health import RATE_LIMITED, REFUSED, TargetHealth
from droveway.router.places import credentials_of
from droveway.router.routes import Candidate
from droveway.router.turn import Turn
from droveway.runtime.heard_health import Cooldown, HeardHealth


class AllCool(NamedTuple):
    """Candidates that are all spared because of rate limits."""

    candidates: tuple[Candidate, ...]
    wait_s: float
    """Until the first of them may be asked."""

    @property
    def failure(self) -> Failure:
        """What a client is told that doesn't wait."""
        return failure("provider_rate_limited", retry_after_ms=math.ceil(self.wait_s * 1000))


class CooldownStatistics(NamedTuple):
    """A snapshot for gauges."""

    callers: int
    """Those that were heard."""
    cooling: int
    """Credentials."""
    refused: int
    """Requests that weren't sent on since each of their targets cooled: they wait, or not."""
    malformed: int


class Cooldowns:
    """What callers have told of their credentials, by digests and by failed attempts."""

    def __init__(self) -> None:
        self._heard = HeardHealth()
        self.cooling = self._heard.cooling
        self.reset = self._heard.reset
        self._refused = 0

    def order(self, candidates: list[Candidate]) -> list[Candidate] | AllCool:
        """The candidates with the cooling ones last, by the end of their cooldowns.

        `AllCool` when all of them cool because of rate limits: sending it would bring the client
        the same, later, and the provider work. Candidates of which none
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
            if limited:
                self._refused += 1
                return AllCool(tuple(candidates), min(limited) - now_s)
        return free + [candidates[index] for _, index in waits]

    def on_digest(self, payload: bytes, _reply: str = "") -> None:
        """Takes one caller's digest."""
        self._heard.on_digest(payload)

    def on_targets(self, listener: Callable[[tuple[TargetHealth, ...]], None]) -> None:
        """Calls `listener` with what each digest says of targets besides."""
        self._heard.on_targets = listener

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


async def until_cooled(
    choose: Callable[[], list[Candidate] | Failure | AllCool], turn: Turn
) -> list[Candidate] | Failure:
    """Whom to try, once not all of them cool; why not, if that takes too long."""
    while isinstance(found := choose(), AllCool):
        refusal = await turn.wait(credentials_of(found.candidates), found.failure, found.wait_s)
        if refusal is not None:
            return refusal
    return found
