"""Leave to run one request: asked of the limiter, and again for each further target that costs."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from droveway.contracts.admission import (
    CONCURRENCY,
    CREDENTIAL,
    PARTITION,
    Admitted,
    Decision,
    Denied,
    Place,
)
from droveway.contracts.envelope import encode
from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import InferenceRequested, Standing
from droveway.contracts.relay import Usage
from droveway.contracts.settlement import Released, Settled, Settlement, settlement_subject
from droveway.otel.logs import log_event
from droveway.router.admission import admit
from droveway.router.places import client_places, models_of, providers_of
from droveway.router.routes import Candidate
from droveway.router.settings import RouterSettings
from droveway.router.turn import Turn
from droveway.runtime.bus import Bus
from droveway.runtime.deadline import Deadline
from droveway.runtime.errors import BusError

log = logging.getLogger(__name__)

MAX_PLACES = 16
"""Targets that one question names; a route with more tries the first of them."""


class Permit:
    """One request's candidates, in the order in which the limiter has room for them.

    What is reserved is settled by the caller of each attempt; `release` frees the rest when no
    attempt commits. `model` is the name that is routed, which limits mean: an alias is no way round
    them.
    """

    def __init__(
        self,
        bus: Bus,
        request: InferenceRequested,
        model: str,
        candidates: Sequence[Candidate],
        settings: RouterSettings,
        on_silence: Callable[[], None],
        turn: Turn,
    ) -> None:
        self._bus = bus
        self._request = request
        self._model = model
        self._left = deque(candidates[:MAX_PLACES])
        self._settings = settings
        self._on_silence = on_silence
        self._turn = turn
        self._full: list[Candidate] = []
        """Those whose callers were busy."""
        self._admitted = 0
        self._granted: Candidate | None = None
        self._doubtful = False
        """A question wasn't answered: it may have been admitted all the same."""
        self.unsettled = False
        """A caller that had begun is gone: nobody says what it spent until its lease is over."""
        self.standing: Standing | None = None
        self.lease_ms = 0

    async def obtain(self, deadline: Deadline) -> Decision:
        """The limiter's decision on the request and its first target, once there is room.

        Without one, in time or for as long as the client waits, nothing stays reserved.
        """
        try:
            decision = await self._first_decision(deadline)
        except asyncio.CancelledError:
            self.release()
            raise
        if self._doubtful:
            self.release()
        return decision

    async def next(self, deadline: Deadline) -> Candidate | Failure | None:
        """Whom to try now; None when all have been tried, a failure when none has room in time."""
        if not self.has_more and (refusal := await self._until_less_busy()) is not None:
            return refusal
        if self._granted is None and self._left:
            if not self.lease_ms and not any(one.limited for one in self._left):
                return self._left.popleft()
            decision = await self._decide(deadline)
            if isinstance(decision, Denied):
                return decision.failure
            if not isinstance(decision, Admitted):  # it has passed to another router meanwhile
                return failure("service_unavailable", "Another router runs the request")
        granted, self._granted = self._granted, None
        return granted

    @property
    def has_more(self) -> bool:
        """Whether a target is left that wasn't handed out."""
        return self._granted is not None or bool(self._left)

    @property
    def may_wait(self) -> bool:
        """Whether targets are left whose callers were busy."""
        return bool(self._full)

    def busy(self, candidate: Candidate) -> None:
        """No caller has room for it: it may be asked again when one has."""
        self._full.append(candidate)

    def extend(self, candidates: Sequence[Candidate]) -> None:
        """Further targets, once those before are tried."""
        self._left.extend(candidates[:MAX_PLACES])

    def retry(self, candidate: Candidate) -> None:
        """The target is to be asked again; where its credential has limits, that needs leave."""
        self._left.append(candidate)

    def again(self, candidate: Candidate) -> None:
        """The target wasn't reached: it is next, under the leave that it has."""
        self._granted = candidate

    def unused(self, attempt_id: bytes, candidate: Candidate) -> None:
        """Nobody began the attempt: its place is free again while the request goes on elsewhere."""
        if not self.lease_ms:
            return
        target = candidate.target
        self._say(
            Settled(
                request_id=self._request.request_id,
                attempt_id=attempt_id,
                caller=self._bus.instance,
                provider=target.provider,
                credential=target.credential,
                model=target.model,
                usage=Usage(),
                committed=False,
            )
        )

    def release(self) -> None:
        """No attempt has committed or will: what is left of the reservation is free."""
        if self.unsettled or not (self.lease_ms or self._doubtful):
            return
        self._say(Released(request_id=self._request.request_id, router=self._bus.instance))

    def _say(self, message: Settlement) -> None:
        try:
            self._bus.publish(settlement_subject(PARTITION), encode(message))
        except BusError as error:  # then it's free when its lease is over
            log_event(log, "release_unsent", level=logging.WARNING, reason=str(error))

    async def _first_decision(self, deadline: Deadline) -> Decision:
        """Who comes while others wait for the same places goes behind them."""
        if places := self._turn.behind(self._left):
            refusal = await self._turn.wait(places, _busy(), None)
            if refusal is not None:
                return Denied(request_id=self._request.request_id, failure=refusal)
        return await self._decide(deadline)

    async def _decide(self, deadline: Deadline) -> Decision:
        """Asks until there is room, or it can't be waited for."""
        while True:
            decision = await self._ask(deadline)
            if not isinstance(decision, Denied) or not decision.scope:
                return decision
            refusal = await self._until_room(decision)
            if refusal is not None:
                return msgspec.structs.replace(decision, failure=refusal)

    async def _until_room(self, decision: Denied) -> Failure | None:
        """Waits in the line of the limit that is full; why not, if that takes too long."""
        reason, again_s = decision.failure, None
        if decision.kind != CONCURRENCY and reason.retry_after_ms is not None:
            again_s = reason.retry_after_ms / 1000
        if decision.scope == CREDENTIAL:
            return await self._turn.wait_for_credential(models_of(self._left), reason, again_s)
        places = client_places(self._request.key_id, self._model)
        return await self._turn.wait(places, reason, again_s, client=True)

    async def _until_less_busy(self) -> Failure | None:
        """Waits for one of the busy ones, if there are any; why not, if that takes too long."""
        if not self._full:
            return None
        busy, self._full = self._full, []
        refusal = await self._turn.wait(providers_of(busy), _busy(), None)
        self._left.extend(busy)
        return refusal

    async def _ask(self, deadline: Deadline) -> Decision:
        self._doubtful = True
        decision = await admit(
            self._bus,
            self._request,
            self._model,
            deadline.remaining_ms(),
            self._settings.admit_within_ms,
            self._on_silence,
            places=tuple(_place(candidate) for candidate in self._left),
            attempt=self._admitted + 1,
        )
        if not isinstance(decision, Denied) or decision.failure.code != "limiter_unavailable":
            self._doubtful = False
        if isinstance(decision, Admitted):
            self._admitted += 1
            self._granted = self._left[decision.place]
            del self._left[decision.place]
            self.lease_ms = max(self.lease_ms, decision.lease_ms)
            self.standing = self.standing or decision
        return decision


def _busy() -> Failure:
    return failure("provider_busy", retry_after_ms=1_000)


def _place(candidate: Candidate) -> Place:
    target = candidate.target
    return Place(provider=target.provider, credential=target.credential, model=target.model)
