"""One request from the door's side: asked, accepted, then frames until one terminal."""

import asyncio
import logging
import secrets
import time

import msgspec

from droveway.contracts import relay
from droveway.contracts.envelope import MALFORMED, encode
from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import (
    ACCEPT_WITHIN_MS,
    INTERACTIVE,
    Accepted,
    InferenceRequested,
    Refused,
    TriedTarget,
    Window,
    inference_subject,
)
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.deadline import Deadline
from droveway.runtime.errors import BusError
from droveway.runtime.relay import Receiver, RelayHub

log = logging.getLogger(__name__)

ROUTER_SILENT_S = 3.0
"""A router says `Waiting` each half second; after this it is given up."""

_BUSY_S = 0.1
"""Waking this much too late means that this process, not the router, was slow."""
_LATE_ACCEPT_S = 5.0
"""How long a request that was given up still listens for a router that accepts it."""


class ClientGone(Exception):
    """The client has left: nobody reads the answer."""


class AskFailed(Exception):
    """No attempt committed."""

    def __init__(self, occurrence: Failure, tried: tuple[TriedTarget, ...] = ()) -> None:
        super().__init__(occurrence.code)
        self.failure = occurrence
        self.tried = tried


class _Ask:
    """One publication of the request: its own inbox and relay, so that two can't mix."""

    def __init__(self, bus: Bus, hub: RelayHub, wake: asyncio.Event) -> None:
        self.relay_id = secrets.token_bytes(16)
        self.accepted: Accepted | None = None
        self.accepted_s = 0.0
        self.refused: Refused | None = None
        self.nobody = False
        self.abandoned = False
        self.heard_s = time.monotonic()
        self.receiver: Receiver = hub.open_receiver(self.relay_id)
        self.receiver.wake = wake
        self._hub = hub
        self._wake = wake
        self.inbox = bus.open_inbox(self._on_payload, self._on_nobody)

    def abandon(self, reason: str) -> None:
        """Cancels wherever the request has got to; also a router that accepts it only later."""
        self.abandoned = True
        cancel = relay.Cancel(self.relay_id, reason)
        if self.accepted is not None:
            self._hub.send_control(self.accepted.router, cancel)
        if self.receiver.peer:
            self._hub.send_control(self.receiver.peer, cancel)

    def close(self) -> None:
        """Stops listening; what still comes is answered with cancel by the hub."""
        self._hub.close_receiver(self.receiver)
        if self.abandoned and self.accepted is None and self.refused is None and not self.nobody:
            # A router that accepts it only now has to be told: see `_on_payload`.
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
        if isinstance(news, Accepted):
            self.accepted = news
            self.accepted_s = self.heard_s
            if self.abandoned:
                self._hub.send_control(news.router, relay.Cancel(self.relay_id, "abandoned"))
        elif isinstance(news, Refused):
            self.refused = news
            self._wake.set()

    def _on_nobody(self) -> None:
        self.nobody = True
        self._wake.set()


