"""All limits of a request at once, all or nothing; and which router holds it.

Each decision is applied to the book at once, and said only when the log has its operations.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from droveway.contracts.admission import (
    AdmissionRequested,
    Admitted,
    Decision,
    Denied,
    Held,
    StandingAsked,
    StandingReported,
)
from droveway.contracts.config import Config
from droveway.contracts.limits import Admit, Op, Pass
from droveway.contracts.prices import ProviderPrices
from droveway.contracts.settlement import Released, Renewed, Settled
from droveway.limiter.book import REMEMBERED_HOLDS, Book
from droveway.limiter.counters import KINDS
from droveway.limiter.denials import Full, Reason, Unready, told
from droveway.limiter.leases import Leases
from droveway.limiter.places import Fitter, known_model
from droveway.limiter.plan import ClientPlan, Plans
from droveway.limiter.reservations import Hold
from droveway.limiter.settling import Crossed, Settling
from droveway.limiter.standing import (
    NO_WINDOWS,
    Windows,
    budget_standings,
    limit_standings,
    windows,
)
from droveway.limiter.usage_rows import AttemptUsed

_NOTHING: tuple[Op, ...] = ()


class DecisionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may turn of it."""

    owner: str = "limiter"
    """The name in reports."""
    remembered_holds: int = REMEMBERED_HOLDS
    """Closed holds beyond it are forgotten, the oldest first; so many open ones at once are the
    most that are admitted."""
    lease_ms: int = 10_000
    """What isn't renewed for so long is settled by what is known."""
    unknown_output_tokens: int = 4_096
    """Reserved for an answer without a bound until enough answers of its model are known."""
    busy_retry_ms: int = 1_000
    """When to ask again where too many run at the same time."""
    expired_per_call: int = 1_000
    """Leases that are settled at once."""


class DecisionStatistics(NamedTuple):
    """A snapshot for gauges."""

    admitted: int
    denied: int
    repeated: int
    held: int
    """Questions by a router about a request that another one holds."""
    taken_over: int
    remembered: int
    keys: int
    reserved: int
    """Requests that aren't settled."""
    settled: int
    expired: int
    """Settled by estimate since their lease ran out."""
    unpriced: int
    """Rows of USAGE of a provider without prices."""


