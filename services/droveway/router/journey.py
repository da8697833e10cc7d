"""One request's way through this router, for its span and for what clients are told."""

from droveway.contracts.inference import InferenceRequested, TriedTarget
from droveway.otel import names
from droveway.otel.context import SpanEvent, TraceContext, child, parse_traceparent
from droveway.otel.setup import Telemetry
from droveway.router.owned import Owned

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
        self._parent = parse_traceparent(request.traceparent)
        self.span = (
            child(self._parent) if self._parent else TraceContext(bytes(16), bytes(8), False)
        )

    def record_span(self) -> None:
        """Says what became of it, if its trace is sampled."""
        if not self._telemetry.wants(self.span):
            return
        committed = self.outcome == "committed"
        events: list[SpanEvent] = []
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
                names.DROVEWAY_OUTCOME: self.outcome,
            },
            events=events,
            error=None if committed or self.outcome in _NO_FAULT else self.outcome,
        )
