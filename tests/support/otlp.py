"""An OTLP/HTTP receiver on a free loopback port: spans with claims about them, and metrics."""

import asyncio
import contextlib
import gzip
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as WireMetric
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

Value = str | bool | int | float | bytes | list["Value"] | dict[str, "Value"] | None


class ReceivedEvent(NamedTuple):
    name: str
    at_ns: int
    attributes: Mapping[str, Value]


@dataclass(frozen=True, kw_only=True)
class ReceivedSpan:
    """A span as it came over the wire; ids as bytes, like those of `TraceContext`."""

    service: str
    resource: Mapping[str, Value]
    name: str
    kind: str
    """`SERVER`, `CLIENT`, `PRODUCER`, `CONSUMER` or `INTERNAL`."""
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    """Empty for a root."""
    tracestate: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value]
    events: Sequence[ReceivedEvent]
    links: Sequence[tuple[bytes, bytes]]
    """Trace and span ids."""
    status: str
    """`UNSET`, `OK` or `ERROR`."""
    status_message: str


class ReceivedPoint(NamedTuple):
    """One series' sum or histogram as the last export told it."""

    service: str
    name: str
    unit: str
    attributes: Mapping[str, Value]
    observations: int
    """Of a histogram; 1 for a sum."""
    sum: float
    bounds: tuple[float, ...]
    """Of a histogram's buckets."""


@dataclass
class OtlpReceiver:
    """Records every span and each series' last point that is posted to it.

    Args:
        answers: False makes it read each export and never answer.
    """

    answers: bool = True
    spans: list[ReceivedSpan] = field(default_factory=list)
    points: dict[tuple[str, str, str], ReceivedPoint] = field(default_factory=dict)
    """By service, name and attributes."""
    headers: list[Mapping[str, str]] = field(default_factory=list)
    """Of each export, names in lower case."""
    _server: asyncio.Server | None = None
    _connections: set[asyncio.Task[None]] = field(default_factory=set)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def endpoint(self) -> str:
        """The value for OTEL_EXPORTER_OTLP_ENDPOINT."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def traces_endpoint(self) -> str:
        """The full URL that takes traces."""
        return f"{self.endpoint}/v1/traces"

    async def wait(
        self, enough: Callable[[Sequence[ReceivedSpan]], bool], timeout: float = 5.0
    ) -> list[ReceivedSpan]:
        """The spans so far, as soon as `enough` holds for them."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: enough(self.spans))
        except TimeoutError:
            raise AssertionError(f"not enough in {timeout} s:\n{tree(self.spans)}") from None
        return list(self.spans)

    @property
    def metrics_endpoint(self) -> str:
        """The full URL that takes metrics."""
        return f"{self.endpoint}/v1/metrics"

    async def wait_points(
        self, enough: Callable[[Sequence[ReceivedPoint]], bool], timeout: float = 5.0
    ) -> list[ReceivedPoint]:
        """Each series' last point, as soon as `enough` holds for them."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: enough(list(self.points.values())))
        return list(self.points.values())

    async def wait_exports(self, count: int, timeout: float = 5.0) -> None:
        """Returns when `count` exports have been read, answered or not."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: len(self.headers) >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            with contextlib.suppress(
                asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError
            ):
                while True:
                    await self._export(reader, writer)
        finally:
            writer.close()

    async def _export(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        pairs = (line.partition(":") for line in head.splitlines()[1:] if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        async with self._changed:
            self.headers.append(headers)
            answer = self._take(head.split()[1], body)
            self._changed.notify_all()
        if not self.answers:
            await asyncio.Event().wait()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(answer), answer)
        )
        await writer.drain()

    def _take(self, path: str, body: bytes) -> bytes:
        if path == "/v1/metrics":
            for point in _points(ExportMetricsServiceRequest.FromString(body)):
                series = (point.service, point.name, repr(sorted(point.attributes.items())))
                self.points[series] = point
            metrics_answer: bytes = ExportMetricsServiceResponse().SerializeToString()
            return metrics_answer
        self.spans.extend(_received(ExportTraceServiceRequest.FromString(body)))
        traces_answer: bytes = ExportTraceServiceResponse().SerializeToString()
        return traces_answer


def tree(spans: Iterable[ReceivedSpan]) -> str:
    """The spans as an indented outline, for people and for comparing shapes.

    A span whose parent isn't among them stands at the margin.
    """
    ordered = sorted(spans, key=lambda span: span.start_ns)
    known = {span.span_id for span in ordered}
    lines: list[str] = []

    def add(span: ReceivedSpan, depth: int) -> None:
        lines.append(f"{'  ' * depth}{span.service}: {span.name} [{span.kind}]")
        for below in ordered:
            if below.parent_id == span.span_id:
                add(below, depth + 1)

    for span in ordered:
        if span.parent_id not in known:
            add(span, 0)
    return "\n".join(lines)


def assert_one_trace(spans: Sequence[ReceivedSpan], remote_parent: bytes = b"") -> ReceivedSpan:
    """Claims that the spans are one whole trace and returns its root.

    One trace id, span ids used once, no orphan, no child that starts before its parent, and one
    root, whose parent is `remote_parent`: the span id of a client's `traceparent`, or none.
    """
    shape = tree(spans)
    assert len({span.trace_id for span in spans}) == 1, f"expected one trace id:\n{shape}"
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans), f"a span id is used twice:\n{shape}"
    roots = [span for span in spans if span.parent_id == remote_parent]
    assert len(roots) == 1, f"expected one root, got {len(roots)}:\n{shape}"
    for span in spans:
        assert span.end_ns >= span.start_ns, f"{span.name} ends before it starts"
        if span is roots[0]:
            continue
        parent = by_id.get(span.parent_id)
        assert parent is not None, f"{span.name} is an orphan:\n{shape}"
        early_ns = parent.start_ns - span.start_ns
        assert early_ns <= 0, f"{span.name} starts {early_ns} ns before its parent {parent.name}"
    return roots[0]


def _received(request: ExportTraceServiceRequest) -> Iterable[ReceivedSpan]:
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _span(span, resource)


def _span(span: WireSpan, resource: Mapping[str, Value]) -> ReceivedSpan:
    return ReceivedSpan(
        service=str(resource.get("service.name", "")),
        resource=resource,
        name=span.name,
        kind=WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_span_id,
        tracestate=span.trace_state,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        events=[
            ReceivedEvent(event.name, event.time_unix_nano, _attributes(event.attributes))
            for event in span.events
        ],
        links=[(link.trace_id, link.span_id) for link in span.links],
        status=Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        status_message=span.status.message,
    )


def _points(request: ExportMetricsServiceRequest) -> Iterable[ReceivedPoint]:
    for resource_metrics in request.resource_metrics:
        service = str(_attributes(resource_metrics.resource.attributes).get("service.name", ""))
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                yield from _points_of(metric, service)


def _points_of(metric: WireMetric, service: str) -> Iterable[ReceivedPoint]:
    for point in metric.histogram.data_points:
        yield ReceivedPoint(
            service, metric.name, metric.unit, _attributes(point.attributes),
            point.count, point.sum, tuple(point.explicit_bounds),
        )  # fmt: skip
    for number in metric.sum.data_points:
        total = float(number.as_int or number.as_double)
        attributes = _attributes(number.attributes)
        yield ReceivedPoint(service, metric.name, metric.unit, attributes, 1, total, ())


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    match value.WhichOneof("value"):
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case None:
            return None
        case kind:
            scalar: Value = getattr(value, kind)
            return scalar
