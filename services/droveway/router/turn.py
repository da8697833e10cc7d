"""One request's time in the waiting room: for how long it may wait, and what it is told."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from droveway.contracts.errors import Failure, failure
from droveway.contracts.inference import CLASSES, InferenceRequested
from droveway.router.places import Places
from droveway.router.queue import Entry
from droveway.router.routes import Candidate
from droveway.router.waiting import LOOK_S, WaitingRoom, full

UNBOUNDED_OUTPUT_TOKENS = 1_000
"""What an answer without a bound is taken for, when tenants' turns or targets' costs are weighed.

The router is out of the path when answers end, so it doesn't learn how long they get.
"""
_HOPE = 0.75
"""Who is expected to need more than this share of its time is refused at once."""


class Allowance(NamedTuple):
    """How long a request may wait, in all."""

    provider_s: float
    """For room at a provider."""
    client_s: float
    """For room in its client's own limits."""


def allowance(request: InferenceRequested, route_s: float | None, default_s: float) -> Allowance:
    """As its route or the router's settings say, and for both sorts as its client says."""
    provider_s = default_s if route_s is None else route_s
    if request.max_queue_ms is None:
        return Allowance(provider_s, 0.0)
    client_s = request.max_queue_ms / 1000
    return Allowance(min(provider_s, client_s), client_s)


def expected_output_tokens(request: InferenceRequested) -> int:
    """How long all choices of its answer may get."""
    bound = request.max_output_tokens
    return UNBOUNDED_OUTPUT_TOKENS * request.choices if bound is None else bound


class Turn:
    """One request's time in the waiting room; `close` it at the end."""

    def __init__(
        self,
        room: WaitingRoom,
        request: InferenceRequested,
        priority: str,
        allowance: Allowance,
        remaining_s: float,
        on_wait: Callable[[], None],
    ) -> None:
        self._room = room
        self.priority = priority
        self.entry = Entry(
            request.tenant,
            CLASSES.index(priority),
            request.input_estimate_tokens + expected_output_tokens(request),
            frozenset(),
        )
        self._allowance = allowance
        self._deadline_s = time.monotonic() + remaining_s
        self._on_wait = on_wait
        self.began_s = 0.0
        """When it began to wait, by the monotonic clock; 0: it never had to."""
        self.is_called = False
        """It looks whether there is room: others look only when it knows."""
        self._news: asyncio.Future[Failure | None] | None = None
        self.waited_s = 0.0
        """In all."""

    def behind(self, candidates: Iterable[Candidate]) -> Places:
        """Where others wait already, so that it must, too; empty: it needn't, or doesn't wait."""
        if self.is_called or self._allowance.provider_s <= 0:
            return frozenset()
        return self._room.taken(candidates)

    async def wait(
        self, places: Places, reason: Failure, again_s: float | None, *, client: bool = False
    ) -> Failure | None:
        """Until there may be room; then None, else why there won't be any in time.

        Args:
            places: Where room is lacking.
            reason: Why it doesn't run now, for when it can't wait, or no longer.
            again_s: In how many seconds to look again, or that there will be room; None: others
                look, behind whom it waits.
            client: It is the client's own limits that are full.
        """
        refusal = await self._called(places, reason, again_s, client)
        if refusal is not None:
            self.close()
        return refusal

    async def wait_for_credential(
        self, places: Places, reason: Failure, again_s: float | None
    ) -> Failure | None:
        """As `wait`, where limits of credentials are full."""
        self._room.on_credential_full()
        return await self.wait(places, reason, again_s)

    def passed(self) -> None:
        """It has found room, if it has waited for any."""
        if self.is_called:
            self.is_called = False
            self._room.passed(self.entry)

    def close(self) -> None:
        """It needs no room, or not any more: the next one may look."""
        if self.is_called:
            self.is_called = False
            self._room.gave_up(self.entry)

    async def _called(
        self, places: Places, reason: Failure, again_s: float | None, client: bool
    ) -> Failure | None:
        now_s = time.monotonic()
        allowed_s = self._allowance.client_s if client else self._allowance.provider_s
        until_s = min((self.began_s or now_s) + allowed_s, self._deadline_s)
        if allowed_s <= 0 or until_s <= now_s + (again_s or 0.0):
            return self._refusal(reason, now_s)
        self._news = asyncio.get_running_loop().create_future()
        if (refusal := self._join(places, again_s, until_s - now_s)) is not None:
            return refusal
        self._on_wait()
        try:
            async with asyncio.timeout(until_s - now_s):
                return await self._news
        except TimeoutError:
            self._room.counts["expired"] += 1
            return self._refusal(reason, time.monotonic())
        finally:
            self.waited_s += time.monotonic() - now_s
            self._room.leave(self.entry)

    def _tell(self, news: Failure | None) -> None:
        self.is_called = news is None
        if self._news is not None and not self._news.done():
            self._news.set_result(news)

    def _join(self, places: Places, again_s: float | None, left_s: float) -> Failure | None:
        tried, self.entry.places = self.entry.places, places
        self.began_s = self.began_s or time.monotonic()
        if self.is_called:
            self.is_called = False
            again_s = LOOK_S if again_s is None else again_s
            self._room.go_back(self.entry, self._tell, tried, again_s)
            return None
        expected_s = self._room.expected_s(self.entry)
        if expected_s is not None and expected_s > _HOPE * left_s:
            self._room.counts["refused_late"] += 1
            return full(expected_s)
        self._room.enter(self.entry, self._tell, again_s)
        return None

    def _refusal(self, reason: Failure, now_s: float) -> Failure:
        return failure("deadline_exceeded") if now_s >= self._deadline_s else reason
