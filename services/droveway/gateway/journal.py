"""One request's record at its door, told once: as its row, spans, metrics and log line."""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from droveway.contracts import usage
from droveway.contracts.access import Key
from droveway.contracts.errors import Failure, failure
from droveway.contracts.events import MAX_MODEL_CHARS, RequestRefused
from droveway.gateway.entrance import Entrance
from droveway.gateway.error_classes import CLIENT_GONE
from droveway.gateway.exposition import NONE, ClientMetrics, Ended
from droveway.gateway.record import Record
from droveway.otel import names
from droveway.otel.context import TraceContext, child, format_traceparent
from droveway.otel.genai import OPERATIONS, ServerRequest
from droveway.otel.logs import request_line
from droveway.otel.setup import Telemetry
from droveway.runtime.spool import Spool

if TYPE_CHECKING:
    from droveway.otel.genai_metrics import GenAiMetrics

log = logging.getLogger(__name__)


class Ledgers(NamedTuple):
    """Where a finished request is told."""

    telemetry: Telemetry
    spool: Spool
    metrics: ClientMetrics
    instance: str
    tell: Callable[[RequestRefused], None] = lambda _event: None


class Journal(Record):
    """Tells everybody of the request when it is closed."""

    def __init__(
        self, ledgers: Ledgers, request_id: str, entrance: Entrance,
        traceparent: str | None, tracestate: str | None,
    ) -> None:  # fmt: skip
        super().__init__(request_id)
        self.span, self._parent = ledgers.telemetry.enter(traceparent, tracestate)
        self.enqueue_span: TraceContext = child(self.span)
        self._ledgers = ledgers
        self._entrance = entrance
        ledgers.metrics.inflight += 1

    def at_ns(self, at_s: float) -> int:
        """A monotonic time in Unix nanoseconds."""
        return self._ledgers.telemetry.clock.at_ns(at_s)

    def tell_of_attempt(self, row: usage.AttemptRecorded) -> None:
        """Records an attempt of the request that nobody else can tell of."""
        self._ledgers.spool.put(row)

    def close(self) -> None:
        """Row, spans, counters and the one log line."""
        if not self.status:  # an exception of ours: the HTTP server answers for it
            self.fail(failure("internal_error"))
        ended_s = time.monotonic()
        duration_s = ended_s - self._began_s
        self._observe(duration_s)
        if self.accepted and self.key is not None:
            self._ledgers.spool.put(self._row(self.key, ended_s))
        elif self.failure is not None and not self.accepted:
            self._ledgers.tell(self._refused(self.failure))
        self._record_spans(ended_s)
        self._log(duration_s)

    def _observe(self, duration_s: float) -> None:
        metrics, telemetry, origin = self._ledgers.metrics, self._ledgers.telemetry, self.origin
        first_s = self._first_frame_s()
        ended = Ended(
            self.status,
            origin.provider if origin else self._tried or NONE,
            self.model if self.accepted else NONE,
            self.failure,
            duration_s,
            first_s if self.stream else None,
            self._per_token_s(),
            self._overhead_s(first_s),
            self.span.trace_id.hex() if telemetry.wants(self.span) else "",
        )
        metrics.inflight -= 1
        metrics.observe(ended)
        if telemetry.genai is not None and self.accepted:
            self._measure(telemetry.genai, ended)

    def _measure(self, genai: "GenAiMetrics", ended: Ended) -> None:
        """The same for a collector that takes metrics of the GenAI conventions."""
        operation = OPERATIONS.get(self._entrance.operation)
        if operation is None:
            return
        left = "client_closed_request" if self.status == CLIENT_GONE else ""
        genai.record_server(
            ServerRequest(
                operation=operation,
                provider="" if ended.destination == NONE else ended.destination,
                model=self.model,
                response_model=self.origin.model if self.origin else "",
                error=self.failure.code if self.failure else left,
                duration_s=ended.duration_s,
                first_token_s=ended.first_token_s,
                per_token_s=ended.per_token_s,
            )
        )

    def _refused(self, why: Failure) -> RequestRefused:
        return RequestRefused(
            request_id=self.request_id,
            protocol=self._entrance.protocol,
            operation=self._entrance.operation,
            tenant=self.key.tenant if self.key else "",
            key_id=self.key.id if self.key else "",
            model=self.model[:MAX_MODEL_CHARS],
            status=self.status,
            code=why.code,
        )

    def _row(self, key: Key, ended_s: float) -> usage.RequestRecorded:
        origin = self.origin
        return usage.RequestRecorded(
            request_id=self.request_id,
            traceparent=format_traceparent(self.span),
            parent=format_traceparent(self._parent) if self._parent else "",
            tenant=key.tenant,
            key_id=key.id,
            door=self._ledgers.instance,
            protocol=self._entrance.protocol,
            operation=self._entrance.operation,
            model=self.model,
            stream=self.stream,
            outcome=self.outcome,
            status=self.status,
            code=self.failure.code if self.failure else "",
            attempts=self.attempts,
            channel=self._channel,
            provider=origin.provider if origin else "",
            served_model=origin.model[:256] if origin else "",
            attempt_id=origin.attempt_id if origin else b"",
            usage=self._used(),
            answer_bytes=self.answer_bytes,
            events=self.events,
            began_ns=self._ledgers.telemetry.clock.at_ns(self._began_s),
            times=usage.RequestTimes(
                authenticated_us=self._at_us("authenticated"),
                body_us=self._at_us("body"),
                enqueued_us=self._at_us("enqueued"),
                accepted_us=self._at_us("accepted"),
                first_frame_us=self._at_us("first_frame"),
                first_byte_us=self._at_us("first_byte"),
                ended_us=int((ended_s - self._began_s) * 1e6),
            ),
        )

    def _record_spans(self, ended_s: float) -> None:
        telemetry = self._ledgers.telemetry
        if not telemetry.wants(self.span):
            return
        clock = telemetry.clock
        error = self.failure.code if self.failure else None
        enqueued_s = self._marks.get("enqueued")
        if enqueued_s is not None:
            telemetry.record(
                name=names.SPAN_ENQUEUE,
                kind="producer",
                context=self.enqueue_span,
                parent=self.span,
                start_ns=clock.at_ns(self._marks.get("body", enqueued_s)),
                end_ns=clock.at_ns(enqueued_s),
                attributes={
                    names.MESSAGING_SYSTEM: "nats",
                    names.MESSAGING_OPERATION_NAME: "publish",
                    names.MESSAGING_OPERATION_TYPE: "send",
                    names.MESSAGING_MESSAGE_CONVERSATION_ID: self.request_id,
                },
            )
        telemetry.record(
            name=self._entrance.span_name,
            kind=self._entrance.span_kind,
            context=self.span,
            parent=self._parent,
            start_ns=clock.at_ns(self._began_s),
            end_ns=clock.at_ns(ended_s),
            attributes={
                **self._entrance.attributes,
                names.HTTP_RESPONSE_STATUS_CODE: self.status,
                names.DROVEWAY_REQUEST_ID: self.request_id,
                names.DROVEWAY_TENANT_ID: self.key.tenant if self.key else None,
                names.DROVEWAY_KEY_ID: self.key.id if self.key else None,
                names.GEN_AI_REQUEST_MODEL: self.model or None,
                names.DROVEWAY_CHANNEL: self._channel or None,
                names.DROVEWAY_OUTCOME: self.outcome,
                names.DROVEWAY_CONTINUATIONS: self.continuations or None,
                names.ERROR_TYPE: error,
            },
            error=error if self.status >= 500 or self.outcome == "interrupted" else None,
        )

    def _log(self, duration_s: float) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        first = self._marks.get("first_frame")
        request_line(
            log,
            trace=self.span,
            request_id=self.request_id,
            route=self._entrance.route,
            tenant=self.key.tenant if self.key else None,
            key=self.key.id if self.key else None,
            model=self.model or None,
            target=f"{self.origin.provider}/{self.origin.model}" if self.origin else None,
            channel=self._channel or None,
            mode="stream" if self.stream else "whole",
            status=self.status,
            outcome=self.outcome,
            code=self.failure.code if self.failure else None,
            attempts=self.attempts,
            continuations=self.continuations or None,
            latency_ms=round(duration_s * 1000, 2),
            first_token_ms=round((first - self._began_s) * 1000, 2) if first else None,
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
        )
