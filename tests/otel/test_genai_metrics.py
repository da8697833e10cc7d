import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from droveway.otel import genai_metrics, names
from droveway.otel.genai import ClientAttempt, OtlpStatistics, ServerRequest
from droveway.otel.setup import Telemetry, TelemetrySettings, install
from tests.support.otlp import OtlpReceiver, ReceivedPoint
from tests.support.waiting import until

REGISTRY: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[2] / "otel" / "conventions.yaml").read_text()
)["otlp_metrics"]
ATTEMPT = ClientAttempt(
    operation="chat", provider="openai", model="gpt-4.1", response_model="gpt-4.1-2025",
    error="", server_address="api.openai.com", server_port=443, duration_s=1.5,
    first_chunk_s=0.25, per_chunk_s=0.03, counted=True, input_tokens=100, output_tokens=20,
    cache_read_tokens=60, cache_write_tokens=0, reasoning_tokens=5,
)  # fmt: skip
REQUEST = ServerRequest(
    operation="chat", provider="openai", model="gpt-4.1", response_model="gpt-4.1-2025", error="",
    duration_s=1.6, first_token_s=0.3, per_token_s=0.02,
)  # fmt: skip


@contextmanager
def telemetry(
    service: str, endpoint: str, *, latest: bool = False, interval_ms: int = 20
) -> Iterator[Telemetry]:
    settings = TelemetrySettings(
        metrics_endpoint=endpoint, metrics_interval_ms=interval_ms, latest_names=latest
    )
    installed = install(service, f"{service}1", settings)
    try:
        yield installed
    finally:
        installed.shutdown(limit_s=0.3)


def named(points: Sequence[ReceivedPoint]) -> dict[str, ReceivedPoint]:
    return {point.name: point for point in points}


def has(*wanted: str) -> Callable[[Sequence[ReceivedPoint]], bool]:
    return lambda points: set(wanted) <= {point.name for point in points}


async def test_a_caller_s_attempt_has_the_released_names_units_and_bounds() -> None:
    async with OtlpReceiver() as rx:
        with telemetry("caller", rx.metrics_endpoint) as caller:
            assert caller.genai is not None
            caller.genai.record_client(ATTEMPT)
            caller.genai.record_client(ATTEMPT)
            points = await rx.wait_points(has(names.OTLP_CLIENT_DURATION))
    found = named(points)
    assert set(found) == {
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.operation.time_per_output_chunk",
    }
    duration = found["gen_ai.client.operation.duration"]
    assert (duration.service, duration.observations, duration.sum) == ("droveway-caller", 2, 3.0)
    assert duration.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4.1",
        "gen_ai.response.model": "gpt-4.1-2025",
        "server.address": "api.openai.com",
        "server.port": 443,
    }
    tokens = {
        point.attributes["gen_ai.token.type"]: point.sum
        for point in points
        if point.name == "gen_ai.client.token.usage"
    }
    assert tokens == {"input": 200, "output": 40}
    assert_as_registered(points)


async def test_a_gateway_s_request_is_a_server_s() -> None:
    async with OtlpReceiver() as rx:
        with telemetry("gateway", rx.metrics_endpoint) as gateway:
            assert gateway.genai is not None
            gateway.genai.record_server(REQUEST)
            cut = REQUEST._replace(error="stream_interrupted", provider="", response_model="")
            gateway.genai.record_server(cut)
            points = await rx.wait_points(has(names.OTLP_SERVER_PER_TOKEN))
    assert_as_registered(points)
    counts = {
        (point.name, point.attributes.get("error.type")): point.observations
        for point in points
        if point.name != names.OTLP_SERVER_FIRST_TOKEN
    }
    assert counts == {
        ("gen_ai.server.request.duration", None): 1,
        ("gen_ai.server.request.duration", "stream_interrupted"): 1,
        ("gen_ai.server.time_per_output_token", None): 1,
    }


async def test_the_newest_names_are_sent_when_asked_for() -> None:
    async with OtlpReceiver() as rx:
        with telemetry("caller", rx.metrics_endpoint, latest=True) as caller:
            assert caller.genai is not None
            caller.genai.record_client(ATTEMPT)
            points = await rx.wait_points(has(names.OTLP_CLIENT_DURATION_LATEST))
    assert_as_registered(points)
    assert {point.name.removeprefix("gen_ai.client.inference."): point.sum for point in points} == {
        "duration": 1.5,
        "time_to_first_chunk": 0.25,
        "time_per_output_chunk": 0.03,
        "operation.input_tokens": 100,
        "operation.output_tokens": 20,
        "usage.input_tokens": 100,
        "usage.output_tokens": 20,
        "usage.cache_read.input_tokens": 60,
        "usage.reasoning.output_tokens": 5,
    }


def assert_as_registered(points: Sequence[ReceivedPoint]) -> None:
    for point in points:
        entry = REGISTRY[point.name]
        assert point.unit == entry["unit"], point.name
        assert list(point.bounds) == entry.get("buckets", []), point.name


