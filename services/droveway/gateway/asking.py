"""Until a router has the request, and again when that router is gone: who runs it?

The door alone decides when to ask anew. That no two routers run it is decided at the limiter, where
a request is held by one of them (contracts/admission): a second one hears who has it, and the door
then looks how that one is. Only a router that is dead, or has lost the request, is replaced.
"""

import asyncio
import logging
import time

import msgspec

from droveway.contracts.envelope import encode
from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import (
    ACCEPT_WITHIN_MS,
    INTERACTIVE,
    InferenceRequested,
    Refused,
    TriedTarget,
    inference_subject,
)
from droveway.contracts.relay import HEARTBEAT_MS, PEER_PROBE_MS
from droveway.gateway.ask import INQUIRE_EVERY_S, Ask
from droveway.gateway.live_routers import LiveRouters
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.deadline import Deadline
from droveway.runtime.errors import BusError
from droveway.runtime.relay import RelayHub

log = logging.getLogger(__name__)

ROUTER_SILENT_S = 3.0
"""A router says `Waiting` each half second; one that lives but doesn't has lost the request."""
ORPHAN_S = (PEER_PROBE_MS + 2 * HEARTBEAT_MS) / 1000 + 0.5
"""After a router's death: how long callers have to notice it too, and to say that they go on."""
MAX_ASKS = 8
_UNANSWERED_ASKS = 4
"""Publications in a row without any answer; then there is no router that works."""
_ACCEPT_WITHIN_S = ACCEPT_WITHIN_MS / 1000
_LOOK_EVERY_S = 0.5
_SILENT_S = 1.0
"""A router that has said nothing of a request for this long is asked about it."""
_OF_THE_ROUTER = frozenset({"overloaded", "limiter_unavailable", "server_shutting_down"})
"""Refusals that say nothing of the request."""
_BUSY_S = 0.1
"""Waking this much too late means that this process, not the router, was slow."""


