"""The requests that this router owns: repeats, cancels and the half-second sign of life."""

import asyncio
import logging
from collections import OrderedDict
from typing import NamedTuple

import msgspec

from droveway.contracts.envelope import encode
from droveway.contracts.inference import WAITING_EVERY_MS, Accepted, Waiting
from droveway.contracts.relay import Cancel
from droveway.otel.logs import log_event
from droveway.router.attempt import Attempt
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError
from droveway.runtime.relay import RelayHub

log = logging.getLogger(__name__)

REMEMBERED_COMMITS = 4_096
"""Committed answers whose caller is still known, for a cancel that crossed the commit."""


class OwnedStatistics(NamedTuple):
    """A snapshot for gauges."""

    in_flight: int
    accepted: int
    repeated: int
    committed: int
    refused: int
    tried: int


class Owned:
    """One request in this router's hands."""

    def __init__(self, request_id: str, reply: str, task: "asyncio.Task[None] | None") -> None:
        self.request_id = request_id
        self.reply = reply
        self.task = task
        self.accepted: Accepted | None = None
        self.attempt: Attempt | None = None
        self.attempts = 0
        self.cancelled = False


class OwnedRequests:
    """Keyed by relay id, which a door repeats when it asks again."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._owned: dict[bytes, Owned] = {}
        self._relay_of: dict[str, bytes] = {}
        """The latest relay of each owned request."""
        self._commits: OrderedDict[bytes, str] = OrderedDict()
        self.hub: RelayHub = RelayHub(bus, self.cancel)
        self.counts = {"accepted": 0, "repeated": 0, "committed": 0, "refused": 0, "tried": 0}

    def begin(self, relay_id: bytes, request_id: str, reply: str) -> Owned | None:
        """Takes ownership; None when it is owned already: then it is accepted once more."""
        known = self._owned.get(relay_id)
        if known is not None:
            self.counts["repeated"] += 1
            if known.accepted is not None:
                self.say(known.reply, known.accepted)
            return None
        if (earlier := self._relay_of.get(request_id)) is not None:
            self.cancel(earlier, "asked again")  # its door has given that one up
        owned = Owned(request_id, reply, asyncio.current_task())
        self._owned[relay_id] = owned
        self._relay_of[request_id] = relay_id
        self.counts["accepted"] += 1
        return owned

    def end(self, relay_id: bytes, committed_by: str) -> None:
        """Gives a request up; a caller that committed can still be told of a cancel."""
        owned = self._owned.pop(relay_id, None)
        if owned is not None and self._relay_of.get(owned.request_id) == relay_id:
            del self._relay_of[owned.request_id]
        if committed_by:
            self._commits[relay_id] = committed_by
            if len(self._commits) > REMEMBERED_COMMITS:
                self._commits.popitem(last=False)

    def cancel(self, relay_id: bytes, reason: str, _attempt: int = 0) -> None:
        """The door's client is gone, or it took another router's answer."""
        owned = self._owned.get(relay_id)
        if owned is not None:
            owned.cancelled = True
            if owned.attempt is not None:
                owned.attempt.cancel(reason)
            if owned.task is not None:
                owned.task.cancel()
        elif (caller := self._commits.pop(relay_id, None)) is not None:
            self.hub.send_control(caller, Cancel(relay_id, reason))

    def say(self, reply: str, news: msgspec.Struct) -> None:
        """Tells a door; when the broker is away the door's own clock decides."""
        try:
            self._bus.publish(reply, encode(news))
        except BusError as error:
            log_event(log, "news_unsent", level=logging.WARNING, reason=str(error))

    async def sign(self) -> None:
        """Says `Waiting` for all owned requests, until cancelled."""
        while True:
            await asyncio.sleep(WAITING_EVERY_MS / 1000)
            for owned in list(self._owned.values()):
                waiting = Waiting(
                    request_id=owned.request_id, router=self._bus.instance, attempt=owned.attempts
                )
                self.say(owned.reply, waiting)

    def statistics(self) -> OwnedStatistics:
        """A snapshot for gauges."""
        return OwnedStatistics(in_flight=len(self._owned), **self.counts)
