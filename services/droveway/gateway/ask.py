"""One publication of a request: its own inbox and relay, so that two of them can't mix."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable

from droveway.contracts import relay
from droveway.contracts.dispatch import AttemptFailed, Running
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import Accepted, Held, Refused, Waiting
from droveway.gateway.live_routers import LiveRouters
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.relay import Receiver, RelayHub

log = logging.getLogger(__name__)

_LATE_ACCEPT_S = 5.0
"""How long a request that was given up still listens for a router that accepts it."""

INQUIRE_EVERY_S = 1.0
"""Whoever has a request and says nothing of it is asked this often."""


def _nothing() -> None:
    """What is called in place of ending a link that there isn't."""


class Ask:
    """What is heard of it: of a router, then of the caller that answers."""

    def __init__(
        self, bus: Bus, hub: RelayHub, routers: LiveRouters, wake: asyncio.Event, number: int
    ) -> None:
        self.number = number
        self.asked_of = ""
        """The router that was asked; empty: any."""
        self.relay_id = secrets.token_bytes(16)
        self.accepted: Accepted | None = None
        self.accepted_s = 0.0
        self.refused: Refused | None = None
        self.held: Held | None = None
        self.nobody = False
        self.lost = False
        """Its router is taken for dead: the request was asked anew."""
        self.attempts = 0
        """Attempts that its router has made."""
        self.heard_s = time.monotonic()
        self.router = ""
        """Who has it, as far as is known."""
        self.router_dead_s: float | None = None
        self.running: Running | None = None
        """A caller that goes on though, as it sees it, the router is gone."""
        self.attempt_failed: Failure | None = None
        """How that attempt ended."""
        self._unlink_caller: Callable[[], None] = _nothing
        self._unlink_router: Callable[[], None] = _nothing
        self.receiver: Receiver = hub.open_receiver(self.relay_id)
        self.receiver.wake = wake
        self._hub = hub
        self._routers = routers
        self._wake = wake
        self._inquired_s = 0.0
        self._abandoned = ""
        self._closed = False
        self.inbox = bus.open_inbox(self._on_payload, self._on_nobody)

    @property
    def over(self) -> bool:
        """Whether it is known that nobody runs it by this publication."""
        return self.nobody or self.refused is not None or self.held is not None

    @property
    def left_to_caller(self) -> bool:
        """Whether its router has no part in it any more: it is dead, or a caller has committed."""
        return self.router_dead_s is not None or (
            self.running is not None and self.running.committed
        )

    @property
    def taken(self) -> bool:
        """Whether a router has, or had, it: then it may have cost something."""
        return bool(self.router) or self.running is not None

    @property
    def made(self) -> int:
        """Attempts that its router has made, or that a caller told of."""
        return max(self.attempts, self.running.attempt if self.running is not None else 0)

    def follow(self, router: str, *, probe: bool = False) -> None:
        """Watches the router that has it; with `probe` it is looked for at once."""
        if self.router != router:
            self._unlink_router()
            self.router, self.router_dead_s = router, None
            self._forget_caller()
            self._unlink_router = self._hub.link(router, self._on_router_dead, probe=probe)

    def inquire(self, now_s: float) -> None:
        """Asks whoever has it what became of it, now and then: what they say may be lost."""
        if now_s - self._inquired_s < INQUIRE_EVERY_S:
            return
        self._inquired_s = now_s
        if self.running is not None:
            inquiry = relay.Inquiry(self.running.attempt_id, self.inbox.subject)
            self._hub.send_control(self.running.caller, inquiry)
        elif self.router and self.router_dead_s is None:
            self._hub.send_control(self.router, relay.Inquiry(self.relay_id, self.inbox.subject))

    def abandon(self, reason: str) -> None:
        """Cancels wherever the request has got to; also a router that accepts it only later."""
        self._abandoned = self._abandoned or reason
        cancel = relay.Cancel(self.relay_id, reason)
        for peer in {self.router, self.receiver.peer, self.running.caller if self.running else ""}:
            if peer:
                self._hub.send_control(peer, cancel)

    def close(self) -> None:
        """Stops listening; what still comes is answered with cancel by the hub."""
        self._closed = True
        self._hub.close_receiver(self.receiver)
        self._unlink_router()
        self._unlink_caller()
        if self._abandoned and self.accepted is None and not self.over:
            # A router that accepts it only now has to be told: see `_on_news`.
            asyncio.get_running_loop().call_later(_LATE_ACCEPT_S, self.inbox.close)
        else:
            self.inbox.close()

    def _on_payload(self, payload: bytes) -> None:
        self.heard_s = time.monotonic()
        try:
            if relay.is_frame(payload):
                self.receiver.on_frame(relay.frame_decoder.decode(payload), len(payload))
                return
            news = relay.news_decoder.decode(payload)
        except MALFORMED as error:
            log_event(log, "bad_message", level=logging.WARNING, reason=str(error)[:200])
            return
        self._on_news(news)

    def _on_news(self, news: relay.News) -> None:
        if self._closed or self._abandoned:
            self._stop(news)
        if self._closed:
            return
        if not isinstance(news, Running | AttemptFailed):
            self._routers.heard(news.router)
        match news:
            case Accepted():
                self.accepted = news
                self.accepted_s = self.accepted_s or self.heard_s
                self.follow(news.router)
            case Refused():
                self.refused = news
            case Held():
                # By this very publication: it was delivered twice, and one of two routers has it.
                self.held = news if news.ask < self.number else None
            case Running():
                self._on_running(news)
            case AttemptFailed():
                if self.running is not None and self.running.attempt_id == news.attempt_id:
                    self.attempt_failed = news.failure
            case Waiting():
                if not self._on_waiting(news):
                    return
        self._wake.set()

    def _on_running(self, news: Running) -> None:
        if self.running is None or news.attempt > self.running.attempt:
            self._forget_caller()
            self.running = news
            self._unlink_caller = self._hub.link(news.caller, self._on_caller_dead)

    def _on_waiting(self, news: Waiting) -> bool:
        """Whether it changes anything."""
        self._hub.heard(news.router)
        self.attempts = max(self.attempts, news.attempt)
        if self.running is not None and news.attempt > self.running.attempt:
            self._forget_caller()  # its router lives after all, and has made another attempt
        if self.router:
            return False
        self.accepted_s = self.heard_s
        self.follow(news.router)  # it has the request, and waits for the limiter
        return True

    def _stop(self, news: relay.News) -> None:
        """Nobody wants it any more, and only now is it known who has it."""
        holder = ""
        if isinstance(news, Accepted | Waiting):
            holder = news.router
        elif isinstance(news, Running):
            holder = news.caller
        if holder:
            self._hub.send_control(holder, relay.Cancel(self.relay_id, self._abandoned or "closed"))

    def _forget_caller(self) -> None:
        self._unlink_caller()
        self._unlink_caller = _nothing
        self.running = self.attempt_failed = None

    def _on_nobody(self) -> None:
        self.nobody = True
        self._wake.set()

    def _on_router_dead(self) -> None:
        self.router_dead_s = time.monotonic()
        self._wake.set()

    def _on_caller_dead(self) -> None:
        gone = failure("provider_no_response", "The caller's process is gone")
        self.attempt_failed = self.attempt_failed or gone
        self._wake.set()