class AskFailed(Exception):
    """No attempt committed."""

    def __init__(
        self, occurrence: Failure, tried: tuple[TriedTarget, ...] = (), *,
        by_router: bool = False, spent: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(occurrence.code)
        self.failure = occurrence
        self.tried = tried
        self.by_router = by_router
        """A router has said so: nothing runs any more."""
        self.spent = spent
        """See `Refused.spent`."""


class Asking:
    """The publications of one request, and which of them a router has."""

    def __init__(
        self,
        bus: Bus,
        hub: RelayHub,
        routers: LiveRouters,
        request: InferenceRequested,
        deadline: Deadline,
    ) -> None:
        self.wake = asyncio.Event()
        self.asks: list[Ask] = []
        self.holder: Ask | None = None
        """The publication that a router has, or whose answer has begun."""
        self._bus = bus
        self._hub = hub
        self._routers = routers
        self._request = request
        self._deadline = deadline
        self._instead_of = request.instead_of
        self._asked_before = request.ask - 1
        """Publications before these, of an answer that broke off."""
        self._round = 0
        """How many publications there were before the last router was given up."""
        self._began_s = time.monotonic()

    def publish(self) -> None:
        """Hands the request to any router, for the first time.

        Raises:
            AskFailed: The bus doesn't take it.
        """
        if not self._ask():
            raise _unavailable()

    def _ask(self) -> bool:
        """Publishes it under an inbox and a relay of its own; False if the bus doesn't take it.

        First to any router; later to one that was heard since, if there is one.
        """
        number = self._asked_before + len(self.asks) + 1
        ask = Ask(self._bus, self._hub, self._routers, self.wake, number)
        if self.asks and not self.asks[-1].asked_of:
            ask.asked_of = self._routers.pick(self._began_s, but=self._instead_of)
        self.asks.append(ask)
        message = msgspec.structs.replace(
            self._request,
            relay_id=ask.relay_id,
            remaining_ms=self._deadline.remaining_ms(),
            ask=ask.number,
            instead_of=self._instead_of,
        )
        try:
            subject = inference_subject(INTERACTIVE, ask.asked_of)
            self._bus.publish(subject, encode(message), ask.inbox.subject)
        except BusError as error:
            log_event(log, "request_unsent", level=logging.WARNING, reason=str(error))
            ask.nobody = True
            return False
        return True

    def settle_on(self, ask: Ask) -> None:
        """A router has this one, or its answer has begun: the others aren't wanted any more."""
        if self.holder is not ask:
            self.holder = ask
            for other in self.asks:
                if other is not ask and not other.over:
                    other.abandon("another router has it")

    def look(self, now_s: float) -> float:
        """Does what is due before the first frame; returns when to look again at the latest.

        Raises:
            AskFailed: It was refused, nobody took it, or its deadline has passed.
        """
        if self._deadline.passed:
            raise AskFailed(failure("deadline_exceeded"))
        self._read_news()
        due_s = self._await(now_s) if self.holder is None else self._watch(self.holder, now_s)
        return min(due_s, self._deadline.at_s)

    def _read_news(self) -> None:
        for ask in self.asks:
            if ask.lost:
                continue
            refused = ask.refused
            if refused is not None and self._is_final(ask, refused):
                raise AskFailed(refused.failure, refused.tried, by_router=True, spent=refused.spent)
            decided = self.holder is not None and self.holder.accepted is not None
            if ask.accepted is not None and not decided:
                self.settle_on(ask)
        if self.holder is not None and self.holder.over:
            self.holder = None
        if self.holder is None:
            self._find_holder()

    def _is_final(self, ask: Ask, refused: Refused) -> bool:
        """Whether a refusal ends the request: one that is about its router only may not."""
        if refused.failure.code not in _OF_THE_ROUTER or refused.tried:
            return True
        if any(not other.over and not other.lost for other in self.asks):
            return False  # another one may have it
        leaves = refused.failure.code == "server_shutting_down"
        return not leaves or ask is not self.asks[-1] or self._is_exhausted()

    def _find_holder(self) -> None:
        """Who has it without having accepted it yet: by its own word, or by another router's."""
        for ask in reversed(self.asks):
            if ask.lost:
                continue
            if ask.router and not ask.over:
                self.holder = ask
                return
            if ask.held is not None and ask.held.ask > self._asked_before:
                held = self.asks[ask.held.ask - 1 - self._asked_before]
                if not held.lost and not held.over:
                    held.follow(ask.held.holder, probe=True)
                    self.holder = held
                    return

    def _await(self, now_s: float) -> float:
        """No router has said that it has it."""
        latest = self.asks[-1]
        if latest.nobody and len(self.asks) == 1:
            raise _unavailable()
        accept_by_s = latest.heard_s + _ACCEPT_WITHIN_S
        leaving = latest.refused is not None
        if now_s < accept_by_s and not leaving and not (latest.nobody and latest.asked_of):
            return accept_by_s
        if now_s - accept_by_s > _BUSY_S:
            # This loop was busy for so long that the answer may lie unread: it gets its time.
            latest.heard_s = now_s
        elif self._is_exhausted():
            raise _unavailable()
        else:
            self._ask()
        return now_s + _ACCEPT_WITHIN_S

    def _is_exhausted(self) -> bool:
        """Whether enough publications went unanswered to say that no router works."""
        return len(self.asks) - self._round >= _UNANSWERED_ASKS or len(self.asks) >= MAX_ASKS

    def _watch(self, holder: Ask, now_s: float) -> float:
        """A router has it: until the first frame it must be heard of."""
        if holder.left_to_caller:
            return self._watch_orphan(holder, holder.router_dead_s or now_s, now_s)
        if not self._bus.hears_itself:
            return now_s + _LOOK_EVERY_S
        if now_s - holder.heard_s > _SILENT_S:
            holder.inquire(now_s)  # its last word may be lost
        heard_s = max(holder.heard_s, self._bus.hearing_since_s)
        silent_at_s = heard_s + ROUTER_SILENT_S
        if now_s < silent_at_s:
            return min(silent_at_s, now_s + _SILENT_S)
        if now_s > silent_at_s + _BUSY_S:
            holder.heard_s = now_s - ROUTER_SILENT_S / 2  # as above
            return now_s + ROUTER_SILENT_S / 2
        if self._hub.heard_at_s(holder.router) > heard_s + ROUTER_SILENT_S / 2:
            return self._take_over(holder, now_s)
        holder.heard_s = now_s - ROUTER_SILENT_S + _LOOK_EVERY_S  # frozen, or we hear nobody
        return now_s + _LOOK_EVERY_S

    def _watch_orphan(self, holder: Ask, dead_s: float, now_s: float) -> float:
        """Its router is dead: a caller may be at work on it all the same."""
        if (ended := holder.attempt_failed) is not None:
            if not ended.elsewhere:
                raise AskFailed(ended, spent=holder.made > 1)
            return self._take_over(holder, now_s)
        if holder.running is not None:
            holder.inquire(now_s)  # what it says once may be lost
            return now_s + INQUIRE_EVERY_S
        if now_s < dead_s + ORPHAN_S:
            return dead_s + ORPHAN_S
        if not self._bus.hears_itself:
            raise _unavailable()
        return self._take_over(holder, now_s)

    def _take_over(self, holder: Ask, now_s: float) -> float:
        """Asks anew: the hold of a router that is gone passes to whoever takes it now."""
        if len(self.asks) >= MAX_ASKS:
            raise _unavailable()
        log_event(
            log,
            "request_taken_over",
            level=logging.WARNING,
            request_id=self._request.request_id,
            router=holder.router,
        )
        holder.lost = True
        holder.abandon("its router is gone")
        before = self._request.attempts_made
        made = max(holder.attempts, before + (holder.attempt_failed is not None)) - before
        self._request = msgspec.structs.replace(
            self._request,
            attempts_left=max(1, self._request.attempts_left - made),
            attempts_made=before + made,
        )
        self.holder = None
        self._instead_of = holder.router
        self._round = len(self.asks)
        self._ask()
        return now_s + _ACCEPT_WITHIN_S


def _unavailable() -> AskFailed:
    return AskFailed(failure("service_unavailable", retry_after_ms=1_000))
