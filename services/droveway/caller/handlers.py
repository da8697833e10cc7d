"""One coroutine per `CallRouted`: start it, commit or fail it, relay it, record it."""

import logging
from collections import OrderedDict
from typing import NamedTuple

from droveway.caller.attempt import AttemptRecord
from droveway.caller.credential_limits import CredentialLimits
from droveway.caller.leases import Leases
from droveway.caller.news import News, unknown
from droveway.caller.outcomes import Outcomes
from droveway.caller.room import RoomNews
from droveway.caller.running import Ended, Means, Running
from droveway.caller.settings import CallerSettings
from droveway.caller.upstreams import Upstreams
from droveway.contracts import dispatch
from droveway.contracts.envelope import is_inbox_of
from droveway.contracts.errors import failure
from droveway.otel.setup import Telemetry
from droveway.runtime.bus import Bus
from droveway.runtime.rare_log import RareLog
from droveway.runtime.relay import RelayHub
from droveway.runtime.spool import Spool
from droveway.runtime.stall import StallGuard

log = logging.getLogger(__name__)
_bad_reply_subject = RareLog(log, "bad_reply_subject")

STALE_S = 1.0
"""A router waits for as long until a caller has started an attempt; then it looks elsewhere."""
REMEMBERED_ATTEMPTS = 4_096
"""Attempts that were begun, running or ended: a call that is delivered twice is made once."""
_ROUTERS = frozenset({"router"})
_DOORS = frozenset({"gateway", "jobs"})


class CallerStatistics(NamedTuple):
    """A snapshot for gauges."""

    in_flight: int
    committed: int
    failed: int
    refused: int
    misaddressed: int
    """Calls that name no inbox of a router and a door to answer to."""
    stale: int
    """Calls dropped since they had come while this process stood still."""
    malformed: int
    """Events of providers' streams that couldn't be read and were skipped."""


class Caller:
    """The handlers' collaborators and the attempts that run."""

    def __init__(
        self, bus: Bus, upstreams: Upstreams, limits: CredentialLimits, spool: Spool,
        leases: Leases, outcomes: Outcomes, telemetry: Telemetry, settings: CallerSettings,
    ) -> None:  # fmt: skip
        self._bus = bus
        self._upstreams = upstreams
        self._limits = limits
        self._spool = spool
        self._leases = leases
        self._telemetry = telemetry
        self._running: dict[bytes, Running] = {}
        self._taken: OrderedDict[bytes, News] = OrderedDict()
        self._ended = Ended()
        self._refused = 0
        self._misaddressed = 0
        self._malformed = 0
        self.stall = StallGuard(STALE_S)
        self.hub = RelayHub(bus, self.cancel, self._on_inquiry)
        self._means = Means(bus, self.hub, limits, leases, outcomes, settings, self._ended)
        self._room = RoomNews(self.hub.send_control)

    async def call(self, call: dispatch.CallRouted, reply: str) -> None:
        """Makes one upstream attempt, from `Started` to its row."""
        if not is_inbox_of(reply, _ROUTERS) or not is_inbox_of(call.answer_to, _DOORS):
            self._misaddressed += 1
            _bad_reply_subject.warn()
            return
        if self.stall.suspect:  # its router has gone elsewhere by now
            self.stall.dropped += 1
            return
        news = News(self._bus, call, reply)
        found = await self._upstreams.find(call.target, call.config)
        if found is None:
            text = f"This caller doesn't know {call.target.provider}/{call.target.credential} yet"
            news.failed(failure("provider_unavailable", text))
            return
        upstream = found.upstream
        await self._limits.short_rest((call.target.provider, call.target.credential))
        if call.attempt_id in self._taken:  # delivered twice: it runs, or it has run
            return
        earlier = self._running.get(call.relay_id)
        if earlier is not None and earlier.record.committed:
            news.committed()  # its router missed that: the answer is on its way to the door
            return
        if earlier is not None and earlier.attempt < call.attempt:
            # The router has given that one up; its cancel may still be on the way.
            self.cancel(call.relay_id, "a later attempt of the request has come")
            earlier = None
        if upstream.full or self._spool.full or earlier is not None:
            self._refuse_busy(call, news, upstream.taken)
            return
        cooling = self._limits.refusal((call.target.provider, call.target.credential))
        if cooling is not None:  # its router doesn't know yet, or has no other target
            self._refused += 1
            news.failed(cooling)
            return
        self._taken[call.attempt_id] = news
        if len(self._taken) > REMEMBERED_ATTEMPTS:
            self._taken.popitem(last=False)
        record = AttemptRecord(call, self._bus.instance, self._telemetry, found.version)
        running = Running(self._means, record, news, found)
        self._running[call.relay_id] = running
        upstream.begin()
        self._leases.begin(record)
        news.started()
        unlink = self.hub.link(call.router, news.orphaned)
        try:
            await running.run(
                unlink, lambda reason: self.cancel(call.relay_id, reason, call.attempt)
            )
        finally:
            unlink()
            news.over = True
            upstream.end()
            if (present := self._upstreams.present(upstream.provider.id)) is not None:
                self._room.freed(upstream.provider.id, present.free)
            if self._running.get(call.relay_id) is running:
                del self._running[call.relay_id]
            self._leases.settle(record)
            self._malformed += record.malformed_events
            self._spool.put(record.row())
            record.record_spans(upstream)
            record.record_metrics(upstream)

    def refuse_full(self, call: dispatch.CallRouted, reply: str) -> None:
        """Answers a call that found `max_in_flight` reached."""
        if is_inbox_of(reply, _ROUTERS):
            self._refuse_busy(call, News(self._bus, call, reply), len(self._running))

    def _refuse_busy(self, call: dispatch.CallRouted, news: News, in_flight: int) -> None:
        self._refused += 1
        self._room.refused(call.target.provider, call.router)
        news.busy(in_flight)

    def cancel(self, relay_id: bytes, reason: str, attempt: int = 0) -> None:
        """Nobody wants this answer, or this attempt at it: closes the upstream call at once."""
        running = self._running.get(relay_id)
        if running is None or (attempt and attempt != running.attempt):
            return
        if attempt and running.record.committed:  # of a router that missed it; the door has it now
            running.news.repeat()
            return
        running.cancel(reason)

    def _on_inquiry(self, attempt_id: bytes, answer_to: str) -> None:
        """A router missed what was told of an attempt; it hears the same again."""
        if not is_inbox_of(answer_to, _ROUTERS | _DOORS):
            self._misaddressed += 1
        elif (news := self._taken.get(attempt_id)) is None:
            unknown(self._bus, attempt_id, answer_to)
        elif is_inbox_of(answer_to, _DOORS):
            news.tell_door()
        else:
            news.repeat()

    def statistics(self) -> CallerStatistics:
        """A snapshot for gauges."""
        return CallerStatistics(
            in_flight=len(self._running),
            committed=self._ended.committed,
            failed=self._ended.failed,
            refused=self._refused,
            misaddressed=self._misaddressed,
            stale=self.stall.dropped,
            malformed=self._malformed,
        )