class Pending:
    """Publishes a request and hands out its frames; close it in a `finally`."""

    def __init__(
        self, bus: Bus, hub: RelayHub, request: InferenceRequested, deadline: Deadline
    ) -> None:
        self._bus = bus
        self._hub = hub
        self._request = request
        self._deadline = deadline
        self._wake = asyncio.Event()
        self._gone = False
        self._ask = _Ask(bus, hub, self._wake)
        self._earlier: _Ask | None = None
        self._ended = False

    @property
    def window(self) -> Window | None:
        """Where the client stands in its limits, once known."""
        news = self._ask.accepted or self._ask.refused
        return news.requests if news is not None else None

    @property
    def accepted(self) -> bool:
        """Whether a router took it: then it has an outcome and a row."""
        return self._ask.accepted is not None

    @property
    def accepted_s(self) -> float:
        """When it was taken, by the monotonic clock; 0 before."""
        return self._ask.accepted_s

    def client_gone(self) -> None:
        """The client has left; whoever waits for a frame is told."""
        self._gone = True
        self._wake.set()

    def publish(self) -> None:
        """Hands the request to the routers.

        Raises:
            AskFailed: The bus doesn't take it.
        """
        message = msgspec.structs.replace(
            self._request,
            relay_id=self._ask.relay_id,
            remaining_ms=self._deadline.remaining_ms(),
        )
        try:
            self._bus.publish(
                inference_subject(INTERACTIVE), encode(message), self._ask.inbox.subject
            )
        except BusError as error:
            log_event(log, "request_unsent", level=logging.WARNING, reason=str(error))
            raise AskFailed(failure("service_unavailable", retry_after_ms=1_000)) from None

    async def first(self, within_s: float) -> relay.Frame | None:
        """The first frame; None when there is none after `within_s` seconds.

        Raises:
            AskFailed: The router refused, or there is none.
            ClientGone: The client has left.
        """
        until_s = time.monotonic() + within_s
        while True:
            ask = self._ask
            if (frame := ask.receiver.take_ready()) is not None:
                return self._seen(frame)
            if self._gone:
                raise ClientGone
            if ask.refused is not None:
                self._ended = True
                raise AskFailed(ask.refused.failure, ask.refused.tried)
            if ask.nobody:
                self._ended = True
                raise AskFailed(failure("service_unavailable", retry_after_ms=1_000))
            now_s = time.monotonic()
            if now_s >= until_s:
                return None
            wait_s = min(until_s, self._check(ask, now_s)) - now_s
            self._wake.clear()
            await self._wait(max(0.0, wait_s))

    async def next(self, within_s: float) -> relay.Frame | None:
        """The next frame, in order; the last is a terminal. None when none came `within_s`.

        Raises:
            ClientGone: The client has left.
        """
        receiver = self._ask.receiver
        receiver.settle()
        until_s = time.monotonic() + within_s
        while (frame := receiver.take_ready()) is None:
            if self._gone:
                raise ClientGone
            if self._deadline.passed:
                receiver.cut("", "deadline_exceeded")
                continue
            now_s = time.monotonic()
            if now_s >= until_s:
                return None
            self._wake.clear()
            await self._wait(min(until_s, self._deadline.at_s) - now_s + 0.001)
        return self._seen(frame)

    def next_ready(self) -> relay.Frame | None:
        """A further frame that is there already, for the same write."""
        frame = self._ask.receiver.take_ready()
        return None if frame is None else self._seen(frame)

    def close(self, reason: str = "client_gone") -> None:
        """Ends it; an answer that hasn't ended is cancelled all the way to the provider."""
        if not self._ended:
            self._ask.abandon(reason)
        self._ask.close()
        if self._earlier is not None:
            self._earlier.close()
        if self._request.body.pull_from:
            self._hub.withdraw(self._request.body.relay_id)

    def _seen(self, frame: relay.Frame) -> relay.Frame:
        if not isinstance(frame, relay.Chunk):
            self._ended = not self._ask.receiver.was_cut
        return frame

    def _check(self, ask: _Ask, now_s: float) -> float:
        """When to look again; asks once more, or gives up.

        Raises:
            AskFailed: No router took it, the router fell silent, or the deadline has passed.
        """
        if self._deadline.passed:
            raise AskFailed(failure("deadline_exceeded"))
        if ask.accepted is None:
            accept_by_s = ask.heard_s + ACCEPT_WITHIN_MS / 1000
            if now_s < accept_by_s:
                return min(accept_by_s, self._deadline.at_s)
            if now_s - accept_by_s > _BUSY_S:
                # This loop was busy for so long that the answer may lie unread: it gets its time.
                ask.heard_s = now_s
                return now_s + ACCEPT_WITHIN_MS / 1000
            self._ask_again()
            return now_s + ACCEPT_WITHIN_MS / 1000
        silent_at_s = ask.heard_s + ROUTER_SILENT_S
        if now_s >= silent_at_s + _BUSY_S:
            ask.heard_s = now_s - ROUTER_SILENT_S / 2  # as above
            return now_s + ROUTER_SILENT_S / 2
        if now_s >= silent_at_s:
            raise AskFailed(failure("service_unavailable", retry_after_ms=1_000))
        return min(silent_at_s, self._deadline.at_s)

    def _ask_again(self) -> None:
        if self._earlier is not None:
            raise AskFailed(failure("service_unavailable", retry_after_ms=1_000))
        self._earlier = self._ask
        self._earlier.abandon("asked another router")
        self._request = msgspec.structs.replace(
            self._request, attempts_left=max(1, self._request.attempts_left - 1)
        )
        self._ask = _Ask(self._bus, self._hub, self._wake)
        self.publish()

    async def _wait(self, within_s: float) -> None:
        """Until something has changed, or time is up; the caller looks which."""
        alarm = asyncio.get_running_loop().call_later(within_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()
