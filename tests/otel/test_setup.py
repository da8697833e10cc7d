import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from droveway.otel.context import TraceContext, child, format_traceparent, keep, new_trace
from droveway.otel.setup import Telemetry, TelemetrySettings, install
from tests.support.otlp import OtlpReceiver, assert_one_trace, tree


@contextmanager
def telemetry(
    service: str, endpoint: str, *, queue_spans: int = 2048, batch_spans: int = 512
) -> Iterator[Telemetry]:
    settings = TelemetrySettings(
        endpoint=endpoint,
        sample_ratio=1.0,
        queue_spans=queue_spans,
        batch_spans=batch_spans,
        schedule_delay_ms=20,
    )
    installed = install(service, f"{service}1", settings)
    try:
        yield installed
    finally:
        installed.shutdown(limit_s=0.1)


def leave(installed: Telemetry, context: TraceContext, parent: TraceContext | None = None) -> bool:
    now = installed.clock.now_ns()
    return installed.record(
        name="route", kind="consumer", context=context, parent=parent, start_ns=now, end_ns=now
    )


async def test_spans_of_three_services_in_one_process_become_one_trace() -> None:
    async with OtlpReceiver() as rx:
        with (
            telemetry("gateway", rx.traces_endpoint) as gateway,
            telemetry("router", rx.traces_endpoint) as router,
            telemetry("caller", rx.traces_endpoint) as caller,
        ):
            root, parent = gateway.enter(None)
            enqueue, route, attempt = child(root), child(root), child(root)
            start = gateway.clock.now_ns()
            # The innermost hop ends first: its parents' spans don't exist yet.
            caller.record(
                name="attempt 1",
                kind="consumer",
                context=attempt,
                parent=route,
                start_ns=start + 3_000_000,
                end_ns=start + 9_000_000,
                attributes={"droveway.attempt": 1, "gen_ai.request.seed": None, "tags": ["a", "b"]},
                events=[("first_token", start + 5_000_000, {"n": 1.5})],
            )
            router.record(
                name="route",
                kind="consumer",
                context=route,
                parent=enqueue,
                start_ns=start + 2_000_000,
                end_ns=start + 4_000_000,
                error="upstream said sk-abcdefghijkl",
            )
            gateway.record(
                name="enqueue",
                kind="producer",
                context=enqueue,
                parent=root,
                start_ns=start + 1_000_000,
                end_ns=start + 2_000_000,
            )
            gateway.record(
                name="POST /v1/chat/completions",
                kind="server",
                context=root,
                parent=parent,
                start_ns=start,
                end_ns=start + 10_000_000,
                links=[attempt],
            )
            spans = await rx.wait(lambda spans: len(spans) == 4)

    top = assert_one_trace(spans)
    assert tree(spans) == (
        "droveway-gateway: POST /v1/chat/completions [SERVER]\n"
        "  droveway-gateway: enqueue [PRODUCER]\n"
        "    droveway-router: route [CONSUMER]\n"
        "      droveway-caller: attempt 1 [CONSUMER]"
    )
    assert (top.trace_id, top.span_id) == (root.trace_id, root.span_id)
    assert top.links == [(attempt.trace_id, attempt.span_id)]
    assert top.resource["service.instance.id"] == "gateway1"
    assert (top.start_ns, top.end_ns) == (start, start + 10_000_000)
    by_name = {span.name: span for span in spans}
    assert by_name["attempt 1"].attributes == {"droveway.attempt": 1, "tags": ["a", "b"]}
    assert by_name["attempt 1"].events == [("first_token", start + 5_000_000, {"n": 1.5})]
    assert by_name["attempt 1"].status == "UNSET"
    assert by_name["route"].status == "ERROR"
    assert by_name["route"].status_message == "upstream said sk-[redacted]"


async def test_a_client_s_trace_goes_on_with_its_tracestate() -> None:
    client = new_trace(1.0)
    async with OtlpReceiver() as rx:
        with telemetry("gateway", rx.traces_endpoint) as gateway:
            own, parent = gateway.enter(format_traceparent(client), "vendor=1")
            assert parent == client._replace(tracestate="vendor=1")
            leave(gateway, own, parent)
            spans = await rx.wait(lambda spans: len(spans) == 1)
    top = assert_one_trace(spans, remote_parent=client.span_id)
    assert (top.trace_id, top.tracestate) == (client.trace_id, "vendor=1")


async def test_an_unsampled_request_creates_no_span_object() -> None:
    async with OtlpReceiver() as rx:
        with telemetry("gateway", rx.traces_endpoint) as gateway:
            gateway.sample_ratio = 0.0
            context, _ = gateway.enter(None)
            gc.collect()
            before = sum(type(thing) is ReadableSpan for thing in gc.get_objects())
            assert not gateway.wants(context)
            assert not leave(gateway, context)
            after = sum(type(thing) is ReadableSpan for thing in gc.get_objects())
            assert after == before
            statistics = gateway.statistics()
            assert statistics is not None
            assert (statistics.recorded, statistics.dropped) == (0, 0)


async def test_a_slow_unsampled_request_gets_its_span_afterwards() -> None:
    async with OtlpReceiver() as rx:
        with telemetry("gateway", rx.traces_endpoint) as gateway:
            context = new_trace(0.0)
            assert leave(gateway, keep(context))
            (span,) = await rx.wait(lambda spans: len(spans) == 1)
    assert span.span_id == context.span_id


