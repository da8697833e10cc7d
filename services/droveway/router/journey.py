"""One request's way through this router, for its span and for what clients are told."""

from droveway.contracts.configuration import ConfigVersion
from droveway.contracts.dispatch import CallRouted
from droveway.contracts.inference import InferenceRequested, TriedTarget
from droveway.otel import names
from droveway.otel.context import SpanEvent, TraceContext, child, parse_traceparent
from droveway.otel.setup import Telemetry
from droveway.router.exposition import QueueWait
from droveway.router.owned import Owned
from droveway.router.turn import Turn

_NO_FAULT = frozenset({"cancelled", "held_elsewhere"})


class Journey:
    """What is known of it so far."""

    def __init__(self, request: InferenceRequested, owned: Owned, telemetry: Telemetry) -> None:
        self.request = request
        self._owned = owned
        self._telemetry = telemetry
        self.received_ns = telemetry.clock.now_ns()
        self.admitted_ns = 0
        self.tried: list[TriedTarget] = []
        self.outcome = ""
        self.config: ConfigVersion = ""
        """By which configuration it is routed, all of it."""
        self.turn: Turn | None = None
        """Its time in the waiting room."""
        self._begun = False
        self._parent = parse_traceparent(request.traceparent)
        self.span = (
            child(self._parent) if self._parent else TraceContext(bytes(16), bytes(8), False)
        )

    def began(self, call: CallRouted, queue_wait: QueueWait) -> None:
        """A caller has begun an attempt: there was room."""
        assert self.turn is not None
        self.turn.passed()
        if not self._begun:
            self._begun = True
            queue_wait.dispatched(self.turn.priority, self.received_ns, call.routed_ns)

    def close(self) -> None:
        """It needs no room any more."""
        if self.turn is not None:
            self.turn.close()

    def _channel(self) -> str:
        """That of the last attempt."""
        attempt = self._owned.attempt
        return "" if attempt is None else attempt.call.channel

    def record_span(self) -> None:
        """Says what became of it, if its trace is sampled."""
        if not self._telemetry.wants(self.span):
            return
        committed = self.outcome == "committed"
        events: list[SpanEvent] = []
        if self.turn is not None and self.turn.began_s:
            waited = {names.DROVEWAY_QUEUE_WAIT_MS: round(self.turn.waited_s * 1000)}
            began_ns = self._telemetry.clock.at_ns(self.turn.began_s)
            events.append((names.EVENT_QUEUE_WAIT, began_ns, waited))
        if self.admitted_ns:
            events.append((names.EVENT_LIMIT, self.admitted_ns, {}))
        self._telemetry.record(
            name=names.SPAN_ROUTE,
            kind="consumer",
            context=self.span,
            parent=self._parent,
            start_ns=self.received_ns,
            end_ns=self._telemetry.clock.now_ns(),
            attributes={
                names.DROVEWAY_REQUEST_ID: self.request.request_id,
                names.DROVEWAY_TENANT_ID: self.request.tenant,
                names.GEN_AI_REQUEST_MODEL: self.request.model,
                names.DROVEWAY_ATTEMPTS: self._owned.attempts,
                names.DROVEWAY_CHANNEL: self._channel() or None,
                names.DROVEWAY_CONFIG_VERSION: self.config or None,
                names.DROVEWAY_OUTCOME: self.outcome,
            },
            events=events,
            error=None if committed or self.outcome in _NO_FAULT else self.outcome,
        )
