"""A request on its way to the bus: its payload, its headers, and its span."""

from collections.abc import Mapping
from typing import Any

import msgspec
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from droveway.client.errors import Failed
from droveway.client.exchange import Exchange, Watch
from droveway.contracts import client
from droveway.contracts.errors import CATALOGUE, failure, status_of
from droveway.otel import names
from droveway.runtime.bus import Bus

_encode = msgspec.msgpack.Encoder().encode
_propagator = TraceContextTextMapPropagator()


class Published:
    """A request that was sent, with its span, which ends when the outcome is known."""

    def __init__(self, exchange: Exchange, span: trace.Span) -> None:
        self.exchange = exchange
        self._span = span

    def close(self, error: BaseException | None) -> None:
        """Ends both; `error` is what the answer, or the application inside it, ended with."""
        self.exchange.close()
        if request_id := self.exchange.request_id:
            self._span.set_attribute(names.DROVEWAY_REQUEST_ID, request_id)
        if error is not None:
            kind = getattr(error, "code", "") or type(error).__name__
            self._span.set_attribute(names.ERROR_TYPE, kind)
            self._span.set_status(trace.StatusCode.ERROR, kind)
        self._span.end()


class Request:
    """What `publish` sends; nothing is sent before."""

    def __init__(
        self,
        bus: Bus,
        watch: Watch,
        tracer: trace.Tracer,
        *,
        subject: str,
        body: Mapping[str, Any],
        headers: Mapping[str, str],
    ) -> None:
        self._bus = bus
        self._watch = watch
        self._tracer = tracer
        self._subject = subject
        self._payload = _encode(body)
        self._headers = dict(headers)
        if len(self._payload) > client.MAX_MESSAGE_BYTES:
            raise Failed(_too_large(len(self._payload)))

    def publish(self) -> Published:
        """Sends it, below the span that is current.

        Raises:
            NotConnected: There is no connection to send it by.
        """
        span = self._tracer.start_span(
            names.SPAN_ENQUEUE,
            kind=trace.SpanKind.PRODUCER,
            attributes={
                names.MESSAGING_SYSTEM: "nats",
                names.MESSAGING_OPERATION_NAME: "publish",
                names.MESSAGING_OPERATION_TYPE: "send",
                names.MESSAGING_DESTINATION_NAME: self._subject,
                names.MESSAGING_MESSAGE_BODY_SIZE: len(self._payload),
            },
        )
        headers = dict(self._headers)
        _propagator.inject(headers, trace.set_span_in_context(span))
        published = Published(Exchange(self._bus, self._watch), span)
        try:
            published.exchange.publish(self._subject, self._payload, headers)
        except BaseException as error:
            published.close(error)
            raise
        return published


def _too_large(size_bytes: int) -> client.Failed:
    """What the gateway would answer, without sending it."""
    known = failure("request_too_large")
    entry = CATALOGUE[known.code]
    text = f"{size_bytes} bytes exceed the {client.MAX_MESSAGE_BYTES} of one message; use HTTP"
    error = client.Error(message=text, type=entry.type, param=None, code=known.code)
    return client.Failed(status=status_of(known), error=error, should_retry=False)
