"""One trace per request, across all services, and nothing secret in what is exported."""

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from droveway.cli.waterfall import phases
from droveway.contracts.config import Config
from tests.support.flows import ask, eventually, lines_until, numbered, route, rows_of
from tests.support.nats import NatsServer
from tests.support.otlp import OtlpReceiver, ReceivedSpan, assert_one_trace, tree
from tests.support.pace import Pace
from tests.support.simulator import chat_body
from tests.support.stack import PROVIDER_KEY, Stack, running_stack

PROMPT = "prompt-canary-1b7e"
TRACE = secrets.token_hex(16)
CLIENT_SPAN = "00f067aa0ba902b7"


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OtlpReceiver]:
    async with OtlpReceiver() as otlp:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "1")
        yield otlp


def _configure(config: Config) -> Config:
    detour = route("detour", ("upstream-1", "fault-500"), ("upstream-2", "numbered-3"))
    return msgspec.structs.replace(config, routes=(detour, *config.routes))


def _of(spans: Sequence[ReceivedSpan], trace_id: str) -> list[ReceivedSpan]:
    return [span for span in spans if span.trace_id.hex() == trace_id]


def _named(spans: list[ReceivedSpan]) -> dict[str, ReceivedSpan]:
    return {span.name: span for span in spans}


def _ended(trace_id: str, count: int) -> Callable[..., bool]:
    return lambda spans: len(_of(list(spans), trace_id)) >= count


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_request_is_one_trace_below_the_clients_span(
    nats: NatsServer, tmp_path: Path, receiver: OtlpReceiver, stream: bool
) -> None:
    trace_id = secrets.token_hex(16)
    async with (
        running_stack(
            nats, tmp_path, simulators=2, configure=_configure, token_interval_ms=20
        ) as stack,
        stack.client() as client,
    ):
        headers = {"traceparent": f"00-{trace_id}-{CLIENT_SPAN}-01", "tracestate": "vendor=1"}
        with Pace() as pace:
            got = await ask(client, chat_body(content=PROMPT, stream=stream), headers=headers)
            assert got.said == numbered(5)
            spans = _of(await receiver.wait(_ended(trace_id, 5)), trace_id)
    root = assert_one_trace(spans, bytes.fromhex(CLIENT_SPAN))
    assert tree(spans) == (
        "droveway-gateway: POST /v1/chat/completions [SERVER]\n"
        "  droveway-gateway: enqueue [PRODUCER]\n"
        "    droveway-router: route [CONSUMER]\n"
        "      droveway-caller: attempt 1 [CONSUMER]\n"
        "        droveway-caller: chat numbered-5 [CLIENT]"
    )
    named = _named(spans)
    chat = named["chat numbered-5"]
    assert {event.name for event in chat.events} == {"first_token", "last_token"}
    first, last = sorted(chat.events, key=lambda event: event.at_ns)
    assert last.at_ns <= root.end_ns
    if stream:
        assert last.at_ns - first.at_ns > 60_000_000, "four gaps of 20 ms"
        assert chat.attributes["gen_ai.request.stream"] is True
        assert isinstance(chat.attributes["gen_ai.response.time_to_first_chunk"], float)
    late_ns = max(span.end_ns for span in spans if span.name != "attempt 1") - root.end_ns
    assert late_ns <= 5_000_000 + pace.longest_lost_s * 1e9
    assert chat.attributes["gen_ai.operation.name"] == "chat"
    assert chat.attributes["gen_ai.provider.name"] == "upstream-1"
    assert chat.attributes["gen_ai.request.model"] == "numbered-5"
    assert chat.attributes["gen_ai.response.model"] == "numbered-5"
    assert chat.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert chat.attributes["gen_ai.usage.output_tokens"] == 5
    assert int(str(chat.attributes["gen_ai.usage.input_tokens"])) > 0
    assert chat.attributes["http.response.status_code"] == 200
    assert chat.attributes["server.address"] == "127.0.0.1"
    assert chat.attributes["server.port"] == stack.simulator.port
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["droveway.request.id"] == got.headers["x-request-id"]
    assert got.headers["x-droveway-trace-id"] == trace_id
    assert {span.status for span in spans} == {"UNSET"}
    _holds_no_secret(stack, spans)


def _holds_no_secret(stack: Stack, spans: list[ReceivedSpan]) -> None:
    exported = repr(spans)
    for secret in (PROMPT, stack.key, PROVIDER_KEY, "t0 t1"):
        assert secret not in exported


async def test_a_wait_for_room_is_an_event_of_the_route(
    nats: NatsServer, tmp_path: Path, receiver: OtlpReceiver
) -> None:
    def configure(config: Config) -> Config:
        config = _configure_one(config)
        providers = tuple(msgspec.structs.replace(one, max_in_flight=1) for one in config.providers)
        return msgspec.structs.replace(config, providers=providers)

    async with (
        running_stack(nats, tmp_path, configure=configure) as stack,
        stack.client() as client,
    ):
        held = chat_body("fault-numbered-3+slow-first-token-300", content=PROMPT)
        first = asyncio.ensure_future(ask(client, held))
        await eventually(lambda: stack.simulator.book.totals.open_requests == 1)
        got = await ask(client, chat_body(content=PROMPT))
        assert (await first).status == got.status == 200
        trace_id = got.headers["x-droveway-trace-id"]
        spans = _of(await receiver.wait(_ended(trace_id, 5)), trace_id)
        (waited,) = [one for one in _named(spans)["route"].events if one.name == "queue.wait"]
        assert 100 < int(str(waited.attributes["droveway.queue.wait_ms"])) < 400


