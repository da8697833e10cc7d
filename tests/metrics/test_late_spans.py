"""Spans of requests that weren't sampled, built afterwards when they are worth it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from droveway.contracts.usage import RequestTimes
from droveway.metrics.late_spans import LateSpans
from droveway.otel.setup import Telemetry, TelemetrySettings, install
from tests.support.otlp import OtlpReceiver, assert_one_trace, tree
from tests.support.rows import attempt_row, request_row

TREE = (
    "droveway-metrics: POST /v1/chat/completions [SERVER]\n  droveway-metrics: attempt 1 [CONSUMER]"
)


@pytest.fixture
async def receiver() -> AsyncIterator[OtlpReceiver]:
    async with OtlpReceiver() as otlp:
        yield otlp


@pytest.fixture
async def telemetry(receiver: OtlpReceiver) -> AsyncIterator[Telemetry]:
    settings = TelemetrySettings(endpoint=receiver.traces_endpoint, schedule_delay_ms=20)
    installed = install("metrics", "metrics-0", settings)
    yield installed
    await asyncio.to_thread(installed.shutdown)


def _late(telemetry: Telemetry, max_pending: int = 10) -> LateSpans:
    return LateSpans(telemetry, 30.0, max_pending)


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "failed", "status": 503, "code": "provider_unavailable"},
        {"outcome": "interrupted", "code": "stream_interrupted"},
        {"times": RequestTimes(ended_us=30_000_001)},
    ],
)
async def test_failed_and_slow_requests_are_traced_afterwards(
    telemetry: Telemetry, receiver: OtlpReceiver, changes: dict[str, Any]
) -> None:
    late, request = _late(telemetry), request_row(**changes)
    late.saw_attempt(attempt_row(request))
    late.saw_request(request)
    spans = await receiver.wait(lambda spans: len(spans) == 2)
    assert tree(spans) == TREE
    assert assert_one_trace(spans).attributes["droveway.late"] is True


async def test_rows_may_cross(telemetry: Telemetry, receiver: OtlpReceiver) -> None:
    late, request = _late(telemetry), request_row(outcome="interrupted", code="stream_interrupted")
    late.saw_request(request)
    late.saw_attempt(attempt_row(request))
    spans = await receiver.wait(lambda spans: len(spans) == 2)
    assert tree(spans) == TREE


async def test_good_cancelled_and_sampled_requests_are_left_alone(
    telemetry: Telemetry, receiver: OtlpReceiver
) -> None:
    late = _late(telemetry)
    left_alone = [
        request_row(),
        request_row(outcome="cancelled", status=499),
        request_row(ratio=1.0, outcome="failed", status=503),
    ]
    for request in left_alone:
        late.saw_attempt(attempt_row(request))
        late.saw_request(request)
    last = request_row(outcome="failed")
    late.saw_request(last)
    spans = await receiver.wait(lambda spans: len(spans) >= 1)
    assert len(spans) == 1


def test_what_is_kept_is_bounded() -> None:
    late = _late(install("metrics", "metrics-0", TelemetrySettings()), max_pending=3)
    for _ in range(10):
        late.saw_attempt(attempt_row())
    assert len(late._attempts) == 3


async def test_a_request_over_the_bus_gets_the_root_of_its_door(
    telemetry: Telemetry, receiver: OtlpReceiver
) -> None:
    request = request_row(outcome="failed", status=503, protocol="nats")
    _late(telemetry).saw_request(request)
    (root,) = await receiver.wait(lambda spans: len(spans) == 1)
    assert (root.name, root.kind) == ("request chat-completions", "CONSUMER")
    assert root.attributes["droveway.door"] == "nats"
