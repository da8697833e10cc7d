"""What a caller tells of one attempt: its router, and its door once the router is gone."""

from droveway.contracts import dispatch
from droveway.contracts.envelope import encode
from droveway.contracts.errors import Failure, failure
from droveway.runtime.bus import Bus
from droveway.runtime.news import publish_news


class News:
    """The voice of one attempt."""

    def __init__(self, bus: Bus, call: dispatch.CallRouted, reply: str) -> None:
        # Not the call itself: it holds the request's body, and news outlives its attempt.
        self._bus = bus
        self._attempt_id = call.attempt_id
        self._attempt = call.attempt
        self._answer_to = call.answer_to
        self._reply = reply
        self._orphaned = False
        self._failed = False
        self.over = False
        """Nothing more will come of it."""
        self._latest = b""

    def started(self) -> None:
        """This caller runs it."""
        self._tell(
            dispatch.Started(attempt_id=self._attempt_id, caller=self._bus.instance),
        )

    def busy(self, in_flight: int) -> None:
        """A bound is reached: ask elsewhere."""
        self._tell(
            dispatch.Busy(
                attempt_id=self._attempt_id, caller=self._bus.instance, in_flight=in_flight
            )
        )

    def committed(self) -> None:
        """The answer is on its way to the door."""
        self._tell(dispatch.Committed(attempt_id=self._attempt_id, caller=self._bus.instance))

    def failed(self, occurrence: Failure, *, status: int = 0, request_sent: bool = False) -> None:
        """Nothing was relayed, and nothing will be."""
        failed = dispatch.AttemptFailed(
            attempt_id=self._attempt_id,
            caller=self._bus.instance,
            failure=occurrence,
            status=status,
            request_sent=request_sent,
        )
        self._tell(failed)
        self._failed = True
        if self._orphaned:
            publish_news(self._bus, self._answer_to, self._latest)

    def orphaned(self) -> None:
        """The router is gone before commit: the attempt goes on, and its door is told."""
        self._orphaned = True
        self.tell_door()

    def tell_door(self) -> None:
        """Whether it runs or has failed, to a door that has no router to say so.

        A door asks before the first frame only: of an answer that is over it has nothing.
        """
        if self._failed:
            publish_news(self._bus, self._answer_to, self._latest)
            return
        if self.over:
            unknown(self._bus, self._attempt_id, self._answer_to)
            return
        running = dispatch.Running(
            attempt_id=self._attempt_id,
            attempt=self._attempt,
            caller=self._bus.instance,
        )
        publish_news(self._bus, self._answer_to, encode(running))

    def repeat(self) -> None:
        """The router asks what became of it: its latest word was lost, or there is none newer."""
        publish_news(self._bus, self._reply, self._latest)

    def _tell(self, news: dispatch.AttemptNews) -> None:
        self._latest = encode(news)
        publish_news(self._bus, self._reply, self._latest)


def unknown(bus: Bus, attempt_id: bytes, answer_to: str) -> None:
    """Tells a router that this caller has no such attempt."""
    lost = failure("provider_no_response", "The caller doesn't know this attempt any more")
    failed = dispatch.AttemptFailed(attempt_id=attempt_id, caller=bus.instance, failure=lost)
    publish_news(bus, answer_to, encode(failed))
