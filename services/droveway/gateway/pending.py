"""One request from the door's side: asked, then frames until exactly one terminal."""

import asyncio
import time

from droveway.contracts import relay
from droveway.contracts.inference import InferenceRequested, Standing
from droveway.gateway.ask import Ask
from droveway.gateway.asking import AskFailed, Asking
from droveway.gateway.live_routers import LiveRouters
from droveway.runtime.bus import Bus
from droveway.runtime.deadline import Deadline
from droveway.runtime.relay import RelayHub

__all__ = ["AskFailed", "ClientGone", "Pending"]


class ClientGone(Exception):
    """The client has left: nobody reads the answer."""


class Pending:
    """Publishes a request and hands out its frames; close it in a `finally`."""

    told_cut = False
    """A cut is for the door to tell."""

    def __init__(
        self,
        bus: Bus,
        hub: RelayHub,
        routers: LiveRouters,
        request: InferenceRequested,
        deadline: Deadline,
    ) -> None:
        self._hub = hub
        self._body = request.body
        self._deadline = deadline
        self._asking = Asking(bus, hub, routers, request, deadline)
        self._wake = self._asking.wake
        self._gone = False
        self._took_s = 0.0
        """When the first frame was taken."""
        self._ended = False

    @property
    def standing(self) -> Standing | None:
        """Where the client stands in its limits, once known."""
        heard = (ask.accepted or ask.refused for ask in self._asking.asks)
        return next((news for news in heard if news is not None), None)

    @property
    def accepted(self) -> bool:
        """Whether a router took it: then it has an outcome and a row."""
        return self._took_s > 0 or any(ask.taken for ask in self._asking.asks)

    @property
    def accepted_s(self) -> float:
        """When it was taken first, by the monotonic clock; 0 before."""
        times = (ask.accepted_s for ask in self._asking.asks if ask.accepted_s)
        return min(times, default=self._took_s)

    @property
    def router(self) -> str:
        """Who had it when its answer began; empty: it hasn't, or that one wasn't heard of."""
        return self._asking.holder.router if self._took_s and self._asking.holder else ""

    @property
    def caller_gone(self) -> bool:
        """Whether its answer ends since whoever sent it is gone, not by that one's own word."""
        holder = self._asking.holder
        return holder is not None and holder.receiver.was_cut and not self._deadline.passed

    @property
    def asks(self) -> int:
        """The number of its latest publication."""
        return self._asking.asks[-1].number

    def client_gone(self) -> None:
        """The client has left; whoever waits for a frame is told."""
        self._gone = True
        self._wake.set()

    def publish(self) -> None:
        """Hands the request to the routers.

        Raises:
            AskFailed: The bus doesn't take it.
        """
        self._asking.publish()

    async def first(self, within_s: float) -> relay.Frame | None:
        """The first frame; None when there is none after `within_s` seconds.

        Raises:
            AskFailed: The router refused, or there is none.
            ClientGone: The client has left.
        """
        until_s = time.monotonic() + within_s
        while True:
            for ask in self._asking.asks:
                if (frame := ask.receiver.take_ready()) is not None:
                    self._asking.settle_on(ask)
                    self._took_s = self._took_s or time.monotonic()
                    return self._seen(frame, ask)
            if self._gone:
                raise ClientGone
            now_s = time.monotonic()
            look_s = self._asking.look(now_s)
            if now_s >= until_s:
                return None
            self._wake.clear()
            await self._wait(min(until_s, look_s) - now_s)

    async def next(self, within_s: float) -> relay.Frame | None:
        """The next frame, in order; the last is a terminal. None when none came `within_s`.

        Raises:
            ClientGone: The client has left.
        """
        ask = self._answering()
        ask.receiver.settle()
        until_s = time.monotonic() + within_s
        while (frame := ask.receiver.take_ready()) is None:
            if self._gone:
                raise ClientGone
            if self._deadline.passed:
                ask.receiver.cut("", "deadline_exceeded")
                continue
            now_s = time.monotonic()
            if now_s >= until_s:
                return None
            self._wake.clear()
            await self._wait(min(until_s, self._deadline.at_s) - now_s + 0.001)
        return self._seen(frame, ask)

    def next_ready(self) -> relay.Frame | None:
        """A further frame that is there already, for the same write."""
        ask = self._answering()
        frame = ask.receiver.take_ready()
        return None if frame is None else self._seen(frame, ask)

    def close(self, reason: str = "client_gone") -> None:
        """Ends it; an answer that hasn't ended is cancelled all the way to the provider."""
        for ask in self._asking.asks:
            if not self._ended and not ask.over:
                ask.abandon(reason)
            ask.close()
        if self._body.pull_from:
            self._hub.withdraw(self._body.relay_id)

    def _answering(self) -> Ask:
        assert self._asking.holder is not None, "frames come after the first one"
        return self._asking.holder

    def _seen(self, frame: relay.Frame, ask: Ask) -> relay.Frame:
        if not isinstance(frame, relay.Chunk):
            self._ended = not ask.receiver.was_cut
        return frame

    async def _wait(self, within_s: float) -> None:
        """Until something has changed, or time is up; the caller looks which."""
        alarm = asyncio.get_running_loop().call_later(max(0.0, within_s), self._wake.set)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()
