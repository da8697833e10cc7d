"""Where a request may run: the first of its places at which all limits and budgets have room."""

from droveway.contracts.admission import AdmissionRequested, Place
from droveway.contracts.limits import Admit, Charge
from droveway.limiter.book import Book
from droveway.limiter.denials import Full, Overloaded, Reason
from droveway.limiter.fitting import (
    Estimate,
    concurrency_room,
    money_room,
    requests_room,
    tokens_room,
)
from droveway.limiter.plan import ClientPlan, Plans
from droveway.limiter.reservations import Hold

_MAX_NAME = 256
_NOWHERE: tuple[Place | None, ...] = (None,)
_UNKNOWN = Estimate(0, 0, bounded=True, learned=False)


def known_model(place: Place) -> str:
    """What the book remembers of the model's name, which a client may have made long."""
    return place.model[:_MAX_NAME]


class Fitter:
    """Finds what a request would take; reads the book and changes nothing."""

    def __init__(
        self,
        book: Book,
        plans: Plans,
        unknown_output_tokens: int,
        lease_ms: int,
        busy_retry_ms: int,
    ) -> None:
        self._book = book
        self._plans = plans
        self._unknown_output_tokens = unknown_output_tokens
        self._lease_ms = lease_ms
        self._busy_retry_ms = busy_retry_ms

    def fit(
        self, request: AdmissionRequested, now_ms: int, plan: ClientPlan, hold: Hold | None
    ) -> Admit | Reason:
        """What it takes at the first place with room; else why the one that is free first has none.

        Args:
            request: Who wants to run what.
            now_ms: The log's time.
            plan: What counts for its client.
            hold: What it has already: its requests aren't counted again, nor what is reserved.
        """
        charges: list[Charge] = []
        leases: list[str] = []
        reason: Reason | None = None
        rules = plan.rules
        if rules.requests and hold is None and request.attempt == 1:
            reason = requests_room(self._book, rules.requests, now_ms, charges)
        if rules.concurrency and not (hold is not None and hold.open):
            busy = concurrency_room(self._book, rules.concurrency, self._busy_retry_ms, leases)
            reason = _worse(reason, busy)
        best: Reason | None = None
        for index, place in enumerate(request.places or _NOWHERE):
            found = self._fit_at(
                request, now_ms, plan, hold, index, place, [*charges], [*leases], reason
            )
            if isinstance(found, Admit):
                return found
            best = found if best is None else _sooner(best, found)
        assert best is not None
        return best

    def _fit_at(
        self,
        request: AdmissionRequested,
        now_ms: int,
        plan: ClientPlan,
        hold: Hold | None,
        index: int,
        place: Place | None,
        charges: list[Charge],
        leases: list[str],
        reason: Reason | None,
    ) -> Admit | Reason:
        book = self._book
        at = None if place is None else self._plans.place(place)
        opened = hold if hold is not None and hold.open else None
        reserves = plan.reserves or opened is not None or (at is not None and at.reserves)
        estimate = self._estimate(request, place) if reserves else _UNKNOWN
        if plan.rules.tokens and opened is None:
            lacking = tokens_room(book, plan.rules.tokens, estimate, now_ms, charges)
            reason = _worse(reason, lacking)
        if at is not None:
            rules = at.rules
            if rules.requests:
                reason = _worse(reason, requests_room(book, rules.requests, now_ms, charges))
            if rules.tokens:
                lacking = tokens_room(book, rules.tokens, estimate, now_ms, charges)
                reason = _worse(reason, lacking)
            if rules.concurrency:
                busy = concurrency_room(book, rules.concurrency, self._busy_retry_ms, leases)
                reason = _worse(reason, busy)
        nano = 0
        if plan.budgets:
            money = money_room(book, plan.budgets, at, estimate, now_ms, opened)
            if isinstance(money, int):
                nano = money
            else:
                reason = _worse(reason, money)
        if reason is not None:
            return reason
        if reserves and opened is None and book.open_holds >= book.remembered_holds:
            return Overloaded(book.open_holds)
        return Admit(
            now_ms,
            request.request_id,
            request.router,
            request.ask,
            request.attempt,
            request.key_id,
            request.tenant,
            tuple(charges),
            tuple(leases),
            estimate.input_tokens,
            estimate.output_tokens,
            nano,
            plan.accounts,
            now_ms + self._lease_ms if reserves else 0,
            request.model[:_MAX_NAME] if place is None else known_model(place),
            index,
            "" if at is None else at.target,
            estimate.bounded,
        )

    def _estimate(self, request: AdmissionRequested, place: Place | None) -> Estimate:
        if request.max_output_tokens is not None:
            return Estimate(request.input_tokens, request.max_output_tokens, True, False)
        model = request.model[:_MAX_NAME] if place is None else known_model(place)
        learned = self._book.learned.output_tokens(model)
        known = learned is not None
        one = self._unknown_output_tokens if learned is None else learned
        return Estimate(request.input_tokens, one * request.choices, False, known)


def _worse(one: Reason | None, other: Reason | None) -> Reason | None:
    """What holds for longer: for good, or until the later time."""
    if one is None or other is None:
        return one or other
    if not isinstance(one, Full):
        return one
    if not isinstance(other, Full):
        return other
    return other if other.wait_ms > one.wait_ms else one


def _sooner(one: Reason, other: Reason) -> Reason:
    """What ends first; something for good only if nothing else is there."""
    if not isinstance(other, Full):
        return one
    return other if not isinstance(one, Full) or other.wait_ms < one.wait_ms else one