async def test_shutdown_sends_what_waits() -> None:
    async with OtlpReceiver() as rx:
        with telemetry("gateway", rx.traces_endpoint) as gateway:
            for _ in range(700):
                leave(gateway, new_trace(1.0))
            await asyncio.to_thread(gateway.shutdown)
            statistics = gateway.statistics()
    assert statistics is not None
    assert (statistics.recorded, statistics.exported, statistics.waiting) == (700, 700, 0)
    assert len(rx.spans) == 700


async def test_a_hanging_endpoint_delays_neither_requests_nor_shutdown() -> None:
    async with OtlpReceiver(answers=False) as rx:
        with telemetry("gateway", rx.traces_endpoint, queue_spans=64, batch_spans=16) as gateway:
            leave(gateway, new_trace(1.0))
            await rx.wait_exports(1)
            began = time.perf_counter()
            taken = sum(leave(gateway, new_trace(1.0)) for _ in range(1_000))
            recording_s = time.perf_counter() - began
            await asyncio.to_thread(gateway.shutdown, 0.3)
            shutdown_s = time.perf_counter() - began - recording_s
            statistics = gateway.statistics()
    assert taken == 63
    assert statistics is not None
    assert (statistics.recorded, statistics.dropped) == (64, 937)
    assert recording_s < 0.2
    assert 0.3 <= shutdown_s < 0.6
    assert not leave(gateway, new_trace(1.0))


async def test_a_process_ends_within_two_seconds_of_a_hanging_endpoint() -> None:
    program = (
        "import os, time\n"
        "from droveway.otel.context import new_trace\n"
        "from droveway.otel.setup import TelemetrySettings, install\n"
        "telemetry = install('gateway', 'g1', TelemetrySettings.from_environ(os.environ))\n"
        "telemetry.record(name='x', kind='server', context=new_trace(1.0), parent=None,"
        " start_ns=1, end_ns=2)\n"
        "began = time.perf_counter()\n"
        "telemetry.shutdown(limit_s=0.5)\n"
        "print(time.perf_counter() - began)\n"
    )
    async with OtlpReceiver(answers=False) as rx:
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": rx.endpoint},
            stdout=subprocess.PIPE,
        )
        out, _ = await process.communicate()
        total_s = time.perf_counter() - began
    assert process.returncode == 0
    assert float(out) < 0.8
    assert total_s < 4, "imports, then the limit; not the exporter's own 10 s"


async def test_a_refusing_endpoint_is_counted() -> None:
    async with OtlpReceiver() as rx:
        with telemetry("gateway", f"{rx.endpoint}/v1/traces") as gateway:
            await rx.__aexit__(None, None, None)
            leave(gateway, new_trace(1.0))
            await asyncio.to_thread(gateway.shutdown, 0.3)
            await asyncio.to_thread(gateway.shutdown, 0.3)
            statistics = gateway.statistics()
    assert statistics is not None
    assert statistics.exported == 0


async def test_headers_are_sent_and_not_shown() -> None:
    async with OtlpReceiver() as rx:
        settings = TelemetrySettings.from_environ(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": rx.endpoint + "/",
                "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20canary,x-scope=a",
                "OTEL_BSP_SCHEDULE_DELAY": "20",
            }
        )
        assert "canary" not in repr(settings)
        gateway = install("gateway", "g1", settings)
        leave(gateway, new_trace(1.0))
        await rx.wait(lambda spans: len(spans) == 1)
        await asyncio.to_thread(gateway.shutdown)
    assert rx.headers[0]["authorization"] == "Bearer canary"
    assert rx.headers[0]["x-scope"] == "a"


def test_without_an_endpoint_the_sdk_is_not_imported() -> None:
    program = (
        "import sys\n"
        "from droveway.otel.context import new_trace\n"
        "from droveway.otel.setup import TelemetrySettings, install\n"
        "telemetry = install('gateway', 'g1', TelemetrySettings.from_environ({}))\n"
        "assert not telemetry.record(name='x', kind='server', context=new_trace(1.0), parent=None,"
        " start_ns=1, end_ns=2)\n"
        "assert telemetry.statistics() is None\n"
        "telemetry.shutdown()\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_standard_variables_are_honoured() -> None:
    settings = TelemetrySettings.from_environ(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://ignored:4318",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/traces",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_SAMPLER_ARG": "0.25",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_BSP_MAX_QUEUE_SIZE": "4096",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1024",
            "OTEL_BSP_EXPORT_TIMEOUT": "",
        }
    )
    assert settings.endpoint == "http://collector:4318/traces"
    assert settings.sample_ratio == 0.25
    assert (settings.schedule_delay_ms, settings.export_timeout_ms) == (50, 10_000)
    assert (settings.queue_spans, settings.batch_spans) == (4096, 1024)


@pytest.mark.parametrize(
    ("environ", "ratio"),
    [
        pytest.param({}, 0.5, id="ours"),
        pytest.param({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, 1.0, id="all"),
        pytest.param({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 0.0, id="none"),
        pytest.param({"OTEL_TRACES_SAMPLER_ARG": "0"}, 0.0, id="ratio"),
    ],
)
def test_the_environment_may_name_the_sampler(environ: dict[str, str], ratio: float) -> None:
    assert TelemetrySettings.from_environ(environ, sample_ratio=0.5).sample_ratio == ratio


def test_a_disabled_sdk_exports_nothing() -> None:
    environ = {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}
    assert TelemetrySettings.from_environ(environ).endpoint == ""


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "some"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ],
)
def test_a_value_that_we_can_t_honour_is_refused_by_name(variable: str, value: str) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", variable: value}
    with pytest.raises(ValueError, match=variable):
        TelemetrySettings.from_environ(environ)
