"""The requests that this router owns: repeats, cancels and the half-second sign of life.

Ownership is a lease: doors hear `Waiting` each half second, and a router that couldn't say it for
`LEASE_S` dispatches nothing more for what it had then, since doors may have asked another router.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from typing import NamedTuple

import msgspec

from droveway.contracts.dispatch import Running
from droveway.contracts.envelope import encode, is_inbox_of
from droveway.contracts.inference import (
    WAITING_EVERY_MS,
    Accepted,
    Held,
    InferenceRequested,
    Waiting,
)
from droveway.contracts.relay import Cancel
from droveway.otel.logs import log_event
from droveway.router.attempt import Attempt
from droveway.runtime.bus import Bus
from droveway.runtime.news import publish_news
from droveway.runtime.relay import RelayHub
from droveway.runtime.stall import StallGuard

log = logging.getLogger(__name__)

LEASE_S = 4.0
"""Without a sign of life for this long nothing is owned; doors declare a router dead half a second
later at the earliest."""
STALE_S = 1.0
"""A door that hears nothing has asked twice and given up by then."""
REMEMBERED = 4_096
"""Ended requests that are still known: for a cancel that crossed the commit, and for repeats."""
DOORS = frozenset({"gateway", "jobs"})
"""Services whose inboxes are answered."""


class OwnedStatistics(NamedTuple):
    """A snapshot for gauges."""

    in_flight: int
    accepted: int
    repeated: int
    committed: int
    refused: int
    tried: int
    misaddressed: int
    """Messages that name no inbox of a door to answer to."""
    lost: int
    """Given up since this router couldn't say that it lives."""
    stale: int
    """Dropped since they had come while this process stood still."""


class _Ended(NamedTuple):
    """What is left of a request that this router is done with."""

    committed_by: str
    last_word: bytes
    """Encoded; empty for one that was cancelled or lost."""


class Owned:
    """One request in this router's hands."""

    def __init__(self, request: InferenceRequested, reply: str) -> None:
        self.relay_id = request.relay_id
        self.request_id = request.request_id
        self.ask = request.ask
        self.reply = reply
        self.task = asyncio.current_task()
        self.accepted: Accepted | None = None
        self.attempt: Attempt | None = None
        self.attempts = request.attempts_made
        self.last_word: msgspec.Struct | None = None
        self.cancelled = False
        self.lapsed = False
        """Another router may have it by now: an attempt under way goes on, no other is made."""

    def cancel(self, reason: str) -> None:
        """Nobody waits for it any more, or not here."""
        self.cancelled = True
        if self.attempt is not None:
            self.attempt.cancel(reason)
        if self.task is not None:
            self.task.cancel()

    def lose(self) -> None:
        """This router doesn't answer for it any more."""
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()


