"""One coroutine per `InferenceRequested`: admit, then try target after target until one commits."""

import asyncio
import functools
import logging

from droveway.contracts import dispatch, inference
from droveway.contracts.admission import Denied, Held
from droveway.contracts.config import Config
from droveway.contracts.configuration import ConfigVersion
from droveway.contracts.envelope import is_inbox_of
from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import (
    INTERACTIVE,
    Accepted,
    InferenceRequested,
    Refused,
    Standing,
    standing_of,
)
from droveway.router.attempts import Attempts, Lapsed
from droveway.router.cooldowns import AllCool, until_cooled
from droveway.router.journey import Journey
from droveway.router.means import Means, Plan
from droveway.router.order import Order
from droveway.router.outcome import last_word
from droveway.router.owned import DOORS, Owned
from droveway.router.permit import Permit
from droveway.router.retry import attempts_left, starts_anew
from droveway.router.routes import Candidate, FallbackCase, RoutingTable
from droveway.router.turn import Turn, allowance
from droveway.runtime.deadline import Deadline
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)
_bad_reply_subject = RareLog(log, "bad_reply_subject")


class Router:
    """The handlers' collaborators; `table` is replaced when the configuration changes."""

    def __init__(self, means: Means) -> None:
        self.table: RoutingTable | None = None
        self._means = means
        self._bus = means.bus
        self._owned = means.owned
        self._telemetry = means.telemetry
        self._settings = means.settings
        self._order = Order(means.dice, means.health.first_token_s, means.costs.expected)

    def configure(self, config: Config, version: ConfigVersion = "") -> None:
        """Another configuration is in force, for requests that come from now on."""
        self.table = RoutingTable(config, version)
        self._means.budget.configure(config.retry_budget)
        self._means.health.configure(config.health)
        self._means.costs.configure(config)

    async def route(
        self, request: InferenceRequested, reply: str, priority: str = INTERACTIVE
    ) -> None:
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
            committed = await self._serve(request, reply, owned, journey, priority)
        except asyncio.CancelledError:
            journey.outcome = "cancelled"
            if not owned.cancelled:
                # An attempt under way outlives this process: its caller tells the door.
                if owned.attempt is None or not owned.attempt.started:
                    stopped = failure("server_shutting_down", retry_after_ms=1_000)
                    self._refuse(owned, journey, stopped)
                raise
        finally:
            journey.close()
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
        self, request: InferenceRequested, reply: str, owned: Owned, journey: Journey,
        priority: str,
    ) -> dispatch.Running | None:  # fmt: skip
        """Who has committed it; None when it was refused, or nothing is to be said of it."""
        table = self.table  # the whole request goes by one configuration
        assert table is not None
        journey.config = table.version
        deadline = Deadline.after_ms(request.remaining_ms)
        if starts_anew(request):
            self._means.budget.deposit()
        turn = journey.turn = Turn(
            self._means.waiting,
            request,
            priority,
            allowance(request, table.queue_s(request.model), self._settings.queue_s),
            deadline.remaining_s(),
            lambda: self._owned.wait(owned),
        )
        found = await until_cooled(lambda: self._candidates(table, request), turn)
        if isinstance(found, Failure):
            self._refuse(owned, journey, found)
            return None
        permit = Permit(
            self._bus,
            request,
            table.served(request.model),
            found,
            self._settings,
            lambda: self._owned.wait(owned),
            turn,
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
        plan = Plan(
            table.retry(request.model, request.dialect),
            functools.partial(self._fallbacks, table, request),
            table.manner(request.model),
        )
        try:
            return await self._attempt(request, reply, owned, journey, permit, plan, deadline)
        finally:
            # An attempt under way outlives this router; its caller settles it.
            goes_on = owned.attempt is not None and owned.attempt.started and not owned.cancelled
            if journey.outcome not in ("committed", "lost") and not goes_on:
                permit.release()

    async def _attempt(
        self, request: InferenceRequested, reply: str, owned: Owned, journey: Journey,
        permit: Permit, plan: Plan, deadline: Deadline,
    ) -> dispatch.Running | None:  # fmt: skip
        """Tries as its policy says; what can't be served is refused."""
        attempts = Attempts(self._means, request, reply, owned, journey, permit, plan, deadline)
        try:
            running = await attempts.run()
        except Lapsed:
            journey.outcome = "lost"
            return None
        if running is None:
            occurrence = last_word(attempts.failures, journey.tried)
            self._refuse(owned, journey, occurrence, permit.standing, spent=attempts.spent)
            return None
        self._owned.counts["committed"] += 1
        journey.outcome = "committed"
        return running

    def _candidates(
        self, table: RoutingTable, request: InferenceRequested
    ) -> list[Candidate] | Failure | AllCool:
        """Whom to try, in this order; asked before admission, so a refusal counts nowhere."""
        model = table.served(request.model)
        route = table.route(model)
        if route is None:
            text = f"The model `{request.model[:100]}` does not exist or you do not have access"
            return failure("model_not_found", text, param="model")
        if not attempts_left(
            table.retry(request.model, request.dialect), request, self._settings.max_attempts
        ):
            return failure("service_unavailable", "No attempt is left to go on with it")
        candidates = table.ordered(route, model, request, self._order)
        able = self._able(table, candidates, request)
        if isinstance(able, Failure):
            lacks_targets = request.avoid or able.code == "targets_disabled"
            return (lacks_targets and self._fallbacks(table, request, "failed")) or able
        ordered = self._means.cooldowns.order(self._means.health.order(able))
        if isinstance(ordered, AllCool):
            return self._fallbacks(table, request, "rate_limited") or ordered
        return ordered

    def _fallbacks(
        self, table: RoutingTable, request: InferenceRequested, case: FallbackCase
    ) -> list[Candidate]:
        """Other models' targets that can serve the request and may be asked now."""
        route = table.route(table.served(request.model))
        assert route is not None, "its candidates were found by it"
        found = table.fallbacks(route, case, request, self._order)
        able = self._able(table, found, request)
        if isinstance(able, Failure):
            return []
        ordered = self._means.cooldowns.order(self._means.health.order(able))
        return [] if isinstance(ordered, AllCool) else ordered

    def _able(
        self, table: RoutingTable, candidates: list[Candidate], request: InferenceRequested
    ) -> list[Candidate] | Failure:
        """Those that can serve it, aren't switched off, and haven't broken its answer off."""
        left = [one for one in candidates if one.label not in request.avoid]
        if candidates and not left:
            return failure("service_unavailable", "No other target is left to go on with it")
        allowed = self._means.switches.allowed(left)
        if left and not allowed:
            return failure("targets_disabled")
        return table.able(allowed, request.needs, request.dialect)

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
        *,
        spent: bool = False,
    ) -> None:
        self._owned.counts["refused"] += 1
        journey.outcome = occurrence.code
        refused = Refused(
            request_id=journey.request.request_id,
            router=self._bus.instance,
            failure=occurrence,
            tried=tuple(journey.tried),
            spent=spent,
            **(standing_of(standing) if standing else {}),
        )
        self._owned.finish(owned, refused)
