"""One admitted request's attempts: target after target, until one commits or none may help."""

import asyncio
import functools
import time
from collections import Counter

import msgspec

from droveway.contracts import dispatch
from droveway.contracts.dispatch import AttemptNews
from droveway.contracts.envelope import new_attempt_id
from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import InferenceRequested, TriedTarget
from droveway.router.attempt import Attempt
from droveway.router.calls import call_of
from droveway.router.journey import Journey
from droveway.router.means import Means, Plan
from droveway.router.outcome import case_of, failure_of, is_misfit
from droveway.router.owned import Owned
from droveway.router.permit import Permit
from droveway.router.retry import attempts_left, starts_anew, wait_s
from droveway.router.routes import Candidate, FallbackCase
from droveway.router.witness import lost_attempt
from droveway.runtime.deadline import Deadline

_UNSTARTED_ATTEMPTS = 4
"""Attempts that no caller began, since the one that got the call is frozen, say, or whose target
has no words for the request: nothing was spent, so they don't count. Further ones do."""
_GRACE_S = 0.5
"""The caller's own clock should speak first: it knows the cause."""


class Lapsed(Exception):
    """Another router may have the request by now: nothing more is dispatched, nothing said."""


class Attempts:
    """Follows its policy; after `run` it knows how each failed attempt ended."""

    def __init__(
        self,
        means: Means,
        request: InferenceRequested,
        reply: str,
        owned: Owned,
        journey: Journey,
        permit: Permit,
        plan: Plan,
        deadline: Deadline,
    ) -> None:
        self._means = means
        self._request = request
        self._reply = reply
        self._owned = owned
        self._journey = journey
        self._permit = permit
        self._policy = plan.policy
        self._fallbacks = plan.fallbacks
        self._manner = plan.manner
        self._fell_back: set[FallbackCase] = set()
        self._deadline = deadline
        self._limit = attempts_left(plan.policy, request, means.settings.max_attempts)
        self._started = 0
        self._latest: dict[Candidate, Failure] = {}
        self._repeats: Counter[Candidate] = Counter()
        self._denied = False
        """The budget of retries didn't allow one more attempt."""
        self.failures: list[Failure] = []

    @property
    def spent(self) -> bool:
        """Whether retries were made, or would have been but for their budget."""
        return self._started + self._request.attempts_made > 1 or self._denied

    async def run(self) -> dispatch.Running | None:
        """Who has committed it; None when all that may help was tried.

        Raises:
            Lapsed: This router may not be its owner any more.
        """
        while self._started < self._limit and self._owned.attempts < self._at_most:
            if self._means.owned.lapsed or self._owned.lapsed:
                raise Lapsed
            if self._deadline.passed:
                self.failures.append(failure("deadline_exceeded"))
                return None
            candidate = await self._next()
            if candidate is None:
                return None
            if isinstance(candidate, Failure):
                self.failures.append(candidate)
                return None
            if self._means.switches.off(candidate.target.provider, candidate.target.model):
                self._left_out(candidate)
                continue
            self._owned.attempts += 1
            news = await self._try(candidate)
            if isinstance(news, dispatch.Committed):
                return dispatch.Running(
                    attempt_id=news.attempt_id,
                    attempt=self._owned.attempts,
                    caller=news.caller,
                    committed=True,
                )
            self._failed(candidate, news)
            if not self.failures[-1].elsewhere and not self._fall_back():
                return None
        return None

    @property
    def _at_most(self) -> int:
        return self._request.attempts_made + self._limit + _UNSTARTED_ATTEMPTS

    async def _next(self) -> Candidate | Failure | None:
        """Whom to try now: another target, else one that was tried, after its wait."""
        permit = self._permit
        if not permit.has_more and (self._is_limited or permit.may_wait):
            self._fall_back()
        left = permit.has_more or permit.may_wait
        repeated = None if left else self._repeatable()
        if not left and repeated is None and not self._fall_back():
            return None
        again = self._started or not starts_anew(self._request)
        if again and not self._means.budget.withdraw():
            self._denied = True
            return None
        if repeated is not None:
            candidate, pause_s = repeated
            await asyncio.sleep(pause_s)
            self._repeats[candidate] += 1
            permit.retry(candidate)
        return await permit.next(self._deadline)

    @property
    def _is_limited(self) -> bool:
        """Nothing but rate limits so far: another model goes before a wait, as for busy ones."""
        return bool(self.failures) and case_of(self.failures) == "rate_limited"

    def _fall_back(self) -> bool:
        """Whether the route has other models for such a failure; each list is taken once."""
        if not self.failures or (case := case_of(self.failures)) in self._fell_back:
            return False
        self._fell_back.add(case)
        others = [one for one in self._fallbacks(case) if one not in self._latest]
        self._permit.extend(others)
        return bool(others)

    def _repeatable(self) -> tuple[Candidate, float] | None:
        """The tried target that may be asked again soonest, and in how many seconds."""
        waits: list[tuple[float, int, Candidate]] = []
        for candidate, occurrence in self._latest.items():
            pause_s = wait_s(self._policy, occurrence, self._repeats[candidate], self._means.dice)
            if pause_s is not None and pause_s < self._deadline.remaining_s():
                waits.append((pause_s, len(waits), candidate))
        if not waits:
            return None
        pause_s, _, candidate = min(waits)
        return candidate, pause_s

    def _left_out(self, candidate: Candidate) -> None:
        """An operator has switched it off since the request came: nothing is sent there."""
        self._permit.unused(new_attempt_id(), candidate)
        occurrence = failure("targets_disabled")
        self.failures.append(msgspec.structs.replace(occurrence, elsewhere=True))

    def _failed(self, candidate: Candidate, news: AttemptNews) -> None:
        occurrence = failure_of(news)
        self.failures.append(occurrence)
        self._latest[candidate] = occurrence
        attempt, permit = self._owned.attempt, self._permit
        assert attempt is not None
        begun = bool(attempt.caller)
        if not begun and not attempt.lost:
            permit.unused(news.attempt_id, candidate)
        if isinstance(news, dispatch.Busy):
            self._owned.attempts -= 1  # it was none
            permit.busy(candidate)
        self._started += begun and not is_misfit(occurrence)
        if attempt.lost and occurrence.elsewhere:
            permit.unsettled = permit.unsettled or begun
            if begun:
                self._tell_of_lost(attempt)
            permit.again(candidate)  # another caller may reach the same target

    async def _try(self, candidate: Candidate) -> AttemptNews:
        means, owned, journey = self._means, self._owned, self._journey
        began_s = time.monotonic()
        call = self._call(candidate)
        means.owned.counts["tried"] += 1
        owned.attempt = Attempt(means.bus, means.owned.hub, call, candidate.pool)
        # A request that isn't streamed commits with its whole answer, so all its time is allowed.
        within_s = (call.first_token_ms if call.stream else call.remaining_ms) / 1000 + _GRACE_S
        means.health.dispatched(candidate, within_s)
        start_within_s = means.settings.start_within_ms / 1000
        began = functools.partial(journey.began, call, means.queue_wait)
        news = await owned.attempt.run(start_within_s, within_s, began)
        elapsed_s = time.monotonic() - began_s
        means.cooldowns.learn(candidate.target, news)
        if not owned.attempt.lost:
            means.health.learn(candidate, news, elapsed_s, stream=call.stream)
        if not isinstance(news, dispatch.Committed):
            tried = TriedTarget(
                attempt_id=call.attempt_id,
                target=candidate.label,
                channel=candidate.channel,
                code=failure_of(news).code,
                status=news.status if isinstance(news, dispatch.AttemptFailed) else 0,
                duration_ms=int(elapsed_s * 1000),
            )
            journey.tried.append(tried)
        return news

    def _call(self, candidate: Candidate) -> dispatch.CallRouted:
        made, most = self._owned.attempts, self._request.attempts_made + self._limit
        manner = self._manner
        if manner.continuable and made >= most:  # nobody could go on with it
            manner = manner._replace(continuable=False)
        return call_of(
            self._journey,
            candidate,
            manner,
            attempt=made,
            router=self._means.bus.instance,
            answer_to=self._reply,
            remaining_ms=self._deadline.remaining_ms(),
            lease_ms=self._permit.lease_ms,
            routed_ns=self._means.telemetry.clock.now_ns(),
        )

    def _tell_of_lost(self, attempt: Attempt) -> None:
        """Its caller is gone; should it live after all, its own row counts instead."""
        row = lost_attempt(
            attempt.call,
            attempt.caller,
            self._journey.span,
            self._request.input_estimate_tokens,
            self._means.telemetry.clock.now_ns(),
        )
        self._means.spool.put(row)
