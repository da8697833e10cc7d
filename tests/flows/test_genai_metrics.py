"""Metrics of the GenAI conventions, from a client's request to the collector."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from droveway.contracts.config import Config
from droveway.otel import names
from tests.support.flows import ask, numbered, route
from tests.support.nats import NatsServer
from tests.support.otlp import OtlpReceiver, ReceivedPoint
from tests.support.simulator import chat_body
from tests.support.stack import running_stack


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OtlpReceiver]:
    async with OtlpReceiver() as otlp:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", otlp.metrics_endpoint)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
        yield otlp


def _configure(config: Config) -> Config:
    detour = route("detour", ("upstream-1", "fault-500"), ("upstream-2", "numbered-3"))
    return msgspec.structs.replace(config, routes=(detour, *config.routes))


def _points(points: Sequence[ReceivedPoint], name: str) -> list[ReceivedPoint]:
    return [point for point in points if point.name == name]


def _seen(points: Sequence[ReceivedPoint], name: str) -> int:
    return sum(point.observations for point in _points(points, name))


async def test_requests_and_attempts_are_measured_where_they_are_seen(
    nats: NatsServer, tmp_path: Path, receiver: OtlpReceiver
) -> None:
    async with (
        running_stack(
            nats, tmp_path, simulators=2, configure=_configure, token_interval_ms=5
        ) as stack,
        stack.client() as client,
    ):
        assert (await ask(client, chat_body(stream=True))).said == numbered(5)
        assert (await ask(client, chat_body("detour"))).said == numbered(3)
        points = await receiver.wait_points(
            lambda points: (
                _seen(points, names.OTLP_SERVER_DURATION) == 2
                and _seen(points, names.OTLP_CLIENT_DURATION) == 3
            )
        )
    client_side = {
        (point.attributes["gen_ai.provider.name"], point.attributes.get("error.type"))
        for point in _points(points, names.OTLP_CLIENT_DURATION)
    }
    assert client_side == {
        ("upstream-1", None),
        ("upstream-1", "provider_unavailable"),
        ("upstream-2", None),
    }
    for name in (
        names.OTLP_SERVER_FIRST_TOKEN,
        names.OTLP_SERVER_PER_TOKEN,
        names.OTLP_CLIENT_FIRST_CHUNK,
        names.OTLP_CLIENT_PER_CHUNK,
    ):
        assert _seen(points, name) == 1, name
    (per_chunk,) = _points(points, names.OTLP_CLIENT_PER_CHUNK)
    assert 0.003 < per_chunk.sum < 0.5
    output = [
        point.sum
        for point in _points(points, names.OTLP_CLIENT_TOKENS)
        if point.attributes["gen_ai.token.type"] == "output"
    ]
    assert sum(output) == 5 + 3
    models = {point.attributes["gen_ai.request.model"] for point in points if point.service}
    assert models == {"numbered-5", "detour", "fault-500", "numbered-3"}
