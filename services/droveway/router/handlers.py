"""One coroutine per `InferenceRequested`: admit, then try target after target until one commits."""

import asyncio
import logging
import random
import time

from droveway.contracts import dispatch, inference
from droveway.contracts.admission import Denied, Held
from droveway.contracts.envelope import is_inbox_of, new_attempt_id
from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import (
    Accepted,
    InferenceRequested,
    Refused,
    Standing,
    TriedTarget,
    standing_of,
)
from droveway.otel.context import format_traceparent
from droveway.otel.setup import Telemetry
from droveway.router.attempt import Attempt
from droveway.router.cooldowns import Cooldowns
from droveway.router.journey import Journey
from droveway.router.outcome import is_misfit, last_word
from droveway.router.owned import DOORS, Owned, OwnedRequests
from droveway.router.permit import Permit
from droveway.router.routes import Candidate, RoutingTable
from droveway.router.settings import RouterSettings
from droveway.router.witness import lost_attempt
from droveway.runtime.bus import Bus
from droveway.runtime.deadline import Deadline
from droveway.runtime.rare_log import RareLog
from droveway.runtime.spool import Spool

log = logging.getLogger(__name__)
_bad_reply_subject = RareLog(log, "bad_reply_subject")

_UNSTARTED_ATTEMPTS = 4
"""Attempts that no caller began, since the one that got the call is frozen, say, or whose target
has no words for the request: nothing was spent, so they don't count. Further ones do."""