class Decisions:
    """What may run now; pure but for the clock readings that it's handed."""

    def __init__(self, book: Book, settings: DecisionSettings) -> None:
        book.remembered_holds = settings.remembered_holds
        self.book = book
        self._settings = settings
        self._plans = Plans()
        self._leases = Leases(settings.lease_ms)
        self._fitter = Fitter(
            book,
            self._plans,
            settings.unknown_output_tokens,
            settings.lease_ms,
            settings.busy_retry_ms,
        )
        self._settling = Settling(book, self._plans, self._leases)
        self._admitted = 0
        self._denied = 0
        self._repeated = 0
        self._held = 0
        self._taken_over = 0
        self._leases.restart(book.open_requests(), book.at_ms)

    @property
    def crossed(self) -> list[Crossed]:
        """Soft thresholds of budgets that were crossed; whoever reads them clears the list."""
        return self._settling.crossed

    @property
    def priced(self) -> bool:
        """Whether rows can be counted: without any price they'd count as nothing, for good."""
        return self._plans.priced

    def configure(self, config: Config) -> None:
        """Takes new limits and budgets; what was counted stays."""
        self._plans.configure(config)

    def price(self, provider: str, prices: ProviderPrices | None) -> None:
        """Takes a provider's prices; None: there are none any more."""
        self._plans.price(provider, prices)

    def decide(self, request: AdmissionRequested, now_ms: int) -> tuple[Decision, tuple[Op, ...]]:
        """Admits and counts, or denies and counts nothing; a request counts once."""
        hold = self.book.holds.get(request.request_id)
        if hold is None:
            return self._admit(request, now_ms, None)
        if (request.router, request.ask) == (hold.router, hold.ask):
            if request.attempt > hold.attempt:
                return self._admit(request, now_ms, hold)
            self._repeated += 1
            return self._answer(request, hold, now_ms), _NOTHING
        if request.instead_of == hold.router and request.ask > hold.ask:
            return self._take_over(request, now_ms, hold)
        self._held += 1
        told_who = Held(request_id=request.request_id, router=hold.router, ask=hold.ask)
        return told_who, _NOTHING

    def settled(self, message: Settled, now_ms: int) -> tuple[Op, ...]:
        """An attempt has ended: what it used stands for what was reserved."""
        return self._settling.settled(message, now_ms)

    def renewed(self, message: Renewed, now_ms: int) -> None:
        """A caller still works on these."""
        for lease in message.leases:
            self._leases.renew(lease.request_id, lease.output_tokens, now_ms)

    def released(self, message: Released, now_ms: int) -> tuple[Op, ...]:
        """Its router has given the request up: all that is reserved is free."""
        return self._settling.released(message, now_ms)

    def expire(self, now_ms: int) -> tuple[Op, ...]:
        """Settles what nobody works on any more."""
        return self._settling.expire(now_ms, self._settings.expired_per_call)

    def extend_leases(self, now_ms: int) -> None:
        """At take-over: who has renewed lately isn't known."""
        self._leases.restart(self.book.open_requests(), now_ms)

    def fold(self, usage_seq: int, rows: Sequence[tuple[AttemptUsed, int]]) -> tuple[Op, ...]:
        """Counts rows of USAGE up to `usage_seq`, each with the Unix ms at which it was stored."""
        return self._settling.fold(usage_seq, rows)

    def standing(self, asked: StandingAsked, now_ms: int) -> StandingReported:
        """All limits and budgets of a key as they count now."""
        rules = self._plans.everything(asked.key_id, asked.tenant)
        budgets = self._plans.budgets(asked.key_id, asked.tenant)
        return StandingReported(
            key_id=asked.key_id,
            owner=self._settings.owner,
            limits=limit_standings(self.book, rules, now_ms),
            budgets=budget_standings(self.book, budgets, now_ms),
        )

    def statistics(self) -> DecisionStatistics:
        """A snapshot for gauges."""
        return DecisionStatistics(
            admitted=self._admitted,
            denied=self._denied,
            repeated=self._repeated,
            held=self._held,
            taken_over=self._taken_over,
            remembered=len(self.book.holds),
            keys=len(self._plans),
            reserved=self.book.open_holds,
            settled=self._settling.settled_count,
            expired=self._settling.expired_count,
            unpriced=self._settling.unpriced_count,
        )

    def _take_over(
        self, request: AdmissionRequested, now_ms: int, hold: Hold
    ) -> tuple[Decision, tuple[Op, ...]]:
        """Passes the hold on; what was settled meanwhile is reserved again for the new router.

        So is a place, if the one that the hold has isn't among those of the new router; or if its
        credential has limits and room, since an attempt of the router before may still run there.
        """
        passed = Pass(request.request_id, request.router, request.ask)
        index = _index_of(request, hold)
        if index is None or (hold.leased and not hold.open):
            decision, ops = self._admit(request, now_ms, hold, passed)
            self._taken_over += bool(ops)
            return decision, ops
        if hold.target and self._plans.place(request.places[index]).limited:
            there = msgspec.structs.replace(request, places=(request.places[index],))
            decision, ops = self._admit(there, now_ms, hold, passed)
            if isinstance(decision, Admitted):
                self._taken_over += 1
                return msgspec.structs.replace(decision, place=index), ops
        self._taken_over += 1
        self.book.apply(passed, now_ms)
        if hold.open:
            self._leases.start(request.request_id, now_ms)
        return self._answer(request, hold, now_ms), (passed,)

    def _admit(
        self, request: AdmissionRequested, now_ms: int, hold: Hold | None, *before: Op
    ) -> tuple[Decision, tuple[Op, ...]]:
        plan = self._plans.client(request.key_id, request.tenant, request.model)
        if plan is None:
            return self._deny(request, Unready("this key"), None, now_ms), _NOTHING
        found = self._fitter.fit(request, now_ms, plan, hold)
        if not isinstance(found, Admit):
            return self._deny(request, found, plan, now_ms), _NOTHING
        for op in before:
            self.book.apply(op, now_ms)
        self.book.apply(found, now_ms)
        if found.lease_until_ms:
            self._leases.start(request.request_id, now_ms)
        self._admitted += 1
        shown = windows(self.book, plan, now_ms)
        leased = found.lease_until_ms > 0
        admitted = self._admitted_at(request.request_id, found.place, leased, shown)
        return admitted, (*before, found)

    def _answer(self, request: AdmissionRequested, hold: Hold, now_ms: int) -> Admitted:
        """What the holder was told, with the limits as they stand now."""
        plan = self._plans.client(request.key_id, request.tenant, request.model)
        shown = NO_WINDOWS if plan is None else windows(self.book, plan, now_ms)
        place = _index_of(request, hold)
        return self._admitted_at(
            request.request_id, hold.place if place is None else place, hold.leased, shown
        )

    def _admitted_at(self, request_id: str, place: int, leased: bool, shown: Windows) -> Admitted:
        requests, tokens, input_tokens, output_tokens = shown
        return Admitted(
            request_id=request_id,
            place=place,
            lease_ms=self._settings.lease_ms if leased else 0,
            requests=requests,
            tokens=tokens,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )

    def _deny(
        self, request: AdmissionRequested, reason: Reason, plan: ClientPlan | None, now_ms: int
    ) -> Denied:
        self._denied += 1
        full = reason.rule if isinstance(reason, Full) else None
        shown = NO_WINDOWS if plan is None else windows(self.book, plan, now_ms, full)
        requests, tokens, input_tokens, output_tokens = shown
        return Denied(
            request_id=request.request_id,
            failure=told(reason, request),
            scope="" if full is None else full.scope,
            kind="" if full is None else KINDS[full.kind],
            requests=requests,
            tokens=tokens,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )


def _index_of(request: AdmissionRequested, hold: Hold) -> int | None:
    """Where the hold's place stands among those that are asked for now; None: nowhere."""
    if not hold.target:
        return hold.place
    for index, place in enumerate(request.places):
        named = f"{place.provider}/{place.credential}"
        if named == hold.target and known_model(place) == hold.model:
            return index
    return None