async def test_tokens_that_nobody_counted_are_not_recorded() -> None:
    async with OtlpReceiver() as rx:
        with telemetry("caller", rx.metrics_endpoint) as caller:
            assert caller.genai is not None
            caller.genai.record_client(ATTEMPT._replace(counted=False, first_chunk_s=None))
            points = await rx.wait_points(has(names.OTLP_CLIENT_DURATION))
    assert names.OTLP_CLIENT_TOKENS not in named(points)
    assert names.OTLP_CLIENT_FIRST_CHUNK not in named(points)


async def test_models_beyond_the_bound_are_other() -> None:
    async with OtlpReceiver() as rx:
        with telemetry("gateway", rx.metrics_endpoint, interval_ms=60_000) as gateway:
            assert gateway.genai is not None
            for number in range(genai_metrics._MAX_MODELS + 50):
                gateway.genai.record_server(REQUEST._replace(model=f"m-{number}"))
        points = await rx.wait_points(has(names.OTLP_SERVER_DURATION))
    counts = {
        point.attributes["gen_ai.request.model"]: point.observations
        for point in points
        if point.name == names.OTLP_SERVER_DURATION
    }
    assert len(counts) == genai_metrics._MAX_MODELS + 1
    assert counts["other"] == 50


async def test_a_hanging_collector_holds_neither_requests_nor_shutdown_back() -> None:
    async with OtlpReceiver(answers=False) as rx:
        with telemetry("gateway", rx.metrics_endpoint) as gateway:
            assert gateway.genai is not None
            gateway.genai.record_server(REQUEST)
            await rx.wait_exports(1)
            began = time.perf_counter()
            for _ in range(1_000):
                gateway.genai.record_server(REQUEST)
            recording_s = time.perf_counter() - began
            await asyncio.to_thread(gateway.shutdown, 0.3)
            total_s = time.perf_counter() - began
    assert recording_s < 0.2
    assert total_s - recording_s < 0.6


async def test_a_dead_collector_is_counted() -> None:
    async with OtlpReceiver() as rx:
        endpoint = rx.metrics_endpoint
    settings = TelemetrySettings(
        metrics_endpoint=endpoint, metrics_interval_ms=20, metrics_timeout_ms=20
    )
    caller = install("caller", "c1", settings)
    assert caller.genai is not None
    caller.genai.record_client(ATTEMPT)
    await until(lambda: (caller.otlp_statistics() or OtlpStatistics()).failed > 0)
    statistics = caller.otlp_statistics() or OtlpStatistics()
    await asyncio.to_thread(caller.shutdown, 0.1)
    assert (statistics.recorded, statistics.exported) == (1, 0)


async def test_the_last_sums_are_sent_at_shutdown() -> None:
    async with OtlpReceiver() as rx:
        with telemetry("gateway", rx.metrics_endpoint, interval_ms=60_000) as gateway:
            assert gateway.genai is not None
            gateway.genai.record_server(REQUEST)
            await asyncio.to_thread(gateway.shutdown)
            statistics = gateway.otlp_statistics()
        points = list(rx.points.values())
    assert statistics == OtlpStatistics(recorded=1, exported=1, failed=0)
    assert named(points)[names.OTLP_SERVER_DURATION].observations == 1


def test_a_service_that_sees_no_model_sends_no_metrics() -> None:
    settings = TelemetrySettings(metrics_endpoint="http://127.0.0.1:9/v1/metrics")
    limiter = install("limiter", "l1", settings)
    assert limiter.genai is None
    assert limiter.otlp_statistics() is None


def test_without_an_endpoint_nothing_is_made_or_imported() -> None:
    program = (
        "import sys\n"
        "from droveway.otel.setup import TelemetrySettings, install\n"
        "import droveway.gateway.journal, droveway.caller.attempt\n"
        "telemetry = install('caller', 'c1', TelemetrySettings.from_environ({}))\n"
        "assert telemetry.genai is None\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        pytest.param({}, "", id="unset"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/metrics", id="base"
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:1/m"}, "http://c:1/m", id="whole"
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_METRICS_EXPORTER": "none"},
            "",
            id="none",
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"},
            "",
            id="disabled",
        ),
    ],
)
def test_the_environment_names_the_endpoint(environ: dict[str, str], endpoint: str) -> None:
    assert TelemetrySettings.from_environ(environ).metrics_endpoint == endpoint


def test_the_environment_sets_names_intervals_and_headers() -> None:
    settings = TelemetrySettings.from_environ(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
            "OTEL_EXPORTER_OTLP_HEADERS": "a=1",
            "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "b=canary",
            "OTEL_SEMCONV_STABILITY_OPT_IN": "http, gen_ai_latest_experimental",
            "OTEL_METRIC_EXPORT_INTERVAL": "5000",
            "OTEL_METRIC_EXPORT_TIMEOUT": "2000",
        }
    )
    assert (settings.headers, settings.metrics_headers) == ("a=1", "b=canary")
    assert settings.latest_names
    assert (settings.metrics_interval_ms, settings.metrics_timeout_ms) == (5000, 2000)
    assert "canary" not in repr(settings)


def test_another_exporter_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="OTEL_METRICS_EXPORTER is 'prometheus'"):
        TelemetrySettings.from_environ({"OTEL_METRICS_EXPORTER": "prometheus"})
