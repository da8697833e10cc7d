"""One attempt as the router sees it: dispatched, then started, then failed or committed."""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Callable

import msgspec

from droveway.contracts import dispatch
from droveway.contracts.envelope import MALFORMED, encode
from droveway.contracts.errors import Failure, failure
from droveway.contracts.relay import Cancel, Inquiry
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError
from droveway.runtime.relay import RelayHub

_MAX_NEWS = 8
"""An honest caller sends two; of more only the latest count."""
_INQUIRE_EVERY_S = 2.0
"""A started attempt of which nothing is heard for this long is asked about."""
_CONFIRM_WITHIN_S = 1.0
"""How long a caller has to say whether it stopped in time or had committed before."""
_LATE_START_S = 5.0
"""How long an attempt that was given up still listens for a caller that starts it."""


class Attempt:
    """Publishes `CallRouted` and follows the caller's news."""

    def __init__(self, bus: Bus, hub: RelayHub, call: dispatch.CallRouted, pool: str) -> None:
        self._bus = bus
        self._hub = hub
        self.call = call
        self._pool = pool
        self._news: deque[dispatch.AttemptNews] = deque(maxlen=_MAX_NEWS)
        self._wake = asyncio.Event()
        self._unlink: Callable[[], None] | None = None
        self.caller = ""
        self.lost = False
        """The caller failed, not the target: it died, or none started the attempt in time."""
        self._cancel_reason = ""
        self._over = False
        self._inbox = bus.open_inbox(self._on_news, self._on_nobody)

    async def run(
        self,
        start_within_s: float,
        within_s: float,
        on_start: Callable[[], None] = lambda: None,
    ) -> dispatch.AttemptNews:
        """Waits for the attempt's end before commit, or for its commit.

        Args:
            start_within_s: How long a caller may take to start it.
            within_s: How long it may take from then on.
            on_start: Called when one has.

        Returns:
            `Committed`, or what went wrong: `AttemptFailed`, `Busy`.
        """
        inbox = self._inbox
        try:
            self._bus.publish(
                dispatch.dispatch_subject(self._pool), encode(self.call), inbox.subject
            )
            first = await self._next(start_within_s, "no caller has started it in time")
            if not isinstance(first, dispatch.Started):
                self.lost = self.lost or bool(self._cancel_reason)
                return first
            self._unlink = self._hub.link(first.caller, self._on_dead)
            on_start()
            return await self._next(within_s, "no token in time")
        except BusError as error:
            return self._failed(failure("service_unavailable", str(error)))
        finally:
            self._over = not isinstance(sys.exception(), asyncio.CancelledError)
            if self._cancel_reason and not self.caller:
                # A caller that starts it only now has to be told: see `_on_news`.
                asyncio.get_running_loop().call_later(_LATE_START_S, inbox.close)
            else:
                inbox.close()
            if self._unlink is not None:
                self._unlink()

    @property
    def started(self) -> bool:
        """Whether a caller runs it, as far as is known."""
        return bool(self.caller) and not self._over

    def cancel(self, reason: str) -> None:
        """Tells the caller, now or as soon as one has started it, that nobody wants it."""
        self._cancel_reason = self._cancel_reason or reason
        if self.caller:
            self._revoke(self.caller, reason)

    async def _next(self, within_s: float, otherwise: str) -> dispatch.AttemptNews:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + within_s
        while not self._news:
            left_s = until_s - loop.time()
            if left_s <= 0:
                return await self._give_up(f"{otherwise} ({within_s:g} s)")
            self._wake.clear()
            alarm = loop.call_later(min(left_s, _INQUIRE_EVERY_S), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                alarm.cancel()
            if self.caller and not self._news:
                self._inquire()
        return self._news.popleft()

    async def _give_up(self, reason: str) -> dispatch.AttemptNews:
        """Cancels it, unless it has committed and that word was late or lost."""
        self.cancel(reason)
        if self.caller:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CONFIRM_WITHIN_S):
                    while not self._news:
                        self._wake.clear()
                        await self._wake.wait()
        if self._news and isinstance(news := self._news.popleft(), dispatch.Committed):
            return news
        return self._failed(failure("provider_timeout", reason))

    def _inquire(self) -> None:
        """What a caller says once is lost with a connection; a silent attempt is asked about."""
        inquiry = Inquiry(self.call.attempt_id, self._inbox.subject)
        self._hub.send_control(self.caller, inquiry)

    def _on_news(self, payload: bytes) -> None:
        try:
            news = dispatch.news_decoder.decode(payload)
        except MALFORMED:
            return
        if news.attempt_id != self.call.attempt_id:
            return
        if self.caller and isinstance(news, dispatch.Started | dispatch.Busy):
            if news.caller != self.caller:  # the call was delivered twice
                self._revoke(news.caller, "another caller runs it")
            return
        if isinstance(news, dispatch.Started):
            self.caller = news.caller  # not only once `run` has read it: a cancel may come before
            if self._cancel_reason:
                self._revoke(news.caller, self._cancel_reason)
        elif self.caller and news.caller != self.caller:
            return
        self._push(news)

    def _revoke(self, caller: str, reason: str) -> None:
        self._hub.send_control(caller, Cancel(self.call.relay_id, reason, self.call.attempt))

    def _on_nobody(self) -> None:
        text = f"No caller serves the pool {self._pool!r}"
        self._push(self._failed(failure("service_unavailable", text)))

    def _on_dead(self) -> None:
        self.lost = True
        self._push(self._failed(failure("provider_no_response", "The caller's process is gone")))

    def _push(self, news: dispatch.AttemptNews) -> None:
        self._news.append(news)
        self._wake.set()

    def _failed(self, occurrence: Failure) -> dispatch.AttemptFailed:
        elsewhere = msgspec.structs.replace(occurrence, elsewhere=True)
        return dispatch.AttemptFailed(
            attempt_id=self.call.attempt_id, caller=self.caller or "caller-0", failure=elsewhere
        )
