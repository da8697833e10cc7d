"""Finished spans on their way to a collector.

A hop's span is built in one call when the hop has ended, from times that were noted on the way:
nothing exists while the hop runs, the ids may have left for the next hop long before, and a request
that turns out slow can still get its spans. The SDK's BatchSpanProcessor and OTLP exporter do the
rest on their own thread. This module imports the SDK; import it only when there is an endpoint.
"""

import threading
from collections.abc import Sequence

import msgspec
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, TraceFlags, TraceState
from opentelemetry.trace import SpanKind as OtelKind
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util.types import AttributeValue

from droveway.otel.context import Attributes, SpanEvent, SpanKind, TraceContext
from droveway.otel.redaction import redact

_KINDS: dict[SpanKind, OtelKind] = {
    "internal": OtelKind.INTERNAL,
    "server": OtelKind.SERVER,
    "client": OtelKind.CLIENT,
    "producer": OtelKind.PRODUCER,
    "consumer": OtelKind.CONSUMER,
}
_ENTRY_KINDS = ("server", "consumer")
_FLAGS = (TraceFlags(TraceFlags.DEFAULT), TraceFlags(TraceFlags.SAMPLED))
_NO_STATE = TraceState()
_UNSET = Status(StatusCode.UNSET)


class SpanStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the spans so far; counts since the start."""

    recorded: int = 0
    """Taken in."""
    exported: int = 0
    """Acknowledged by the endpoint."""
    failed: int = 0
    """Refused by the endpoint, or not answered in time, retries included."""
    dropped: int = 0
    """Never taken in: the queue was full, or telemetry was shut down."""
    waiting: int = 0
    """Queued or being sent; after shutdown these are lost."""
    limit: int = 0
    """The bound of them."""


class SpanRecorder:
    """Builds spans and queues them; never waits for the endpoint.

    At most `queue_spans` wait or are on their way out; then new ones are dropped and counted.
    Call it from one thread, the event loop's.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        resource: Resource,
        *,
        queue_spans: int,
        batch_spans: int,
        schedule_delay_ms: int,
    ) -> None:
        self._exporter = _CountingExporter(exporter)
        # Our own bound comes first, so the processor's queue, which drops the oldest and
        # doesn't say how many, never fills.
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=queue_spans,
            max_export_batch_size=batch_spans,
            schedule_delay_millis=schedule_delay_ms,
        )
        self._resource = resource
        self._scope = InstrumentationScope("droveway")
        self._queue_spans = queue_spans
        self._recorded = 0
        self._dropped = 0
        self._closed = False

    def record(
        self,
        *,
        name: str,
        kind: SpanKind,
        context: TraceContext,
        parent: TraceContext | None,
        start_ns: int,
        end_ns: int,
        attributes: Attributes,
        events: Sequence[SpanEvent],
        error: str | None,
        links: Sequence[TraceContext],
    ) -> bool:
        """Queues one finished span; False when it was dropped."""
        if self._closed or self._waiting() >= self._queue_spans:
            self._dropped += 1
            return False
        span = ReadableSpan(
            name,
            context=_span_context(context, remote=False),
            # Spans that open a hop have their parent in another process.
            parent=parent and _span_context(parent, remote=kind in _ENTRY_KINDS),
            resource=self._resource,
            attributes=_present(attributes),
            events=[Event(event, _present(values), at_ns) for event, at_ns, values in events],
            links=[Link(_span_context(link, remote=True)) for link in links],
            kind=_KINDS[kind],
            status=_UNSET if error is None else Status(StatusCode.ERROR, redact(error)),
            start_time=start_ns,
            end_time=max(start_ns, end_ns),
            instrumentation_scope=self._scope,
        )
        self._recorded += 1
        self._processor.on_end(span)
        return True

    def statistics(self) -> SpanStatistics:
        """What became of the spans so far."""
        return SpanStatistics(
            recorded=self._recorded,
            exported=self._exporter.exported,
            failed=self._exporter.failed,
            dropped=self._dropped,
            waiting=self._recorded - self._exporter.exported - self._exporter.failed,
            limit=self._queue_spans,
        )

    def shutdown(self, limit_s: float) -> None:
        """Sends what waits, for at most `limit_s`; what is then left is lost."""
        if self._closed:
            return
        self._closed = True
        # The processor itself would wait 30 s, so it is left behind on a daemon thread.
        closer = threading.Thread(
            target=self._processor.shutdown, name="droveway-span-shutdown", daemon=True
        )
        closer.start()
        closer.join(limit_s)
        if closer.is_alive():
            self._exporter.shutdown()

    def _waiting(self) -> int:
        return self._recorded - self._exporter.exported - self._exporter.failed


class _CountingExporter(SpanExporter):
    """An exporter that counts what came of each batch and can be shut down from two sides."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._stopping = threading.Lock()
        self._stopped = False
        self.exported = 0
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        outcome = SpanExportResult.FAILURE
        try:
            if not self._stopped:
                outcome = self._inner.export(spans)
        finally:
            if outcome is SpanExportResult.SUCCESS:
                self.exported += len(spans)
            else:
                self.failed += len(spans)
        return outcome

    def shutdown(self) -> None:
        with self._stopping:
            if self._stopped:
                return
            self._stopped = True
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


def _span_context(context: TraceContext, *, remote: bool) -> SpanContext:
    state = TraceState.from_header([context.tracestate]) if context.tracestate else _NO_STATE
    return SpanContext(
        int.from_bytes(context.trace_id, "big"),
        int.from_bytes(context.span_id, "big"),
        remote,
        _FLAGS[context.sampled],
        state,
    )


def _present(attributes: Attributes) -> dict[str, AttributeValue]:
    return {name: value for name, value in attributes.items() if value is not None}
