"""One coroutine per `CallRouted`: start it, commit or fail it, relay it, record it."""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from droveway.caller.attempt import AttemptRecord
from droveway.caller.call import CallFailed, UpstreamCall
from droveway.caller.failures import failure_after_commit, failure_before_commit
from droveway.caller.pull import fetch_body
from droveway.caller.settings import CallerSettings
from droveway.caller.sse_parser import SseCapExceeded
from droveway.caller.upstream_errors import UpstreamError
from droveway.caller.upstreams import Upstream, Upstreams
from droveway.contracts import dispatch
from droveway.contracts.envelope import encode, is_inbox_of
from droveway.contracts.errors import Failure, failure
from droveway.otel.logs import log_event
from droveway.otel.setup import Telemetry
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError, RelayCut
from droveway.runtime.relay import RelayHub, Sender
from droveway.runtime.spool import Spool

log = logging.getLogger(__name__)

_ROUTERS = frozenset({"router"})
_DOORS = frozenset({"gateway", "jobs"})


class CallerStatistics(NamedTuple):
    """A snapshot for gauges."""

    in_flight: int
    committed: int
    failed: int
    refused: int


class Caller:
    """The handlers' collaborators and the attempts that run."""

    def __init__(
        self, bus: Bus, upstreams: Upstreams, spool: Spool, telemetry: Telemetry,
        settings: CallerSettings,
    ) -> None:  # fmt: skip
        self._bus = bus
        self._upstreams = upstreams
        self._spool = spool
        self._telemetry = telemetry
        self._settings = settings
        self._running: dict[bytes, _Running] = {}
        self._committed = 0
        self._failed = 0
        self._refused = 0
        self.hub = RelayHub(bus, self.cancel)

    async def call(self, call: dispatch.CallRouted, reply: str) -> None:
        """Makes one upstream attempt, from `Started` to its row."""
        if not is_inbox_of(reply, _ROUTERS) or not is_inbox_of(call.answer_to, _DOORS):
            log_event(log, "bad_reply_subject", level=logging.WARNING)
            return
        upstream = self._upstreams.get(call.target.provider)
        if upstream is None or call.target.credential not in upstream.secrets:
            text = f"This caller doesn't know {call.target.provider}/{call.target.credential} yet"
            self._tell(reply, self._failed_before(call, failure("provider_unavailable", text)))
            return
        earlier = self._running.get(call.relay_id)
        if earlier is not None and earlier.attempt < call.attempt:
            # The router has given that one up; its cancel may still be on the way.
            self.cancel(call.relay_id, "a later attempt of the request has come")
            earlier = None
        if upstream.full or self._spool.full or earlier is not None:
            self._refuse(call, reply, upstream.in_flight)
            return
        record = AttemptRecord(call, self._bus.instance, self._telemetry)
        running = _Running(asyncio.current_task(), call.attempt)
        self._running[call.relay_id] = running
        upstream.in_flight += 1
        self._tell(reply, dispatch.Started(attempt_id=call.attempt_id, caller=self._bus.instance))
        unlink = self.hub.link(call.router)
        try:
            await self._run(call, reply, upstream, record, running, unlink)
        finally:
            unlink()
            upstream.in_flight -= 1
            if self._running.get(call.relay_id) is running:
                del self._running[call.relay_id]
            self._spool.put(record.row())
            record.record_spans(upstream)

    def refuse_full(self, call: dispatch.CallRouted, reply: str) -> None:
        """Answers a call that found `max_in_flight` reached."""
        if is_inbox_of(reply, _ROUTERS):
            self._refuse(call, reply, len(self._running))

    def cancel(self, relay_id: bytes, reason: str, attempt: int = 0) -> None:
        """Nobody wants this answer, or this attempt at it: closes the upstream call at once."""
        running = self._running.get(relay_id)
        if running is None or (attempt and attempt != running.attempt):
            return
        if not running.reason:
            running.reason = reason
            if running.task is not None:
                running.task.cancel()

    def statistics(self) -> CallerStatistics:
        """A snapshot for gauges."""
        return CallerStatistics(
            in_flight=len(self._running),
            committed=self._committed,
            failed=self._failed,
            refused=self._refused,
        )

    async def _run(
        self,
        call: dispatch.CallRouted,
        reply: str,
        upstream: Upstream,
        record: AttemptRecord,
        running: "_Running",
        unlink: Callable[[], None],
    ) -> None:
        sender = self.hub.open_sender(
            call.relay_id,
            call.door,
            call.answer_to,
            lambda reason: self.cancel(call.relay_id, reason, call.attempt),
        )

        def on_commit() -> None:
            unlink()  # the router is out of the path
            self._committed += 1
            committed = dispatch.Committed(attempt_id=call.attempt_id, caller=self._bus.instance)
            self._tell(reply, committed)

        upstream_call = UpstreamCall(
            record,
            upstream,
            sender,
            on_commit,
            self._settings.max_answer_bytes,
            self._settings.after_finish_s,
        )
        try:
            body = await fetch_body(self._bus, self.hub, call.body, self._settings.pull_s)
            await upstream_call.run(body)
            record.outcome = "completed"
        except CallFailed as error:
            self._end_badly(call, reply, record, sender, error.failure, error.failure)
        except (UpstreamError, SseCapExceeded) as error:
            if isinstance(error, UpstreamError):
                record.request_sent = error.request_sent
            before, after = failure_before_commit(error), failure_after_commit(error)
            self._end_badly(call, reply, record, sender, before, after)
        except RelayCut as error:
            record.fail(failure("client_closed_request", str(error)), "cancelled")
            if not record.committed:
                # A body that didn't come can't be fetched by another caller either.
                lost = failure("service_unavailable", f"The request's body was lost: {error}")
                self._tell(reply, self._failed_before(call, lost))
        except asyncio.CancelledError:
            self._end_cancelled(call, reply, record, sender, running)
        finally:
            if record.outcome == "failed" and record.failure is None:
                # An exception that nobody foresaw: whoever waits is told all the same.
                bug = failure("internal_error")
                self._end_badly(call, reply, record, sender, bug, bug)
            self.hub.close_sender(sender)

    def _end_badly(
        self,
        call: dispatch.CallRouted,
        reply: str,
        record: AttemptRecord,
        sender: Sender,
        before: Failure,
        after: Failure,
    ) -> None:
        self._failed += 1
        if record.committed:
            record.fail(after, "interrupted")
            sender.interrupt(after, record.used())
            return
        record.fail(before)
        news = dispatch.AttemptFailed(
            attempt_id=call.attempt_id,
            caller=self._bus.instance,
            failure=before,
            status=record.status,
            request_sent=record.request_sent,
        )
        self._tell(reply, news)

    def _end_cancelled(
        self,
        call: dispatch.CallRouted,
        reply: str,
        record: AttemptRecord,
        sender: Sender,
        running: "_Running",
    ) -> None:
        """Cancelled by the door or the router, or cut at the end of this process's drain."""
        if running.reason:
            gone = failure("client_closed_request", running.reason[:200])
            record.fail(gone, "cancelled")
            if not record.committed:
                # The door may have told only us: without news the router would try elsewhere.
                self._tell(reply, self._failed_before(call, gone))
            return
        stopped = failure("server_shutting_down", retry_after_ms=1_000)
        self._end_badly(call, reply, record, sender, stopped, stopped)

    def _failed_before(
        self, call: dispatch.CallRouted, occurrence: Failure
    ) -> dispatch.AttemptFailed:
        return dispatch.AttemptFailed(
            attempt_id=call.attempt_id, caller=self._bus.instance, failure=occurrence
        )

    def _refuse(self, call: dispatch.CallRouted, reply: str, in_flight: int) -> None:
        self._refused += 1
        busy = dispatch.Busy(
            attempt_id=call.attempt_id, caller=self._bus.instance, in_flight=in_flight
        )
        self._tell(reply, busy)

    def _tell(self, reply: str, news: dispatch.AttemptNews) -> None:
        try:
            self._bus.publish(reply, encode(news))
        except BusError as error:
            log_event(log, "news_unsent", level=logging.WARNING, reason=str(error))


class _Running:
    """One attempt's task, and why it was cancelled."""

    __slots__ = ("attempt", "reason", "task")

    def __init__(self, task: "asyncio.Task[None] | None", attempt: int) -> None:
        self.task = task
        self.attempt = attempt
        self.reason = ""