class OwnedRequests:
    """Keyed by relay id, which is another one for each publication by a door."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._owned: dict[bytes, Owned] = {}
        self._by_request: dict[str, Owned] = {}
        self._ended: OrderedDict[bytes, _Ended] = OrderedDict()
        """Requests that this router is done with."""
        self._signed_s = time.monotonic()
        self.stall = StallGuard(STALE_S)
        self.hub: RelayHub = RelayHub(bus, self.cancel, self._on_inquiry)
        self.counts = {
            "accepted": 0, "repeated": 0, "committed": 0, "refused": 0, "tried": 0, "lost": 0,
            "misaddressed": 0,
        }  # fmt: skip

    def begin(self, request: InferenceRequested, reply: str) -> Owned | None:
        """Takes ownership; None when it isn't to be had, and then whoever waits was told."""
        if self.stall.suspect:
            self.stall.dropped += 1
            return None
        if request.relay_id in self._ended:
            self.counts["repeated"] += 1
            return None
        known = self._by_request.get(request.request_id)
        if known is not None and request.instead_of == self._bus.instance:
            known.cancel("its door has given this publication up")
            known = None
        if known is not None:
            self._repeat(known, request, reply)
            return None
        owned = Owned(request, reply)
        self._owned[owned.relay_id] = owned
        self._by_request[owned.request_id] = owned
        self.counts["accepted"] += 1
        return owned

    def finish(self, owned: Owned, news: msgspec.Struct) -> None:
        """Tells the door the last that this router says of a request, now and when it asks."""
        owned.last_word = news
        self.say(owned.reply, news)

    def end(self, owned: Owned, committed: Running | None) -> None:
        """Gives a request up; a caller that committed can still be told of a cancel."""
        self._owned.pop(owned.relay_id, None)
        if self._by_request.get(owned.request_id) is owned:
            del self._by_request[owned.request_id]
        last_word = committed or owned.last_word
        self._ended[owned.relay_id] = _Ended(
            committed.caller if committed else "", encode(last_word) if last_word else b""
        )
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)

    def cancel(self, relay_id: bytes, reason: str, _attempt: int = 0) -> None:
        """The door's client is gone, or it took another router's answer."""
        owned = self._owned.get(relay_id)
        if owned is not None:
            owned.cancel(reason)
        elif (ended := self._ended.get(relay_id)) and ended.committed_by:
            self.hub.send_control(ended.committed_by, Cancel(relay_id, reason))

    def say(self, reply: str, news: msgspec.Struct) -> None:
        """Tells a door; when the broker is away the door's own clock decides."""
        publish_news(self._bus, reply, encode(news))

    @property
    def lapsed(self) -> bool:
        """Whether doors may take this router for dead: then it must dispatch nothing."""
        return time.monotonic() - self._signed_s > LEASE_S

    async def sign(self) -> None:
        """Says `Waiting` for all owned requests, until cancelled."""
        while True:
            await asyncio.sleep(WAITING_EVERY_MS / 1000)
            if self.lapsed and self._owned:
                self._lapse()
            # As of when it last heard itself: only then did its signs reach anybody.
            heard_s = time.monotonic() - self._bus.statistics().last_beat_s
            self._signed_s = max(self._signed_s, heard_s)
            for owned in list(self._owned.values()):
                self.wait(owned)

    def wait(self, owned: Owned) -> None:
        """A sign of life: this router has the request and isn't done with it."""
        waiting = Waiting(
            request_id=owned.request_id, router=self._bus.instance, attempt=owned.attempts
        )
        self.say(owned.reply, waiting)

    def statistics(self) -> OwnedStatistics:
        """A snapshot for gauges."""
        return OwnedStatistics(in_flight=len(self._owned), stale=self.stall.dropped, **self.counts)

    def _on_inquiry(self, relay_id: bytes, answer_to: str) -> None:
        """A door has heard nothing of a request for long: what was said of it may be lost."""
        if not is_inbox_of(answer_to, DOORS):
            self.counts["misaddressed"] += 1
        elif (owned := self._owned.get(relay_id)) is not None:
            if owned.accepted is not None:
                self.say(answer_to, owned.accepted)
            self.wait(owned)
        elif (ended := self._ended.get(relay_id)) is not None and ended.last_word:
            publish_news(self._bus, answer_to, ended.last_word)

    def _repeat(self, known: Owned, request: InferenceRequested, reply: str) -> None:
        """A door asks again for what is owned here: it hears so, on either of its inboxes."""
        self.counts["repeated"] += 1
        if known.accepted is not None:
            self.say(known.reply, known.accepted)
        if known.relay_id != request.relay_id:
            held = Held(
                request_id=known.request_id,
                router=self._bus.instance,
                holder=self._bus.instance,
                ask=known.ask,
            )
            self.say(reply, held)

    def _lapse(self) -> None:
        log_event(log, "ownership_lapsed", level=logging.WARNING, requests=len(self._owned))
        for owned in list(self._owned.values()):
            owned.lapsed = True
            if owned.attempt is None or not owned.attempt.started:
                self.counts["lost"] += 1
                owned.lose()
