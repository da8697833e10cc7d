"""One request's record at its door: times and facts, then its row, spans, metrics and log line."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from droveway.contracts import usage
from droveway.contracts.access import Key
from droveway.contracts.errors import Failure, failure, status_of
from droveway.contracts.events import MAX_MODEL_CHARS, RequestRefused
from droveway.contracts.inference import Standing, TriedTarget
from droveway.contracts.relay import Completed, Interrupted, Origin, Usage
from droveway.gateway.entrance import Entrance
from droveway.gateway.error_classes import CLIENT_GONE
from droveway.gateway.exposition import NONE, ClientMetrics, Ended
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


class Journal:
    """Filled in as the request goes; `close` tells everybody once."""

    def __init__(
        self, ledgers: Ledgers, request_id: str, entrance: Entrance,
        traceparent: str | None, tracestate: str | None,
    ) -> None:  # fmt: skip
        self.request_id = request_id
        self.span, self._parent = ledgers.telemetry.enter(traceparent, tracestate)
        self.enqueue_span: TraceContext = child(self.span)
        self.key: Key | None = None
        self.model = ""
        self.stream = False
        self.status = 0
        self.outcome = "failed"
        self.failure: Failure | None = None
        self.origin: Origin | None = None
        self.usage = Usage()
        self.input_estimate_tokens = 0
        self.attempts = 0
        self.continuations = 0
        """How often another target went on with the answer."""
        self._upstream_s: float | None = None
        """The first answer's time at its provider, before its first content."""
        self._tried = ""
        self._channel = ""
        self.accepted = False
        self.standing: Standing | None = None
        self.warnings: tuple[str, ...] = ()
        """What the provider won't get of the request, as far as the door knows."""
        self.answer_bytes = 0
        self.events = 0
        self._ledgers = ledgers
        self._entrance = entrance
        self._began_s = time.monotonic()
        self._marks: dict[str, float] = {}
        ledgers.metrics.inflight += 1

    def mark(self, phase: str, at_s: float | None = None) -> None:
        """Notes the (monotonic) time of a phase; the first time counts."""
        self._marks.setdefault(phase, time.monotonic() if at_s is None else at_s)

    def elapsed_us(self) -> int:
        """Microseconds since the request came."""
        return int((time.monotonic() - self._began_s) * 1e6)

    def fail(self, occurrence: Failure, outcome: str = "failed") -> None:
        """The request ends badly, with the status that the client gets or would have got."""
        self.failure = occurrence
        self.outcome = outcome
        self.status = self.status or status_of(occurrence)

    def finish(self, status: int) -> None:
        """The gateway has answered by itself, and well."""
        self.outcome = "completed"
        self.status = status

    def leave(self) -> None:
        """The client left first."""
        self.outcome = "cancelled"
        self.status = CLIENT_GONE

    def saw(self, origin: Origin | None) -> None:
        """The first frame says who answers."""
        if origin is not None:
            self.origin = origin
            if self._upstream_s is None:
                self._upstream_s = origin.upstream_us / 1e6
            self._channel = origin.channel
            self.attempts = origin.attempt
            self.mark("first_frame")

    def saw_failed(self, tried: Sequence[TriedTarget]) -> None:
        """No attempt committed; the last one's provider is where the request went."""
        self.attempts = max(self.attempts, len(tried))
        self._tried = tried[-1].target.partition("/")[0] if tried else ""
        self._channel = tried[-1].channel if tried else ""

    def end(self, terminal: Completed | Interrupted) -> None:
        """The answer's terminal has come."""
        self.mark("last_frame")
        self.usage = terminal.usage
        if isinstance(terminal, Interrupted):
            self.failure = terminal.failure
            self.outcome = "interrupted"
        else:
            self.outcome = "completed"

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

    def _overhead_s(self, first_s: float | None) -> float | None:
        """What the first content waited for beyond its provider's own time."""
        if first_s is None or self._upstream_s is None:
            return None
        return max(0.0, first_s - self._upstream_s)

    def _first_frame_s(self) -> float | None:
        at_s = self._marks.get("first_frame")
        return None if at_s is None else at_s - self._began_s

    def _per_token_s(self) -> float | None:
        """The mean over a streamed answer's tokens after the first one, as the provider counts."""
        first_s, last_s = self._marks.get("first_frame"), self._marks.get("last_frame")
        tokens = 0 if self.usage.estimated else self.usage.output_tokens
        if not self.stream or first_s is None or last_s is None or tokens < 2:
            return None
        return (last_s - first_s) / (tokens - 1)

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

    def _used(self) -> Usage:
        """As its caller told; of an answer that was cut before that, what the client saw of it."""
        cut = self.outcome in ("interrupted", "cancelled") and self.origin is not None
        if not cut or self.usage != Usage():
            return self.usage
        return Usage(self.input_estimate_tokens, self.events if self.stream else 0, estimated=True)

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

    def _at_us(self, phase: str) -> int | None:
        at_s = self._marks.get(phase)
        return None if at_s is None else max(0, int((at_s - self._began_s) * 1e6))
