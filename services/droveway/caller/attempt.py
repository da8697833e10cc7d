"""One attempt's record while it runs: times, facts, outcome; at the end its row and its spans."""

import time

from droveway.caller.upstream import Upstream
from droveway.contracts import usage
from droveway.contracts.configuration import ConfigVersion
from droveway.contracts.dispatch import CallRouted
from droveway.contracts.errors import Failure
from droveway.contracts.relay import Origin, Usage
from droveway.dialects.facts import Facts
from droveway.otel import names
from droveway.otel.context import (
    SpanEvent,
    TraceContext,
    child,
    format_traceparent,
    parse_traceparent,
)
from droveway.otel.genai import OPERATIONS, ClientAttempt
from droveway.otel.setup import Telemetry

_LEFT = frozenset(
    {"client_closed_request", "deadline_exceeded", "provider_timeout", "server_shutting_down"}
)
_NO_TRACE = TraceContext(bytes(16), bytes(8), False)


class AttemptRecord:
    """What becomes one row of USAGE and, when sampled, two spans."""

    def __init__(
        self, call: CallRouted, caller: str, telemetry: Telemetry, config: ConfigVersion = ""
    ) -> None:
        self.call = call
        self.config = config
        """By which configuration it is made."""
        self.facts = Facts()
        self.outcome = "failed"
        self.failure: Failure | None = None
        self.status = 0
        self.committed = False
        self.request_sent = False
        self.malformed_events = 0
        self.input_estimate_tokens = 0
        self.warnings: tuple[str, ...] = ()
        self._caller = caller
        self._telemetry = telemetry
        self._parent = parse_traceparent(call.traceparent)
        self.span = child(self._parent) if self._parent else _NO_TRACE
        self._began_s = time.monotonic()
        self._sent_s = 0.0
        self._headers_s = 0.0
        self._first_token_s = 0.0
        self._last_token_s = 0.0
        self._chunks = 0

    def sent(self) -> None:
        """The request goes out now."""
        self._sent_s = time.monotonic()

    def headers(self, status: int) -> None:
        """The provider's answer has begun."""
        self.status = status
        self.request_sent = True
        self._headers_s = time.monotonic()

    def token(self) -> None:
        """Content has come."""
        self._last_token_s = time.monotonic()
        self._chunks += 1
        if not self._first_token_s:
            self._first_token_s = self._last_token_s

    def fail(self, failure: Failure, outcome: str = "failed") -> None:
        """The attempt ends badly."""
        self.failure = failure
        self.outcome = outcome

    def origin(self) -> Origin:
        """What the door learns with the first frame."""
        call = self.call
        return Origin(
            caller=self._caller,
            attempt_id=call.attempt_id,
            attempt=call.attempt,
            provider=call.target.provider,
            model=self.facts.model[:256] or call.target.model,
            router_us=max(0, call.routed_ns - call.received_ns) // 1000,
            upstream_us=max(0, int((self._last_token_s - self._sent_s) * 1e6)),
            warnings=self.warnings,
            channel=call.channel,
            target=f"{call.target.provider}/{call.target.model}",
            continuable=call.continuable,
        )

    @property
    def waited_s(self) -> float:
        """From its start to a stream's first token; 0 of an answer that comes whole."""
        return self._first_token_s - self._began_s if self.call.stream else 0.0

    def used(self) -> Usage:
        """Tokens as the provider told them, else estimated from what was seen.

        A provider that was left while it worked has read the input, and bills it.
        """
        told = self.facts.settle(self.input_estimate_tokens)
        if not self._left_at_work or told.input_tokens or told.output_tokens:
            return told
        return Usage(self.input_estimate_tokens, 0, estimated=True)

    @property
    def _left_at_work(self) -> bool:
        """It had the request, refused nothing, and nobody waited for its answer any longer."""
        code = self.failure.code if self.failure is not None else ""
        accepted = self.status == 0 or 200 <= self.status < 300
        return self.request_sent and accepted and code in _LEFT

    def row(self) -> usage.AttemptRecorded:
        """The attempt's row; call once, at its end."""
        call = self.call
        return usage.AttemptRecorded(
            attempt_id=call.attempt_id,
            request_id=call.request_id,
            attempt=call.attempt,
            traceparent=format_traceparent(self.span),
            tenant=call.tenant,
            key_id=call.key_id,
            caller=self._caller,
            router=call.router,
            provider=call.target.provider,
            credential=call.target.credential,
            model=call.target.model,
            asked_model=call.model,
            channel=call.channel,
            served_model=self.facts.model[:256],
            stream=call.stream,
            outcome=self.outcome,
            code=self.failure.code if self.failure else "",
            status=self.status,
            finish_reason=self.facts.finish_reason[:64],
            committed=self.committed,
            request_sent=self.request_sent,
            usage=self.used(),
            received_ns=call.received_ns,
            admitted_ns=call.admitted_ns,
            routed_ns=call.routed_ns,
            began_ns=self._telemetry.clock.at_ns(self._began_s),
            times=usage.AttemptTimes(
                sent_us=self._since(self._sent_s),
                headers_us=self._since(self._headers_s),
                first_token_us=self._since(self._first_token_s),
                last_token_us=self._since(self._last_token_s),
                ended_us=self._since(time.monotonic()) or 0,
            ),
        )

    def record_metrics(self, upstream: Upstream) -> None:
        """Tells the attempt's times and tokens to whoever takes metrics by OTLP."""
        genai, call = self._telemetry.genai, self.call
        operation = OPERATIONS.get(call.dialect)
        if genai is None or operation is None or not self._sent_s:
            return
        used = self.used()
        first_s, chunks = self._first_token_s, self._chunks
        streamed = call.stream and first_s > 0
        host, port = upstream.address
        genai.record_client(
            ClientAttempt(
                operation=operation,
                provider=call.target.provider,
                model=call.target.model,
                response_model=self.facts.model,
                error=self.failure.code if self.failure is not None else "",
                server_address=host,
                server_port=port,
                duration_s=time.monotonic() - self._sent_s,
                first_chunk_s=first_s - self._sent_s if streamed else None,
                per_chunk_s=(
                    (self._last_token_s - first_s) / (chunks - 1)
                    if streamed and chunks > 1
                    else None
                ),
                counted=not used.estimated and used != Usage(),
                input_tokens=used.input_tokens,
                output_tokens=used.output_tokens,
                cache_read_tokens=used.cache_read_tokens,
                cache_write_tokens=used.cache_write_tokens,
                reasoning_tokens=used.reasoning_tokens,
            )
        )

    def record_spans(self, upstream: Upstream | None) -> None:
        """Leaves `attempt n` and beneath it `chat <model>`, when the trace is sampled."""
        telemetry = self._telemetry
        if not telemetry.wants(self.span):
            return
        now_ns = telemetry.clock.now_ns()
        bad = self.failure is not None and self.outcome != "cancelled"
        error = self.failure.code if self.failure is not None and bad else None
        if self._sent_s:
            self._record_chat(upstream, now_ns, error)
        call = self.call
        telemetry.record(
            name=names.SPAN_ATTEMPT.format(attempt=call.attempt),
            kind="consumer",
            context=self.span,
            parent=self._parent,
            start_ns=telemetry.clock.at_ns(self._began_s),
            end_ns=now_ns,
            attributes={
                names.DROVEWAY_REQUEST_ID: call.request_id,
                names.DROVEWAY_TENANT_ID: call.tenant,
                names.DROVEWAY_ATTEMPT: call.attempt,
                names.DROVEWAY_TARGET: f"{call.target.provider}/{call.target.model}",
                names.DROVEWAY_CREDENTIAL: call.target.credential,
                names.DROVEWAY_CHANNEL: call.channel or None,
                names.DROVEWAY_CONFIG_VERSION: self.config or None,
                names.DROVEWAY_COMMITTED: self.committed,
                names.DROVEWAY_MALFORMED_EVENTS: self.malformed_events or None,
                names.DROVEWAY_OUTCOME: self.outcome,
                names.ERROR_TYPE: error,
            },
            error=error,
        )

    def _record_chat(self, upstream: Upstream | None, now_ns: int, error: str | None) -> None:
        clock = self._telemetry.clock
        facts, call = self.facts, self.call
        used = self.used()
        events: list[SpanEvent] = []
        if self._first_token_s:
            events.append((names.EVENT_FIRST_TOKEN, clock.at_ns(self._first_token_s), {}))
            events.append((names.EVENT_LAST_TOKEN, clock.at_ns(self._last_token_s), {}))
        first_s = self._first_token_s - self._sent_s if self._first_token_s else None
        host, port = upstream.address if upstream is not None else (None, None)
        self._telemetry.record(
            name=names.SPAN_INFERENCE.format(operation="chat", model=call.target.model),
            kind="client",
            context=child(self.span),
            parent=self.span,
            start_ns=clock.at_ns(self._sent_s),
            end_ns=now_ns,
            attributes={
                names.GEN_AI_OPERATION_NAME: "chat",
                names.GEN_AI_PROVIDER_NAME: call.target.provider,
                names.GEN_AI_REQUEST_MODEL: call.target.model,
                names.GEN_AI_REQUEST_STREAM: True if call.stream else None,
                names.GEN_AI_RESPONSE_MODEL: facts.model or None,
                names.GEN_AI_RESPONSE_ID: facts.response_id or None,
                names.GEN_AI_RESPONSE_FINISH_REASONS: facts.finish_reasons or None,
                names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: first_s if call.stream else None,
                names.GEN_AI_USAGE_INPUT_TOKENS: used.input_tokens,
                names.GEN_AI_USAGE_OUTPUT_TOKENS: used.output_tokens,
                names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: used.cache_read_tokens or None,
                names.HTTP_RESPONSE_STATUS_CODE: self.status or None,
                names.SERVER_ADDRESS: host,
                names.SERVER_PORT: port,
                names.ERROR_TYPE: error,
            },
            events=events,
            error=error,
        )

    def _since(self, at_s: float) -> int | None:
        return max(0, int((at_s - self._began_s) * 1e6)) if at_s else None
