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
    TriedTarget,
    inference_subject,
)
from droveway.gateway.ask import Ask
from droveway.gateway.live_routers import LiveRouters
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.deadline import Deadline
from droveway.runtime.errors import BusError
from droveway.runtime.relay import RelayHub

log = logging.getLogger(__name__)

ROUTER_SILENT_S = 3.0
"""A router says `Waiting` each half second; one that lives but doesn't has lost the request."""
ORPHAN_S = 1.0
"""After a router's death: how long callers have to say that they go on with its attempt."""
MAX_ASKS = 6
_UNANSWERED_ASKS = 4
"""Publications in a row without any answer; then there is no router that works."""
_ACCEPT_WITHIN_S = ACCEPT_WITHIN_MS / 1000
_LOOK_EVERY_S = 0.5
_BUSY_S = 0.1
"""Waking this much too late means that this process, not the router, was slow."""


class AskFailed(Exception):
    """No attempt committed."""

    def __init__(self, occurrence: Failure, tried: tuple[TriedTarget, ...] = ()) -> None:
        super().__init__(occurrence.code)
        self.failure = occurrence
        self.tried = tried


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
        self._instead_of = ""
        self._unanswered = 0
        self._began_s = time.monotonic()

    def publish(self) -> None:
        """Hands the request to a router, under an inbox and a relay of its own.

        First to any; later to one that was heard since, if there is one.

        Raises:
            AskFailed: The bus doesn't take it.
        """
        ask = Ask(self._bus, self._hub, self._routers, self.wake, len(self.asks) + 1)
        if self.asks and not self.asks[-1].asked_of:
            ask.asked_of = self._routers.pick(self._began_s, but=self._instead_of)
        self.asks.append(ask)
        self._unanswered += 1
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
            raise _unavailable() from None

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
            if ask.refused is not None and not ask.lost:
                raise AskFailed(ask.refused.failure, ask.refused.tried)
            decided = self.holder is not None and self.holder.accepted is not None
            if ask.accepted is not None and not ask.lost and not decided:
                self.settle_on(ask)
        if self.holder is not None and self.holder.over:
            self.holder = None
        if self.holder is None:
            self._find_holder()

    def _find_holder(self) -> None:
        """Who has it without having accepted it yet: by its own word, or by another router's."""
        for ask in self.asks:
            if ask.router and not ask.over and not ask.lost:
                self.holder = ask
                return
            if ask.held is not None:
                self.holder = self.asks[ask.held.ask - 1]
                self.holder.follow(ask.held.holder, probe=True)
                return

    def _await(self, now_s: float) -> float:
        """No router has said that it has it."""
        latest = self.asks[-1]
        accept_by_s = latest.heard_s + _ACCEPT_WITHIN_S
        if latest.nobody and not latest.asked_of:
            raise _unavailable()
        if now_s < accept_by_s and not latest.nobody:
            return accept_by_s
        if now_s - accept_by_s > _BUSY_S:
            # This loop was busy for so long that the answer may lie unread: it gets its time.
            latest.heard_s = now_s
        elif self._unanswered >= _UNANSWERED_ASKS:
            raise _unavailable()
        else:
            self.publish()
        return now_s + _ACCEPT_WITHIN_S

    def _watch(self, holder: Ask, now_s: float) -> float:
        """A router has it: until the first frame it must be heard of."""
        if holder.router_dead_s is not None:
            return self._watch_orphan(holder, holder.router_dead_s, now_s)
        silent_at_s = holder.heard_s + ROUTER_SILENT_S
        if now_s < silent_at_s:
            return silent_at_s
        if now_s > silent_at_s + _BUSY_S:
            holder.heard_s = now_s - ROUTER_SILENT_S / 2  # as above
            return now_s + ROUTER_SILENT_S / 2
        if self._hub.heard_at_s(holder.router) > holder.heard_s + ROUTER_SILENT_S / 2:
            return self._take_over(holder, now_s)
        holder.heard_s = now_s - ROUTER_SILENT_S + _LOOK_EVERY_S  # frozen, or we hear nobody
        return now_s + _LOOK_EVERY_S

    def _watch_orphan(self, holder: Ask, dead_s: float, now_s: float) -> float:
        """Its router is dead: a caller may be at work on it all the same."""
        if (ended := holder.attempt_failed) is not None:
            if not ended.elsewhere:
                raise AskFailed(ended)
            return self._take_over(holder, now_s)
        if holder.running is not None:
            return self._deadline.at_s
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
        made = max(holder.attempts, int(holder.attempt_failed is not None))
        self._request = msgspec.structs.replace(
            self._request, attempts_left=max(1, self._request.attempts_left - made)
        )
        self.holder = None
        self._instead_of = holder.router
        self._unanswered = 0
        self.publish()
        return now_s + _ACCEPT_WITHIN_S


def _unavailable() -> AskFailed:
    return AskFailed(failure("service_unavailable", retry_after_ms=1_000))
