"""One attempt that runs: its answer is relayed, and whoever waits for it is told how it ends."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from droveway.caller.attempt import AttemptRecord
from droveway.caller.call import UpstreamCall
from droveway.caller.credential_limits import CredentialLimits
from droveway.caller.delivery import CallFailed
from droveway.caller.failures import failure_after_commit, failure_before_commit
from droveway.caller.leases import Leases
from droveway.caller.news import News
from droveway.caller.outcomes import Outcomes
from droveway.caller.pull import fetch_body
from droveway.caller.settings import CallerSettings
from droveway.caller.sse_parser import SseCapExceeded
from droveway.caller.upstream_errors import UpstreamError
from droveway.caller.upstreams import Found
from droveway.contracts.errors import Failure, failure
from droveway.runtime.bus import Bus
from droveway.runtime.errors import RelayCut
from droveway.runtime.relay import RelayHub, Sender


class Ended:
    """How many attempts came so far, ever."""

    def __init__(self) -> None:
        self.committed = 0
        self.failed = 0


class Means(NamedTuple):
    """What all attempts of a caller are made with."""

    bus: Bus
    hub: RelayHub
    limits: CredentialLimits
    leases: Leases
    outcomes: Outcomes
    settings: CallerSettings
    ended: Ended


class Running:
    """One attempt, in the task that makes it.

    Args:
        means: What all of them share.
        record: Of this one.
        news: By which its router and its door hear of it.
        found: Whom it asks, and by which configuration.
    """

    def __init__(self, means: Means, record: AttemptRecord, news: News, found: Found) -> None:
        self.attempt = record.call.attempt
        self.record = record
        self.news = news
        self._means = means
        self._found = found
        self._task = asyncio.current_task()
        self._reason = ""
        """Why it was cancelled."""

    def cancel(self, reason: str) -> None:
        """Closes the upstream call at once; the first reason counts."""
        if not self._reason:
            self._reason = reason
            if self._task is not None:
                self._task.cancel()

    async def run(self, unlink: Callable[[], None], on_cancel: Callable[[str], None]) -> None:
        """Asks the provider and relays its answer; every end is told and recorded.

        Args:
            unlink: Called at commit: from then on the router is out of the path.
            on_cancel: Called when its door's end of the relay is gone, with the reason.
        """
        means, call, record = self._means, self.record.call, self.record
        sender = means.hub.open_sender(call.relay_id, call.door, call.answer_to, on_cancel)

        def on_commit() -> None:
            unlink()
            means.ended.committed += 1
            means.outcomes.committed(call, record.waited_s)
            self.news.committed()

        upstream_call = UpstreamCall(
            record,
            self._found,
            means.limits,
            sender,
            on_commit,
            lambda: means.leases.settle(record),
            means.settings.max_answer_bytes,
            means.settings.after_finish_s,
        )
        try:
            body = await fetch_body(means.bus, means.hub, call.body, means.settings.pull_s)
            await upstream_call.run(body)
            record.outcome = "completed"
        except CallFailed as error:
            self._end_badly(sender, error.failure, error.failure)
        except (UpstreamError, SseCapExceeded) as error:
            if isinstance(error, UpstreamError):
                record.request_sent = error.request_sent
            self._end_badly(sender, failure_before_commit(error), failure_after_commit(error))
        except RelayCut as error:
            record.fail(failure("client_closed_request", str(error)), "cancelled")
            if not record.committed:
                # A body that didn't come can't be fetched by another caller either.
                lost = f"The request's body was lost: {error}"
                self.news.failed(failure("service_unavailable", lost))
        except asyncio.CancelledError:
            self._end_cancelled(sender)
        finally:
            if record.outcome == "failed" and record.failure is None:
                # An exception that nobody foresaw: whoever waits is told all the same.
                bug = msgspec.structs.replace(failure("internal_error"), elsewhere=True)
                self._end_badly(sender, bug, bug)
            means.hub.close_sender(sender)

    def _end_badly(self, sender: Sender, before: Failure, after: Failure) -> None:
        """Ends with one of two failures: as it is before commit, or after it."""
        means, record = self._means, self.record
        means.ended.failed += 1
        if record.committed:
            record.fail(after, "interrupted")
            means.outcomes.interrupted(record.call, after.code)
            means.leases.settle(record)
            sender.interrupt(after, record.used())
            return
        record.fail(before)
        means.outcomes.failed(record.call, before.code)
        means.leases.settle(record)
        self.news.failed(before, status=record.status, request_sent=record.request_sent)

    def _end_cancelled(self, sender: Sender) -> None:
        """Cancelled by the door or the router, or cut at the end of this process's drain."""
        if not self._reason:
            stopped = failure("server_shutting_down", retry_after_ms=1_000)
            self._end_badly(sender, stopped, stopped)
            return
        gone = failure("client_closed_request", self._reason[:200])
        self.record.fail(gone, "cancelled")
        self._means.leases.settle(self.record)
        if not self.record.committed:
            # The door may have told only us: without news the router would try elsewhere.
            self.news.failed(gone)