class Router:
    """The handlers' collaborators; `table` is replaced when the configuration changes."""

    def __init__(
        self,
        bus: Bus,
        owned: OwnedRequests,
        spool: Spool,
        telemetry: Telemetry,
        settings: RouterSettings,
    ) -> None:
        self.table: RoutingTable | None = None
        self.cooldowns = Cooldowns()
        self._bus = bus
        self._owned = owned
        self._spool = spool
        self._telemetry = telemetry
        self._settings = settings
        self._dice = random.Random()  # noqa: S311 - weights, not secrets

    async def route(self, request: InferenceRequested, reply: str) -> None:
        """Owns one request until commit, refusal or cancel."""
        if not is_inbox_of(reply, DOORS):
            self._owned.counts["misaddressed"] += 1
            _bad_reply_subject.warn()
            return
        owned = self._owned.begin(request, reply)
        if owned is None:
            return
        journey = Journey(request, owned, self._telemetry)
        committed: dispatch.Running | None = None
        try:
            committed = await self._serve(request, reply, owned, journey)
        except asyncio.CancelledError:
            journey.outcome = "cancelled"
            if not owned.cancelled:
                # An attempt under way outlives this process: its caller tells the door.
                if owned.attempt is None or not owned.attempt.started:
                    stopped = failure("server_shutting_down", retry_after_ms=1_000)
                    self._refuse(owned, journey, stopped)
                raise
        finally:
            self._owned.end(owned, committed)
            journey.record_span()

    def refuse_full(self, request: InferenceRequested, reply: str) -> None:
        """Answers a request that found `max_in_flight` reached."""
        if is_inbox_of(reply, DOORS):
            self._owned.say(
                reply,
                Refused(
                    request_id=request.request_id,
                    router=self._bus.instance,
                    failure=failure("overloaded", retry_after_ms=1_000),
                ),
            )

    async def _serve(
        self, request: InferenceRequested, reply: str, owned: Owned, journey: Journey
    ) -> dispatch.Running | None:
        """Who has committed it; None when it was refused, or nothing is to be said of it."""
        assert self.table is not None
        deadline = Deadline.after_ms(request.remaining_ms)
        found = self._candidates(self.table, request)
        if isinstance(found, Failure):
            self._refuse(owned, journey, found)
            return None
        await self.cooldowns.short_wait(found)
        permit = Permit(
            self._bus,
            request,
            self.table.served(request.model),
            found,
            self._settings,
            lambda: self._owned.wait(owned),
        )
        decision = await permit.obtain(deadline)
        journey.admitted_ns = self._telemetry.clock.now_ns()
        if isinstance(decision, Denied):
            self._refuse(owned, journey, decision.failure, decision)
            return None
        if isinstance(decision, Held):
            self._leave(owned, journey, decision)
            return None
        owned.accepted = Accepted(
            request_id=request.request_id, router=self._bus.instance, **standing_of(decision)
        )
        self._owned.say(reply, owned.accepted)
        try:
            return await self._attempts(request, reply, owned, journey, permit, deadline)
        finally:
            # An attempt under way outlives this router; its caller settles it.
            goes_on = owned.attempt is not None and owned.attempt.started and not owned.cancelled
            if journey.outcome not in ("committed", "lost") and not goes_on:
                permit.release()

    async def _attempts(
        self, request: InferenceRequested, reply: str, owned: Owned, journey: Journey,
        permit: Permit, deadline: Deadline,
    ) -> dispatch.Running | None:  # fmt: skip
        """One target after the other, until an attempt commits or no other may help."""
        limit = min(self._settings.max_attempts, request.attempts_left)
        failures: list[Failure] = []
        started = 0
        while started < limit and owned.attempts < limit + _UNSTARTED_ATTEMPTS:
            if self._owned.lapsed or owned.lapsed:
                journey.outcome = "lost"  # and nothing is said: another router may have it by now
                return None
            if deadline.passed:
                failures.append(failure("deadline_exceeded"))
                break
            candidate = await permit.next(deadline)
            if candidate is None:
                break
            if isinstance(candidate, Failure):
                failures.append(candidate)
                break
            owned.attempts += 1
            news = await self._try(request, reply, owned, journey, candidate, permit, deadline)
            if isinstance(news, dispatch.Committed):
                self._owned.counts["committed"] += 1
                journey.outcome = "committed"
                return dispatch.Running(
                    attempt_id=news.attempt_id,
                    attempt=owned.attempts,
                    caller=news.caller,
                    committed=True,
                )
            failures.append(_failure_of(news))
            attempt = owned.attempt
            begun = attempt is None or bool(attempt.caller)
            if attempt is not None and not begun and not attempt.lost:
                permit.unused(news.attempt_id, candidate)
            started += begun and not is_misfit(failures[-1])
            if not failures[-1].elsewhere:
                break
            if attempt is not None and attempt.lost:
                permit.unsettled = permit.unsettled or begun
                if begun:
                    self._tell_of_lost(attempt, journey)
                permit.again(candidate)  # another caller may reach the same target
        self._refuse(owned, journey, last_word(failures, journey.tried), permit.standing)
        return None

    def _candidates(
        self, table: RoutingTable, request: InferenceRequested
    ) -> list[Candidate] | Failure:
        """Whom to try, in this order; asked before admission, so a refusal counts nowhere."""
        model = table.served(request.model)
        route = table.route(model)
        if route is None:
            text = f"The model `{request.model[:100]}` does not exist or you do not have access"
            return failure("model_not_found", text, param="model")
        candidates = table.candidates(route, model, self._dice)
        able = table.able(candidates, request.needs, request.dialect)
        return able if isinstance(able, Failure) else self.cooldowns.order(able)

    async def _try(
        self,
        request: InferenceRequested,
        reply: str,
        owned: Owned,
        journey: Journey,
        candidate: Candidate,
        permit: Permit,
        deadline: Deadline,
    ) -> dispatch.AttemptNews:
        began_s = time.monotonic()
        remaining_ms = min(deadline.remaining_ms(), candidate.total_ms)
        first_token_ms = min(candidate.first_token_ms, request.first_token_ms, remaining_ms)
        call = dispatch.CallRouted(
            attempt_id=new_attempt_id(),
            attempt=owned.attempts,
            request_id=request.request_id,
            relay_id=request.relay_id,
            router=self._bus.instance,
            door=request.door,
            answer_to=reply,
            traceparent=format_traceparent(journey.span),
            tenant=request.tenant,
            key_id=request.key_id,
            dialect=request.dialect,
            api_version=request.api_version,
            api_features=request.api_features,
            model=request.model,
            target=candidate.target,
            stream=request.stream,
            include_usage=request.include_usage,
            body=request.body,
            remaining_ms=remaining_ms,
            first_token_ms=first_token_ms,
            lease_ms=permit.lease_ms,
            received_ns=journey.received_ns,
            admitted_ns=journey.admitted_ns,
            routed_ns=self._telemetry.clock.now_ns(),
        )
        self._owned.counts["tried"] += 1
        owned.attempt = Attempt(self._bus, self._owned.hub, call, candidate.pool)
        # A request that isn't streamed commits with its whole answer, so all its time is allowed.
        within_ms = first_token_ms if request.stream else remaining_ms
        grace_s = 0.5  # the caller's own clock should speak first: it knows the cause
        news = await owned.attempt.run(
            self._settings.start_within_ms / 1000, within_ms / 1000 + grace_s
        )
        self.cooldowns.learn(candidate.target, news)
        if not isinstance(news, dispatch.Committed):
            journey.tried.append(
                TriedTarget(
                    attempt_id=call.attempt_id,
                    target=candidate.label,
                    code=_failure_of(news).code,
                    status=news.status if isinstance(news, dispatch.AttemptFailed) else 0,
                    duration_ms=int((time.monotonic() - began_s) * 1000),
                )
            )
        return news

    def _tell_of_lost(self, attempt: Attempt, journey: Journey) -> None:
        """Its caller is gone; should it live after all, its own row counts instead."""
        row = lost_attempt(
            attempt.call,
            attempt.caller,
            journey.span,
            journey.request.input_estimate_tokens,
            self._telemetry.clock.now_ns(),
        )
        self._spool.put(row)

    def _leave(self, owned: Owned, journey: Journey, held: Held) -> None:
        """Another router has it; the door is told which one, and finds out how that one is."""
        journey.outcome = "held_elsewhere"
        news = inference.Held(
            request_id=held.request_id,
            router=self._bus.instance,
            holder=held.router,
            ask=held.ask,
        )
        self._owned.finish(owned, news)

    def _refuse(
        self,
        owned: Owned,
        journey: Journey,
        occurrence: Failure,
        standing: Standing | None = None,
    ) -> None:
        self._owned.counts["refused"] += 1
        journey.outcome = occurrence.code
        refused = Refused(
            request_id=journey.request.request_id,
            router=self._bus.instance,
            failure=occurrence,
            tried=tuple(journey.tried),
            **(standing_of(standing) if standing else {}),
        )
        self._owned.finish(owned, refused)


def _failure_of(news: dispatch.AttemptNews) -> Failure:
    match news:
        case dispatch.AttemptFailed():
            return news.failure
        case dispatch.Busy():
            return failure("provider_busy", retry_after_ms=1_000)
        case dispatch.Started() | dispatch.Committed():
            return failure("internal_error", f"unexpected {type(news).__name__} after the start")
