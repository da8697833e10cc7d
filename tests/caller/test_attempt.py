"""One attempt's record: its row, its times, and no span where nobody asked for one."""

import asyncio

import pytest

from droveway.caller.attempt import AttemptRecord
from droveway.contracts.dispatch import CallRouted, Target
from droveway.contracts.envelope import new_attempt_id, new_request_id
from droveway.contracts.errors import failure
from droveway.contracts.inference import Body
from droveway.contracts.relay import Usage
from droveway.dialects.events import Begun, Event, Text
from droveway.otel.context import format_traceparent, new_trace, parse_traceparent
from droveway.otel.setup import TelemetrySettings, install
from tests.support.otlp import OtlpReceiver

CHUNK: list[Event] = [Begun("c1", "served"), Text("12345678")]


def _call(ratio: float = 0.0) -> CallRouted:
    return CallRouted(
        attempt_id=new_attempt_id(),
        attempt=2,
        request_id=new_request_id(),
        relay_id=bytes(16),
        router="router-0",
        door="gateway-0",
        answer_to="_INBOX.gateway.gateway-00000000.t",
        traceparent=format_traceparent(new_trace(ratio)),
        tenant="acme",
        key_id="k1",
        dialect="openai.chat",
        model="asked",
        target=Target(provider="openai", credential="main", model="theirs"),
        stream=True,
        body=Body(size_bytes=2, inline=b"{}"),
        remaining_ms=1000,
        first_token_ms=1000,
        received_ns=1_000,
        routed_ns=5_000_000,
    )


def _record(ratio: float = 0.0) -> AttemptRecord:
    return AttemptRecord(_call(ratio), "caller-0", install("caller", "c", TelemetrySettings()))


def test_a_row_tells_the_phases_that_were_reached_in_order() -> None:
    record = _record()
    record.sent()
    record.headers(200)
    record.token()
    record.token()
    record.outcome = "completed"
    times = record.row().times
    reached = [times.sent_us, times.headers_us, times.first_token_us, times.last_token_us]
    assert None not in reached
    assert reached == sorted(reached, key=lambda us: us or 0)
    assert times.ended_us >= (times.last_token_us or 0)


def test_a_row_leaves_out_what_was_not_reached() -> None:
    record = _record()
    record.sent()
    record.fail(failure("provider_unavailable"))
    row = record.row()
    assert (row.outcome, row.code, row.status) == ("failed", "provider_unavailable", 0)
    assert row.times.headers_us is None
    assert row.times.first_token_us is None
    assert row.usage == Usage(estimated=True)


def test_a_row_names_target_span_and_origin() -> None:
    record = _record()
    record.facts.take(CHUNK)
    row, origin = record.row(), record.origin()
    parent = parse_traceparent(record.call.traceparent)
    span = parse_traceparent(row.traceparent)
    assert parent is not None
    assert span is not None
    assert span.trace_id == parent.trace_id
    assert span.span_id != parent.span_id
    assert (row.provider, row.credential, row.model) == ("openai", "main", "theirs")
    assert (row.served_model, origin.model) == ("served", "served")
    assert (origin.attempt, origin.caller, origin.router_us) == (2, "caller-0", 4_999)


def test_a_cut_answer_is_estimated_from_what_was_seen() -> None:
    record = _record()
    record.input_estimate_tokens = 40
    record.facts.take(CHUNK)
    assert record.row().usage == Usage(40, 2, estimated=True)


@pytest.mark.parametrize(
    ("code", "status", "tokens"),
    [
        ("client_closed_request", 0, 40),
        ("provider_timeout", 200, 40),
        ("client_closed_request", 429, 0),
        ("provider_unavailable", 0, 0),
    ],
)
def test_a_provider_that_was_left_at_work_has_read_the_input(
    code: str, status: int, tokens: int
) -> None:
    record = _record()
    record.input_estimate_tokens, record.status = 40, status
    record.fail(failure(code), "cancelled")
    assert record.row().usage == Usage(estimated=True), "nothing was sent"
    record.request_sent = True
    assert record.row().usage == Usage(tokens, 0, estimated=True)


def test_a_providers_endless_model_name_is_bounded() -> None:
    record = _record()
    record.facts.model = "m" * 100_000
    assert len(record.row().served_model) == 256
    assert len(record.origin().model) <= 256


async def test_only_a_sampled_attempt_leaves_spans() -> None:
    async with OtlpReceiver() as receiver:
        settings = TelemetrySettings(endpoint=receiver.traces_endpoint, schedule_delay_ms=10)
        telemetry = install("caller", "caller-0", settings)
        for ratio in (0.0, 1.0):
            record = AttemptRecord(_call(ratio), "caller-0", telemetry)
            record.sent()
            record.record_spans(None)
        spans = await receiver.wait(lambda spans: len(spans) >= 2)
        await asyncio.to_thread(telemetry.shutdown)
    assert sorted(span.name for span in spans) == ["attempt 2", "chat theirs"]
