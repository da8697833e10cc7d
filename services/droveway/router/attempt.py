"""One attempt as the router sees it: dispatched, then started, then failed or committed."""

import asyncio
from collections.abc import Callable

import msgspec

from droveway.contracts import dispatch
from droveway.contracts.envelope import encode
from droveway.contracts.errors import Failure, failure
from droveway.contracts.relay import Cancel
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError
from droveway.runtime.relay import RelayHub


class Attempt:
    """Publishes `CallRouted` and follows the caller's news; use as an async context manager."""

    def __init__(self, bus: Bus, hub: RelayHub, call: dispatch.CallRouted, pool: str) -> None:
        self._bus = bus
        self._hub = hub
        self._call = call
        self._pool = pool
        self._news: asyncio.Queue[dispatch.AttemptNews] = asyncio.Queue(maxsize=8)
        self._unlink: Callable[[], None] | None = None
        self.caller = ""

    async def run(self, start_within_s: float, within_s: float) -> dispatch.AttemptNews:
        """Waits for the attempt's end before commit, or for its commit.

        Returns:
            `Committed`, or what went wrong: `AttemptFailed`, `Busy`.
        """
        inbox = self._bus.open_inbox(self._on_news, self._on_nobody)
        try:
            self._bus.publish(
                dispatch.dispatch_subject(self._pool), encode(self._call), inbox.subject
            )
            first = await self._next(start_within_s, "no caller has started it in time")
            if not isinstance(first, dispatch.Started):
                return first
            self.caller = first.caller
            self._unlink = self._hub.link(first.caller, self._on_dead)
            return await self._next(within_s, "no token in time")
        except BusError as error:
            return self._failed(failure("service_unavailable", str(error)))
        finally:
            inbox.close()
            if self._unlink is not None:
                self._unlink()

    def cancel(self, reason: str) -> None:
        """Tells the caller that nobody wants this attempt any more."""
        if self.caller:
            self._hub.send_control(self.caller, Cancel(self._call.relay_id, reason))

    async def _next(self, within_s: float, otherwise: str) -> dispatch.AttemptNews:
        try:
            async with asyncio.timeout(within_s):
                return await self._news.get()
        except TimeoutError:
            self.cancel(otherwise)
            return self._failed(failure("provider_timeout", f"{otherwise} ({within_s:g} s)"))

    def _on_news(self, payload: bytes) -> None:
        try:
            news = dispatch.news_decoder.decode(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return
        if news.attempt_id == self._call.attempt_id and not self._news.full():
            self._news.put_nowait(news)

    def _on_nobody(self) -> None:
        text = f"No caller serves the pool {self._pool!r}"
        self._push(self._failed(failure("service_unavailable", text)))

    def _on_dead(self) -> None:
        self._push(self._failed(failure("provider_no_response", "The caller's process is gone")))

    def _push(self, news: dispatch.AttemptNews) -> None:
        if not self._news.full():
            self._news.put_nowait(news)

    def _failed(self, occurrence: Failure) -> dispatch.AttemptFailed:
        elsewhere = msgspec.structs.replace(occurrence, elsewhere=True)
        return dispatch.AttemptFailed(
            attempt_id=self._call.attempt_id, caller=self.caller or "caller-0", failure=elsewhere
        )