async def test_a_failover_shows_both_attempts(
    nats: NatsServer, tmp_path: Path, receiver: OtlpReceiver
) -> None:
    async with (
        running_stack(nats, tmp_path, simulators=2, configure=_configure) as stack,
        stack.client() as client,
    ):
        got = await ask(client, chat_body("detour", content=PROMPT, stream=True))
        trace_id = got.headers["x-droveway-trace-id"]
        spans = _of(await receiver.wait(_ended(trace_id, 7)), trace_id)
        assert_one_trace(spans)
        named = _named(spans)
        assert named["attempt 1"].status == "ERROR"
        assert named["attempt 1"].attributes["error.type"] == "provider_unavailable"
        assert named["chat fault-500"].status == "ERROR"
        assert named["chat fault-500"].attributes["http.response.status_code"] == 500
        assert named["attempt 2"].status == "UNSET"
        assert named["attempt 2"].parent_id == named["route"].span_id
        assert named["chat numbered-3"].parent_id == named["attempt 2"].span_id
        assert named["POST /v1/chat/completions"].status == "UNSET"
        _holds_no_secret(stack, spans)


async def test_an_ordinary_unsampled_request_leaves_no_span_and_a_failed_one_late_spans(
    nats: NatsServer, tmp_path: Path, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    async with (
        running_stack(nats, tmp_path, configure=_configure_one) as stack,
        stack.client() as client,
    ):
        ordinary = await ask(client, chat_body(stream=True))
        failed = await ask(client, chat_body("fault-500", content=PROMPT))
        assert failed.status == 503
        trail = await rows_of(nats, failed.headers["x-request-id"])
        assert trail.request is not None
        trace_id = trail.request.traceparent.split("-")[1]
        everything = await receiver.wait(lambda spans: len(_of(spans, trace_id)) >= 2)
        assert _of(everything, ordinary.headers["x-droveway-trace-id"]) == []
        spans = _of(everything, trace_id)
        root = assert_one_trace(spans)
        assert root.attributes["droveway.late"] is True
        assert root.status == "ERROR"
        assert root.name == "POST /v1/chat/completions"
        assert {span.name for span in spans} >= {"attempt 1"}
        assert {span.service for span in spans} == {"droveway-metrics"}
        _holds_no_secret(stack, spans)


def _configure_one(config: Config) -> Config:
    return config


async def test_a_cancelled_request_is_traced_to_its_end(
    nats: NatsServer, tmp_path: Path, receiver: OtlpReceiver
) -> None:
    trace_id = secrets.token_hex(16)
    async with (
        running_stack(nats, tmp_path, token_interval_ms=10) as stack,
        stack.client(headers={"traceparent": f"00-{trace_id}-{CLIENT_SPAN}-01"}) as client,
    ):
        async with lines_until(client, chat_body("numbered-1000", stream=True), "t2"):
            pass
        spans = _of(await receiver.wait(_ended(trace_id, 5)), trace_id)
        root = assert_one_trace(spans, bytes.fromhex(CLIENT_SPAN))
        assert root.attributes["http.response.status_code"] == 499
        assert root.attributes["droveway.outcome"] == "cancelled"
        assert _named(spans)["attempt 1"].attributes["droveway.outcome"] == "cancelled"
        assert {span.status for span in spans} == {"UNSET"}


async def test_each_request_leaves_one_line_without_content(
    nats: NatsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "droveway")
    async with running_stack(nats, tmp_path) as stack, stack.client() as client:
        got = await ask(client, chat_body(content=PROMPT, stream=True))
        lost = await ask(client, chat_body("fault-400", content=PROMPT))
        await eventually(lambda: len(_request_lines(caplog)) == 2)
    lines = _request_lines(caplog)
    assert lines[0]["request_id"] == got.headers["x-request-id"]
    assert lines[0]["target"] == "upstream-1/numbered-5"
    assert (lines[0]["mode"], lines[0]["status"], lines[0]["outcome"]) == (
        "stream", 200, "completed",
    )  # fmt: skip
    assert lines[0]["output_tokens"] == 5
    assert lines[1]["request_id"] == lost.headers["x-request-id"]
    assert (lines[1]["status"], lines[1]["outcome"]) == (400, "failed")
    everything = json.dumps([getattr(one, "fields", {}) for one in caplog.records], default=str)
    for secret in (PROMPT, stack.key, PROVIDER_KEY):
        assert secret not in everything


def _request_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [record.fields for record in caplog.records if record.msg == "request"]  # type: ignore[attr-defined]


async def test_an_unsampled_requests_phases_are_shown_from_its_rows(
    nats: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    async with (
        running_stack(nats, tmp_path, simulators=2, configure=_configure) as stack,
        stack.client() as client,
    ):
        got = await ask(client, chat_body("detour", stream=True))
        trail = await rows_of(nats, got.headers["x-request-id"])
    assert trail.request is not None
    assert trail.request.traceparent.endswith("-00"), "it wasn't sampled"
    found = phases(trail.request, trail.attempts)
    names = [phase.name for phase in found]
    assert names[0] == "auth"
    assert {"body", "enqueue", "accepted", "first byte", "answer"} <= set(names)
    assert sum("attempt" in name for name in names) == 2
    assert all(phase.duration_us >= 0 for phase in found)
    ended_us = trail.request.times.ended_us
    assert all(phase.end_us <= ended_us + 50_000 for phase in found)
