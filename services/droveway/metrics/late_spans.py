"""Spans of requests that weren't sampled but failed or were slow, built from their rows."""

from collections import OrderedDict

from droveway.contracts.usage import AttemptRecorded, RequestRecorded
from droveway.otel import names
from droveway.otel.context import SpanKind, TraceContext, child, keep, parse_traceparent
from droveway.otel.setup import Telemetry

_ROOTS: dict[tuple[str, str], tuple[str, SpanKind]] = {
    ("http", "chat.completions"): (
        names.SPAN_SERVER.format(method="POST", route="/v1/chat/completions"),
        "server",
    ),
    ("nats", "chat.completions"): (
        names.SPAN_REQUEST.format(operation="chat-completions"),
        "consumer",
    ),
}
"""By protocol and operation as rows name them: the root is as it would have been if sampled."""
_UNSAMPLED = "-00"
"""How the `traceparent` ends; it is taken apart only for a request that gets spans."""


class LateSpans:
    """Keeps attempts until their request's row comes; then decides."""

    def __init__(self, telemetry: Telemetry, slow_s: float, max_pending: int) -> None:
        self._telemetry = telemetry
        self._slow_us = int(slow_s * 1e6)
        self._max_pending = max_pending
        self._attempts: OrderedDict[str, list[AttemptRecorded]] = OrderedDict()
        self._built: OrderedDict[str, TraceContext] = OrderedDict()

    def saw_attempt(self, row: AttemptRecorded) -> None:
        """Keeps an unsampled attempt; a sampled one has left its spans already."""
        if not row.traceparent.endswith(_UNSAMPLED):
            return
        if (root := self._built.get(row.request_id)) is not None:  # rows of two services can cross
            self._record_attempt(row, parse_traceparent(row.traceparent) or child(root), root)
            return
        self._attempts.setdefault(row.request_id, []).append(row)
        if len(self._attempts) > self._max_pending:
            self._attempts.popitem(last=False)

    def saw_request(self, row: RequestRecorded) -> None:
        """Builds the request's spans when it failed or was slow."""
        attempts = self._attempts.pop(row.request_id, [])
        if row.outcome not in ("failed", "interrupted") and row.times.ended_us <= self._slow_us:
            return
        root = parse_traceparent(row.traceparent)
        if root is not None and not root.sampled and self._telemetry.wants(keep(root)):
            self._build(row, keep(root), attempts)

    def passed_by(self, row: RequestRecorded) -> None:
        """Spans of it come too late: it ended long ago, or before this ledger began."""
        self._attempts.pop(row.request_id, None)

    def _build(
        self, row: RequestRecorded, root: TraceContext, attempts: list[AttemptRecorded]
    ) -> None:
        self._built[row.request_id] = root
        if len(self._built) > self._max_pending:
            self._built.popitem(last=False)
        for attempt in attempts:
            span = parse_traceparent(attempt.traceparent) or child(root)
            self._record_attempt(attempt, span, root)
        self._record_root(row, root)

    def _record_attempt(
        self, attempt: AttemptRecorded, span: TraceContext, root: TraceContext
    ) -> None:
        self._telemetry.record(
            name=names.SPAN_ATTEMPT.format(attempt=attempt.attempt),
            kind="consumer",
            context=keep(span),
            parent=root,
            start_ns=attempt.began_ns,
            end_ns=attempt.began_ns + attempt.times.ended_us * 1000,
            attributes={
                names.DROVEWAY_REQUEST_ID: attempt.request_id,
                names.DROVEWAY_ATTEMPT: attempt.attempt,
                names.DROVEWAY_TARGET: f"{attempt.provider}/{attempt.model}",
                names.DROVEWAY_CHANNEL: attempt.channel or None,
                names.DROVEWAY_OUTCOME: attempt.outcome,
                names.HTTP_RESPONSE_STATUS_CODE: attempt.status or None,
                names.GEN_AI_USAGE_INPUT_TOKENS: attempt.usage.input_tokens,
                names.GEN_AI_USAGE_OUTPUT_TOKENS: attempt.usage.output_tokens,
                names.ERROR_TYPE: attempt.code or None,
            },
            error=attempt.code or None,
        )

    def _record_root(self, row: RequestRecorded, root: TraceContext) -> None:
        name, kind = _ROOTS.get((row.protocol, row.operation), (row.operation, "server"))
        self._telemetry.record(
            name=name,
            kind=kind,
            context=root,
            parent=parse_traceparent(row.parent),
            start_ns=row.began_ns,
            end_ns=row.began_ns + row.times.ended_us * 1000,
            attributes={
                names.DROVEWAY_REQUEST_ID: row.request_id,
                names.DROVEWAY_TENANT_ID: row.tenant,
                names.DROVEWAY_DOOR: row.protocol,
                names.GEN_AI_REQUEST_MODEL: row.model,
                names.HTTP_RESPONSE_STATUS_CODE: row.status,
                names.DROVEWAY_CHANNEL: row.channel or None,
                names.DROVEWAY_OUTCOME: row.outcome,
                names.DROVEWAY_LATE: True,
                names.ERROR_TYPE: row.code or None,
            },
            error=row.code or None,
        )
