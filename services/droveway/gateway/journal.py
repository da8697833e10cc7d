"""One request's record at its door: times and facts, then its row, spans, metrics and log line."""

import logging
import time
from typing import NamedTuple

from droveway.contracts import usage
from droveway.contracts.access import Key
from droveway.contracts.errors import Failure, failure, status_of
from droveway.contracts.inference import Standing
from droveway.contracts.relay import Completed, Interrupted, Origin, Usage
from droveway.gateway.entrance import Entrance
from droveway.gateway.exposition import ClientMetrics
from droveway.otel import names
from droveway.otel.context import TraceContext, child, format_traceparent
from droveway.otel.logs import request_line
from droveway.otel.setup import Telemetry
from droveway.runtime.spool import Spool

log = logging.getLogger(__name__)

CLIENT_GONE = 499


class Ledgers(NamedTuple):
    """Where a finished request is told."""

    telemetry: Telemetry
    spool: Spool
    metrics: ClientMetrics
    instance: str


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
            self.attempts = origin.attempt
            self.mark("first_frame")

    def end(self, terminal: Completed | Interrupted) -> None:
        """The answer's terminal has come."""
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
        first = self._marks.get("first_frame") if self.stream else None
        self._ledgers.metrics.observe(
            self.status,
            self.origin.provider if self.origin else "none",
            self.model if self.accepted else "none",
            duration_s,
            first - self._began_s if first else None,
        )
        if self.accepted and self.key is not None:
            self._ledgers.spool.put(self._row(self.key, ended_s))
        self._record_spans(ended_s)
        self._log(duration_s)

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
                names.DROVEWAY_OUTCOME: self.outcome,
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
            mode="stream" if self.stream else "whole",
            status=self.status,
            outcome=self.outcome,
            code=self.failure.code if self.failure else None,
            attempts=self.attempts,
            latency_ms=round(duration_s * 1000, 2),
            first_token_ms=round((first - self._began_s) * 1000, 2) if first else None,
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
        )

    def _at_us(self, phase: str) -> int | None:
        at_s = self._marks.get(phase)
        return None if at_s is None else max(0, int((at_s - self._began_s) * 1e6))
