"""One service's telemetry: installed by `main()`, closed as the last thing.

Nothing is global: several services may run as tasks of one process, each with its own resource,
queue and exporter. Without an endpoint there is no exporter, no thread and no import of the SDK;
trace context is passed on all the same.
"""

import importlib.metadata
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from droveway.otel.context import (
    Attributes,
    Clock,
    SpanEvent,
    SpanKind,
    TraceContext,
    continue_trace,
    parse_traceparent,
)
from droveway.otel.genai import OtlpStatistics
from droveway.otel.settings import TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from droveway.otel.genai_metrics import GenAiMetrics
    from droveway.otel.spans import SpanRecorder, SpanStatistics

__all__ = ["Telemetry", "TelemetrySettings", "install"]

SHUTDOWN_LIMIT_S = 2.0
_NO_ATTRIBUTES: Attributes = {}
_GENAI = frozenset({"caller", "gateway"})
"""Services that see requests to models, and measure them."""


class Telemetry:
    """One service's way to leave spans and, by OTLP, metrics of the GenAI conventions.

    Ask `wants(context)` before gathering attributes: when it is false nothing is built at all.
    """

    def __init__(
        self,
        settings: TelemetrySettings,
        recorder: "SpanRecorder | None",
        genai: "GenAiMetrics | None" = None,
    ) -> None:
        self.clock = Clock()
        self.sample_ratio = settings.sample_ratio
        """May be set at any time; holds from the next trace on."""
        self.genai = genai
        """Where requests and attempts are measured; None when nobody takes their metrics."""
        self._recorder = recorder

    def enter(
        self, traceparent: str | None, tracestate: str | None = None
    ) -> tuple[TraceContext, TraceContext | None]:
        """A request's first context here and, when its headers name a valid one, its parent."""
        parent = parse_traceparent(traceparent, tracestate)
        return continue_trace(parent, self.sample_ratio), parent

    def wants(self, context: TraceContext) -> bool:
        """Whether a span of this trace would be exported."""
        return context.sampled and self._recorder is not None

    def record(
        self,
        *,
        name: str,
        kind: SpanKind,
        context: TraceContext,
        parent: TraceContext | None,
        start_ns: int,
        end_ns: int,
        attributes: Attributes = _NO_ATTRIBUTES,
        events: Sequence[SpanEvent] = (),
        error: str | None = None,
        links: Sequence[TraceContext] = (),
    ) -> bool:
        """Leaves the span of a hop that has ended; does nothing when its trace isn't sampled.

        Never waits and never raises for the endpoint's sake.

        Args:
            name: The operation, see `names`.
            kind: The span's kind.
            context: The span's own ids, perhaps long since sent to the next hop.
            parent: The span above it, None for a root.
            start_ns: Its start by `clock`.
            end_ns: Its end by `clock`; an end before the start counts as the start.
            attributes: Its attributes; None values are left out.
            events: What happened when.
            error: Makes its status an error with this description; secrets are masked.
            links: Other traces' spans that led to it.

        Returns:
            Whether the span was queued: False when unsampled, not exporting, or the queue is full.
        """
        if not context.sampled or self._recorder is None:
            return False
        return self._recorder.record(
            name=name,
            kind=kind,
            context=context,
            parent=parent,
            start_ns=start_ns,
            end_ns=end_ns,
            attributes=attributes,
            events=events,
            error=error,
            links=links,
        )

    def statistics(self) -> "SpanStatistics | None":
        """What became of the spans so far; None when nothing is exported."""
        return None if self._recorder is None else self._recorder.statistics()

    def otlp_statistics(self) -> OtlpStatistics | None:
        """What became of the metrics so far; None when none are exported."""
        return None if self.genai is None else self.genai.statistics()

    def shutdown(self, limit_s: float = SHUTDOWN_LIMIT_S) -> None:
        """Sends what waits, for at most `limit_s` seconds even when the endpoint hangs.

        Blocks; from an event loop that still serves, call it by `asyncio.to_thread`.
        """
        until_s = time.monotonic() + limit_s
        if self._recorder is not None:
            self._recorder.shutdown(limit_s)
        if self.genai is not None:
            self.genai.shutdown(max(0.0, until_s - time.monotonic()))


def install(service: str, instance: str, settings: TelemetrySettings) -> Telemetry:
    """Gives one service its telemetry, known to the backend as `droveway-<service>`."""
    return Telemetry(
        settings, _recorder(service, instance, settings), _genai(service, instance, settings)
    )


def _recorder(service: str, instance: str, settings: TelemetrySettings) -> "SpanRecorder | None":
    if not settings.endpoint:
        return None
    # 130 ms of imports that a process without an endpoint doesn't pay.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.util.re import parse_env_headers

    from droveway.otel.spans import SpanRecorder

    exporter = OTLPSpanExporter(
        endpoint=settings.endpoint,
        headers=parse_env_headers(settings.headers, liberal=True),
        timeout=settings.export_timeout_ms / 1000,
    )
    return SpanRecorder(
        exporter,
        _resource(service, instance),
        queue_spans=settings.queue_spans,
        batch_spans=settings.batch_spans,
        schedule_delay_ms=settings.schedule_delay_ms,
    )


def _genai(service: str, instance: str, settings: TelemetrySettings) -> "GenAiMetrics | None":
    if not settings.metrics_endpoint or service not in _GENAI:
        return None
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.util.re import parse_env_headers

    from droveway.otel.genai_metrics import GenAiMetrics

    return GenAiMetrics(
        OTLPMetricExporter(
            endpoint=settings.metrics_endpoint,
            headers=parse_env_headers(settings.metrics_headers, liberal=True),
            timeout=settings.metrics_timeout_ms / 1000,
        ),
        _resource(service, instance),
        interval_ms=settings.metrics_interval_ms,
        timeout_ms=settings.metrics_timeout_ms,
        latest=settings.latest_names,
    )


def _resource(service: str, instance: str) -> "Resource":
    from opentelemetry.sdk.resources import Resource

    from droveway.otel import names

    return Resource.create(
        {
            names.SERVICE_NAME: f"droveway-{service}",
            names.SERVICE_INSTANCE_ID: instance,
            names.SERVICE_VERSION: importlib.metadata.version("droveway"),
        }
    )
