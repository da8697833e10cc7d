"""One trace from an application through the bus to the provider."""

from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from droveway import client
from tests.support.bus_client import key_id_of, plain_tenant, seed_of, with_bus_users
from tests.support.flows import only_first
from tests.support.nats import NatsServer
from tests.support.otlp import OtlpReceiver, assert_one_trace, tree
from tests.support.simulator import chat_body
from tests.support.stack import running_stack


async def test_one_trace_reaches_from_the_application_to_the_provider(
    nats: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(own))
    async with OtlpReceiver() as otlp:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        async with running_stack(
            nats, tmp_path, configure=lambda config: with_bus_users(nats, only_first(config))
        ) as world:
            key_id = key_id_of(world)
            seed = seed_of(nats, key_id)
            async with client.connect(
                nats.url, key_id=key_id, seed_file=seed, tracer_provider=provider
            ) as opened:
                with provider.get_tracer("application").start_as_current_span("handle"):
                    async with opened.stream(chat_body()) as stream:
                        assert [event async for event in stream]
            spans = await otlp.wait(lambda spans: len(spans) >= 5)
    enqueue, handle = own.get_finished_spans()
    assert (enqueue.name, handle.name) == ("enqueue", "handle")
    assert enqueue.parent is not None
    assert enqueue.parent.span_id == handle.context.span_id
    assert enqueue.attributes is not None
    assert enqueue.attributes["droveway.request.id"] == stream.request_id
    root = assert_one_trace(spans, enqueue.context.span_id.to_bytes(8, "big"))
    assert root.trace_id == enqueue.context.trace_id.to_bytes(16, "big")
    assert tree(spans) == (
        "droveway-gateway: request chat-completions [CONSUMER]\n"
        "  droveway-gateway: enqueue [PRODUCER]\n"
        "    droveway-router: route [CONSUMER]\n"
        "      droveway-caller: attempt 1 [CONSUMER]\n"
        "        droveway-caller: chat numbered-5 [CLIENT]"
    )
    assert root.attributes["droveway.door"] == "nats"
    assert root.attributes["http.response.status_code"] == 200
    assert "http.route" not in root.attributes
    assert key_id in str(root.attributes["droveway.key.id"])


async def test_a_plain_clients_traceparent_is_the_roots_parent(
    nats: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace_id, span_id = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    async with OtlpReceiver() as otlp:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        async with (
            running_stack(
                nats, tmp_path, configure=lambda config: with_bus_users(nats, only_first(config))
            ) as world,
            plain_tenant(nats, key_id_of(world)) as tenant,
        ):
            answer = await tenant.request(
                chat_body(), traceparent=f"00-{trace_id}-{span_id}-01", tracestate="vendor=1"
            )
            spans = await otlp.wait(lambda spans: len(spans) >= 5)
    root = assert_one_trace(spans, bytes.fromhex(span_id))
    assert root.trace_id.hex() == trace_id == answer["headers"]["x-droveway-trace-id"]
    assert root.tracestate == "vendor=1"
