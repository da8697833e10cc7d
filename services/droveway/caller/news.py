"""What a caller tells of one attempt: its router, and its door once the router is gone."""

import logging

import msgspec

from droveway.contracts import dispatch
from droveway.contracts.envelope import encode
from droveway.contracts.errors import Failure
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError

log = logging.getLogger(__name__)


class News:
    """The voice of one attempt."""

    def __init__(self, bus: Bus, call: dispatch.CallRouted, reply: str) -> None:
        self._bus = bus
        self._call = call
        self._reply = reply
        self._orphaned = False

    def started(self) -> None:
        """This caller runs it."""
        self._tell(
            dispatch.Started(attempt_id=self._call.attempt_id, caller=self._bus.instance),
        )

    def busy(self, in_flight: int) -> None:
        """A bound is reached: ask elsewhere."""
        self._tell(
            dispatch.Busy(
                attempt_id=self._call.attempt_id, caller=self._bus.instance, in_flight=in_flight
            )
        )

    def committed(self) -> None:
        """The answer is on its way to the door."""
        self._tell(dispatch.Committed(attempt_id=self._call.attempt_id, caller=self._bus.instance))

    def failed(self, occurrence: Failure, *, status: int = 0, request_sent: bool = False) -> None:
        """Nothing was relayed, and nothing will be."""
        failed = dispatch.AttemptFailed(
            attempt_id=self._call.attempt_id,
            caller=self._bus.instance,
            failure=occurrence,
            status=status,
            request_sent=request_sent,
        )
        self._tell(failed)
        if self._orphaned:
            self._publish(self._call.answer_to, failed)

    def orphaned(self) -> None:
        """The router is gone before commit: the attempt goes on, and its door is told."""
        self._orphaned = True
        running = dispatch.Running(
            attempt_id=self._call.attempt_id,
            attempt=self._call.attempt,
            caller=self._bus.instance,
        )
        self._publish(self._call.answer_to, running)

    def _tell(self, news: dispatch.AttemptNews) -> None:
        self._publish(self._reply, news)

    def _publish(self, subject: str, news: msgspec.Struct) -> None:
        try:
            self._bus.publish(subject, encode(news))
        except BusError as error:
            log_event(log, "news_unsent", level=logging.WARNING, reason=str(error))
