"""One service's telemetry: installed by `main()`, closed as the last thing.

Nothing is global: several services may run as tasks of one process, each with its own resource,
queue and exporter. Without an endpoint there is no exporter, no thread and no import of the SDK;
trace context is passed on all the same.
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from droveway.otel.context import (
    Attributes,
    Clock,
    SpanEvent,
    SpanKind,
    TraceContext,
    continue_trace,
    parse_traceparent,
)

if TYPE_CHECKING:
    from droveway.otel.spans import SpanRecorder, SpanStatistics

SHUTDOWN_LIMIT_S = 2.0
_PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
_NO_ATTRIBUTES: Attributes = {}


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may turn about traces, by the standard `OTEL_*` variables."""

    endpoint: str = ""
    """The URL that takes OTLP/HTTP traces, path included; empty: nothing is exported."""
    headers: str = ""
    """`name=value,name=value` with percent escapes, sent with each export; may hold a secret."""
    sample_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    """The share of traces sampled that come without a parent; a parent decides for its own."""
    queue_spans: _PositiveInt = 2048
    """Spans that wait or are being sent; when full, new ones are dropped and counted."""
    batch_spans: _PositiveInt = 512
    """The most spans in one export."""
    schedule_delay_ms: _PositiveInt = 1000
    """The longest a span waits for its batch to fill."""
    export_timeout_ms: _PositiveInt = 10_000
    """One export with its retries; then its spans count as failed."""

    def __post_init__(self) -> None:
        if self.batch_spans > self.queue_spans:
            raise ValueError(
                f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE is {self.batch_spans}: expected at most "
                f"OTEL_BSP_MAX_QUEUE_SIZE, {self.queue_spans}"
            )

    def __repr__(self) -> str:
        return f"TelemetrySettings(endpoint={self.endpoint!r}, sample_ratio={self.sample_ratio})"

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str], *, sample_ratio: float = 0.1
    ) -> "TelemetrySettings":
        """Reads the `OTEL_*` variables; an empty variable counts as unset.

        Args:
            environ: The process's environment.
            sample_ratio: Holds where the environment names no sampler.

        Raises:
            ValueError: A variable has a value that we can't honour; the message names it.
        """
        if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return cls(sample_ratio=sample_ratio)
        values: dict[str, Any] = {
            "endpoint": _endpoint(environ),
            "headers": _first(environ, "TRACES_HEADERS", "HEADERS"),
            "sample_ratio": sample_ratio,
        }
        for field in msgspec.structs.fields(cls):
            variable = _VARIABLES.get(field.name, "")
            if raw := environ.get(variable):
                try:
                    values[field.name] = msgspec.convert(raw, field.type, strict=False)
                except msgspec.ValidationError as error:
                    raise ValueError(f"{variable} is {raw!r}: {error}") from error
        return cls(**values | _fixed_ratio(environ))


_VARIABLES = {
    "sample_ratio": "OTEL_TRACES_SAMPLER_ARG",
    "queue_spans": "OTEL_BSP_MAX_QUEUE_SIZE",
    "batch_spans": "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "schedule_delay_ms": "OTEL_BSP_SCHEDULE_DELAY",
    "export_timeout_ms": "OTEL_BSP_EXPORT_TIMEOUT",
}
_FIXED_RATIOS = {"parentbased_always_on": 1.0, "parentbased_always_off": 0.0}
_RATIO_SAMPLER = "parentbased_traceidratio"


class Telemetry:
    """One service's way to leave spans.

    Ask `wants(context)` before gathering attributes: when it is false nothing is built at all.
    """

    def __init__(self, settings: TelemetrySettings, recorder: "SpanRecorder | None") -> None:
        self.clock = Clock()
        self.sample_ratio = settings.sample_ratio
        """May be set at any time; holds from the next trace on."""
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

    def shutdown(self, limit_s: float = SHUTDOWN_LIMIT_S) -> None:
        """Sends what waits, for at most `limit_s` seconds even when the endpoint hangs.

        Blocks; from an event loop that still serves, call it by `asyncio.to_thread`.
        """
        if self._recorder is not None:
            self._recorder.shutdown(limit_s)


def install(service: str, instance: str, settings: TelemetrySettings) -> Telemetry:
    """Gives one service its telemetry, known to the backend as `droveway-<service>`."""
    return Telemetry(settings, _recorder(service, instance, settings))


def _recorder(service: str, instance: str, settings: TelemetrySettings) -> "SpanRecorder | None":
    if not settings.endpoint:
        return None
    # 130 ms of imports that a process without an endpoint doesn't pay.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.util.re import parse_env_headers

    from droveway.otel import names
    from droveway.otel.spans import SpanRecorder

    exporter = OTLPSpanExporter(
        endpoint=settings.endpoint,
        headers=parse_env_headers(settings.headers, liberal=True),
        timeout=settings.export_timeout_ms / 1000,
    )
    resource = Resource.create(
        {
            names.SERVICE_NAME: f"droveway-{service}",
            names.SERVICE_INSTANCE_ID: instance,
            names.SERVICE_VERSION: importlib.metadata.version("droveway"),
        }
    )
    return SpanRecorder(
        exporter,
        resource,
        queue_spans=settings.queue_spans,
        batch_spans=settings.batch_spans,
        schedule_delay_ms=settings.schedule_delay_ms,
    )


def _first(environ: Mapping[str, str], *suffixes: str) -> str:
    """The first of `OTEL_EXPORTER_OTLP_<suffix>` that is set, else an empty string."""
    values = (environ.get(f"OTEL_EXPORTER_OTLP_{suffix}") for suffix in suffixes)
    return next((value for value in values if value), "")


def _endpoint(environ: Mapping[str, str]) -> str:
    if full := _first(environ, "TRACES_ENDPOINT"):
        endpoint = full
    elif base := _first(environ, "ENDPOINT"):
        endpoint = base.removesuffix("/") + "/v1/traces"
    else:
        return ""
    if not endpoint.startswith(("http://", "https://")):
        raise ValueError(f"the OTEL_EXPORTER_OTLP_ENDPOINT {endpoint!r} isn't an http(s) URL")
    protocol = _first(environ, "TRACES_PROTOCOL", "PROTOCOL")
    if protocol not in ("", "http/protobuf"):
        raise ValueError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}: expected http/protobuf (port 4318)"
        )
    return endpoint


def _fixed_ratio(environ: Mapping[str, str]) -> dict[str, float]:
    sampler = environ.get("OTEL_TRACES_SAMPLER") or _RATIO_SAMPLER
    if sampler == _RATIO_SAMPLER:
        return {}
    if sampler not in _FIXED_RATIOS:
        known = ", ".join((*_FIXED_RATIOS, _RATIO_SAMPLER))
        raise ValueError(f"OTEL_TRACES_SAMPLER is {sampler!r}: expected one of {known}")
    return {"sample_ratio": _FIXED_RATIOS[sampler]}
