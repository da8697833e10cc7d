"""Faults and oddities as a caller of Anthropic's dialect meets them on the wire."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from droveway.simulator.server import Running, running
from tests.support.simulator import (
    MESSAGES,
    Ended,
    Received,
    content_of,
    events,
    exchange,
    message_body,
    quick_settings,
    request_bytes,
    said_in_blocks,
)


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(quick_settings()) as started:
        yield started


async def _ask(server: Running, fault: str, stream: bool = True, **fields: Any) -> Received:
    body = message_body(stream=stream, **fields)
    return await exchange(server.url, request_bytes(body, fault, MESSAGES))


def _text(received: Received) -> str:
    return content_of(received.data).decode()


def _names(received: Received) -> list[str]:
    return [name for name, _ in events(_text(received))]


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("400", 400, "invalid_request_error"),
        ("401", 401, "authentication_error"),
        ("402", 402, "billing_error"),
        ("403", 403, "permission_error"),
        ("404", 404, "not_found_error"),
        ("409", 409, "conflict_error"),
        ("413", 413, "request_too_large"),
        ("429", 429, "rate_limit_error"),
        ("500", 500, "api_error"),
        ("503", 503, "api_error"),
        ("504", 504, "timeout_error"),
        ("529", 529, "overloaded_error"),
        ("insufficient-quota", 429, "rate_limit_error"),
        ("context-length", 400, "invalid_request_error"),
    ],
)
async def test_a_status_fault_has_anthropics_type(
    server: Running, fault: str, status: int, kind: str
) -> None:
    received = await _ask(server, fault)
    assert received.data.startswith(f"HTTP/1.1 {status} ".encode())
    body = json.loads(_text(received))
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["request_id"] == server.book.entries[-1].id
    assert ("details" in body["error"]) == (fault == "insufficient-quota")


async def test_an_overload_may_say_when_to_come_back(server: Running) -> None:
    assert b"retry-after: 7\r\n" in (await _ask(server, "529=7")).data.lower()


async def test_a_model_name_may_ask_for_a_fault(server: Running) -> None:
    received = await _ask(server, "", model="fault-cut-after-2+numbered-9")
    assert received.ended == "reset"
    assert b'"t1 "' in received.data
    assert b'"t2 "' not in received.data


@pytest.mark.parametrize(
    ("fault", "ended"),
    [("cut-after=2", "reset"), ("fin-after=2", "fin"), ("stall-after=2", "open")],
)
async def test_a_stream_breaks_after_its_second_delta(
    server: Running, fault: str, ended: Ended
) -> None:
    received = await _ask(server, fault)
    assert received.ended == ended
    assert b'"t1 "' in received.data
    assert b"message_delta" not in received.data
    assert server.book.entries[-1].tokens_sent == 2
    assert server.book.entries[-1].anthropic_usage is None


async def test_a_stream_may_end_cleanly_and_too_early(server: Running) -> None:
    received = await _ask(server, "end-after=99")
    assert received.data.endswith(b"0\r\n\r\n")
    assert _names(received)[-1] == "content_block_stop"


async def test_an_error_event_may_come_in_the_stream(server: Running) -> None:
    name, event = events(_text(await _ask(server, "error-after=2")))[-1]
    assert (name, event["error"]["type"]) == ("error", "overloaded_error")


async def test_a_malformed_event_stands_between_good_ones(server: Running) -> None:
    text = _text(await _ask(server, "malformed-after=2"))
    (malformed,) = [event for event in text.split("\n\n") if event.endswith('"text":"')]
    assert malformed.startswith("event: content_block_delta\ndata: {")
    blocks = said_in_blocks(text.replace(f"{malformed}\n\n", ""))
    assert blocks[0]["text"] == "t0 t1 t2 t3 t4 "


@pytest.mark.parametrize(
    ("fault", "holds"),
    [
        ("no-done", lambda got: "message_stop" not in _names(got)),
        ("no-finish", lambda got: "message_delta" not in _names(got)),
        ("no-usage", lambda got: '"usage"' not in _text(got)),
        ("no-id", lambda got: '"id"' not in _text(got)),
        ("no-role", lambda got: '"role"' not in _text(got)),
        ("two-terminals", lambda got: _names(got).count("message_stop") == 2),
        ("after-done", lambda got: _names(got)[-1] == "content_block_delta"),
        ("duplicate", lambda got: _names(got).count("content_block_delta") == 10),
        ("no-event-lines", lambda got: "event:" not in _text(got)),
        ("crlf", lambda got: "\r\n\r\n" in _text(got) and "\n\n" not in _text(got)),
        ("no-space", lambda got: "event:message_start\ndata:{" in _text(got)),
        ("comments", lambda got: _text(got).startswith(": keep-alive\n\nevent: ")),
        ("huge-line=200000", lambda got: max(map(len, _text(got).split("\n"))) > 200_000),
        ("one-byte", lambda got: got.data.count(b"\r\n1\r\n") > 500),
    ],
)
async def test_a_stream_is_sloppy_as_asked(
    server: Running, fault: str, holds: Callable[[Received], bool]
) -> None:
    received = await _ask(server, fault)
    assert received.data.count(b"HTTP/1.1 200 OK") == 1
    assert holds(received)
    assert server.book.entries[-1].outcome == "answered"


@pytest.mark.parametrize(
    ("quirk", "input_tokens_at_start", "fields_at_end"),
    [("late-usage", 0, 5), ("early-usage", 2, 1)],
)
async def test_usage_may_come_late_or_early(
    server: Running, quirk: str, input_tokens_at_start: int, fields_at_end: int
) -> None:
    stream = events(_text(await _ask(server, quirk)))
    assert stream[0][1]["message"]["usage"]["input_tokens"] == input_tokens_at_start
    assert len(stream[-2][1]["usage"]) == fields_at_end


@pytest.mark.parametrize(
    ("fault", "holds"),
    [
        ("json-error-200", lambda body: json.loads(body)["type"] == "error"),
        ("error-after=0", lambda body: json.loads(body)["type"] == "error"),
        ("null-content", lambda body: json.loads(body)["content"] is None),
        ("no-finish", lambda body: json.loads(body)["stop_reason"] is None),
        ("no-usage", lambda body: "usage" not in json.loads(body)),
        ("blank-lines-before-json", lambda body: body.startswith("\n\n\n{")),
        ("huge-line=200000", lambda body: len(body) > 200_000),
    ],
)
async def test_a_whole_answer_is_sloppy_as_asked(
    server: Running, fault: str, holds: Callable[[str], bool]
) -> None:
    assert holds(_text(await _ask(server, fault, stream=False)))


@pytest.mark.parametrize(
    ("path", "key", "status", "kind"),
    [
        (MESSAGES, "bad-key", 401, "authentication_error"),
        ("/v1/messages/none", "sk", 404, "not_found_error"),
    ],
)
async def test_refusals_have_anthropics_shape(
    server: Running, path: str, key: str, status: int, kind: str
) -> None:
    request = request_bytes(message_body(), path=path).replace(b"sk-test", key.encode())
    received = await exchange(server.url, request)
    assert received.data.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(_text(received))["error"]["type"] == kind
