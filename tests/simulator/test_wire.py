"""Faults as a caller meets them on the wire."""

import asyncio
import json
import time
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from droveway.simulator.server import Running, run, running
from tests.support.simulator import (
    Ended,
    Received,
    chat_body,
    connect,
    content_of,
    exchange,
    payloads,
    quick_settings,
    request_bytes,
    spoken,
)


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(quick_settings()) as started:
        yield started


async def _ask(server: Running, fault: str, stream: bool = True, **fields: Any) -> Received:
    return await exchange(server.url, request_bytes(chat_body(stream=stream, **fields), fault))


def _text(received: Received) -> str:
    return content_of(received.data).decode()


def _count(received: Received, piece: str) -> int:
    return _text(received).count(f'"{piece}')


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 502, 503, 529])
async def test_a_status_fault_answers_with_that_status(
    server: Running, status: int, stream: bool
) -> None:
    received = await _ask(server, str(status), stream)
    assert received.data.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"retry-after" not in received.data.lower()
    assert set(json.loads(_text(received))["error"]) == {"message", "type", "param", "code"}
    assert server.book.entries[-1].outcome == "refused"


async def test_a_429_may_say_when_to_come_back(server: Running) -> None:
    received = await _ask(server, "429=in%20a%20while%2C maybe")
    assert b"retry-after: in a while, maybe\r\n" in received.data


async def test_times_spares_the_requests_after_the_first(server: Running) -> None:
    statuses = [(await _ask(server, "503,times=2")).data[9:12] for _ in range(3)]
    assert statuses == [b"503", b"503", b"200"]
    assert [entry.fault for entry in server.book.entries] == ["503,times=2", "503,times=2", None]


async def test_a_model_name_may_ask_for_a_fault(server: Running) -> None:
    body = chat_body("fault-cut-after-2+numbered-9", stream=True)
    received = await exchange(server.url, request_bytes(body))
    assert received.ended == "reset"
    assert b"t1 " in received.data
    assert b"t2 " not in received.data


async def test_a_setting_may_ask_for_a_fault() -> None:
    async with running(quick_settings(fault="500")) as server:
        assert (await _ask(server, "")).data.startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("fault", "ended", "begins"),
    [
        ("reset-before-headers", "reset", b""),
        ("close-before-headers", "fin", b""),
        ("reset-after-headers", "reset", b"HTTP/1.1 200 OK"),
        ("silence", "open", b""),
    ],
)
async def test_a_connection_fails_before_any_answer(
    server: Running, fault: str, ended: Ended, begins: bytes, stream: bool
) -> None:
    received = await _ask(server, fault, stream)
    assert received.ended == ended
    assert received.data[: len(begins) or 1] == begins
    if ended != "open":
        assert server.book.entries[-1].outcome == "broken"


@pytest.mark.parametrize(
    ("fault", "ended"),
    [("cut-after=2", "reset"), ("fin-after=2", "fin"), ("stall-after=2", "open")],
)
async def test_a_stream_breaks_after_its_second_content_chunk(
    server: Running, fault: str, ended: Ended
) -> None:
    received = await _ask(server, fault)
    assert received.ended == ended
    assert b'"t1 "' in received.data
    assert b'"t2 "' not in received.data
    assert not received.data.endswith(b"0\r\n\r\n")
    assert server.book.entries[-1].tokens_sent == 2


async def test_a_break_beyond_the_end_comes_after_the_lastcontent_of(server: Running) -> None:
    received = await _ask(server, "cut-after=99")
    assert received.ended == "reset"
    assert spoken(_text(received)) == "t0 t1 t2 t3 t4 "
    assert b'"stop"' not in received.data


async def test_a_stream_may_end_cleanly_and_too_early(server: Running) -> None:
    received = await _ask(server, "end-after=2")
    assert received.data.endswith(b"0\r\n\r\n")
    assert spoken(_text(received)) == "t0 t1 "
    assert b"[DONE]" not in received.data


async def test_an_error_may_come_in_the_stream(server: Running) -> None:
    received = await _ask(server, "error-after=2")
    assert received.data.endswith(b"0\r\n\r\n")
    assert json.loads(payloads(_text(received))[-1])["error"]["code"] == "server_error"


@pytest.mark.parametrize(
    ("fault", "ended"),
    [("cut-after=0", "reset"), ("fin-after=0", "fin"), ("stall-after=0", "open")],
)
async def test_a_whole_answer_breaks_in_the_middle(
    server: Running, fault: str, ended: Ended
) -> None:
    received = await _ask(server, fault, stream=False)
    head, _, body = received.data.partition(b"\r\n\r\n")
    promised = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert received.ended == ended
    assert 0 < len(body) < promised


@pytest.mark.parametrize("fault", ["end-after=0", "malformed-after=0"])
async def test_a_whole_answer_may_be_no_json(server: Running, fault: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(_text(await _ask(server, fault, stream=False)))


@pytest.mark.parametrize(
    ("fault", "holds"),
    [
        ("no-done", lambda got: "[DONE]" not in _text(got) and _count(got, "stop") == 1),
        ("no-finish", lambda got: "[DONE]" in _text(got) and _count(got, "stop") == 0),
        ("no-usage", lambda got: '"usage":{' not in _text(got)),
        ("null-content", lambda got: '"content":null' in _text(got)),
        ("no-role", lambda got: '"role"' not in _text(got)),
        ("no-id", lambda got: '"id"' not in _text(got)),
        ("int-created-missing", lambda got: '"created"' not in _text(got)),
        ("usage-everywhere", lambda got: _text(got).count('"usage":{') == 8),
        ("delta-missing", lambda got: _text(got).count('"delta"') == 6),
        ("crlf", lambda got: "\r\n\r\n" in _text(got) and "\n\n" not in _text(got)),
        ("no-space", lambda got: "data:{" in _text(got) and "data: " not in _text(got)),
        ("bom", lambda got: content_of(got.data).startswith(b"\xef\xbb\xbfdata: ")),
        ("comments", lambda got: _text(got).startswith(": keep-alive\n\ndata: ")),
        ("one-byte", lambda got: got.data.count(b"\r\n1\r\n") > 500),
        ("two-terminals", lambda got: _count(got, "stop") == _text(got).count("[DONE]") == 2),
        ("after-done", lambda got: _text(got).partition("[DONE]")[2].count("after") == 1),
        ("duplicate", lambda got: _count(got, "t0 ") == _count(got, "t4 ") == 2),
        ("set-cookie", lambda got: b"set-cookie: simulator=1" in got.data.lower()),
        ("huge-line=200000", lambda got: max(map(len, payloads(_text(got)))) > 200_000),
        ("1xx=3", lambda got: got.data.startswith(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3)),
    ],
)
async def test_a_stream_is_sloppy_as_asked(
    server: Running, fault: str, holds: Callable[[Received], bool]
) -> None:
    received = await _ask(server, fault, stream_options={"include_usage": True})
    assert received.data.count(b"HTTP/1.1 200 OK") == 1
    assert holds(received)
    assert received.ended == "fin"
    assert server.book.entries[-1].outcome == "answered"


async def test_a_malformed_chunk_stands_between_good_ones(server: Running) -> None:
    received = await _ask(server, "malformed-after=2")
    events = payloads(_text(received))
    (malformed,) = [event for event in events if "chatcmpl-malformed" in event]
    with pytest.raises(json.JSONDecodeError):
        json.loads(malformed)
    before, after = _text(received).split(f"data: {malformed}\n\n")
    assert (spoken(before), spoken(after)) == ("t0 t1 ", "t2 t3 t4 ")


@pytest.mark.parametrize(
    ("fault", "holds"),
    [
        ("html", lambda body: body.startswith(b"<!doctype html>")),
        ("json-error-200", lambda body: "message" in json.loads(body)["error"]),
        ("no-usage", lambda body: "usage" not in json.loads(body)),
        ("no-finish", lambda body: json.loads(body)["choices"][0]["finish_reason"] is None),
        ("null-content", lambda body: b'"content":null' in body),
        ("no-role", lambda body: b'"role"' not in body),
        ("blank-lines-before-json", lambda body: body.startswith(b"\n\n\n{")),
        ("bom", lambda body: body.startswith(b"\xef\xbb\xbf{")),
        ("one-byte", lambda body: json.loads(body)["object"] == "chat.completion"),
        ("duplicate", lambda body: body.count(b'"chat.completion"') == 2),
        ("huge-line=200000", lambda body: len(json.loads(body)["obfuscation"]) == 200_000),
    ],
)
async def test_a_whole_answer_is_sloppy_as_asked(
    server: Running, fault: str, holds: Callable[[bytes], bool]
) -> None:
    received = await _ask(server, fault, stream=False)
    assert received.data.startswith(b"HTTP/1.1 200 OK")
    assert holds(content_of(received.data))


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_gzip_comes_though_nobody_asked(server: Running, stream: bool) -> None:
    received = await _ask(server, "gzip", stream)
    assert b"content-encoding: gzip" in received.data.lower()
    plain = zlib.decompress(content_of(received.data), zlib.MAX_WBITS + 16)
    assert b"t4 " in plain


async def test_a_redirect_points_to_the_book(server: Running) -> None:
    received = await _ask(server, "redirect")
    assert received.data.startswith(b"HTTP/1.1 302 ")
    assert b"location: /book" in received.data.lower()


async def test_the_first_token_may_be_slow(server: Running) -> None:
    began = time.monotonic()
    received = await _ask(server, "slow-first-token=60")
    assert time.monotonic() - began >= 0.06
    assert spoken(_text(received)) == "t0 t1 t2 t3 t4 "


async def test_tokens_keep_their_interval() -> None:
    settings = quick_settings(first_token_ms=20, token_interval_ms=10)
    async with running(settings) as server:
        for stream in (True, False):
            await _ask(server, "", stream)
        for entry in server.book.entries:
            assert entry.ended_ms is not None
            assert 60 <= entry.ended_ms - entry.started_ms < 200


async def _open_requests(server: Running, count: int) -> None:
    async with asyncio.timeout(1):
        await server.until(lambda totals: totals.open_requests == count)


@pytest.mark.parametrize("fault", ["silence", "stall-after=2", "slow-first-token=5000"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_caller_that_leaves_is_noticed_at_once(
    server: Running, fault: str, stream: bool
) -> None:
    with await connect(server.url) as connection:
        request = request_bytes(chat_body(stream=stream), fault)
        await asyncio.get_running_loop().sock_sendall(connection, request)
        await _open_requests(server, 1)
        left_ms = time.monotonic() * 1000
    await _open_requests(server, 0)
    (entry,) = server.book.entries
    assert entry.outcome == "client_closed"
    assert entry.client_closed_ms is not None
    assert 0 <= entry.client_closed_ms - left_ms < 100


async def test_a_caller_that_leaves_while_it_sends_is_noticed(server: Running) -> None:
    with await connect(server.url) as connection:
        await asyncio.get_running_loop().sock_sendall(connection, request_bytes(chat_body())[:-5])
        await _open_requests(server, 1)
    await _open_requests(server, 0)
    assert server.book.entries[0].outcome == "client_closed"


async def test_a_caller_that_leaves_a_long_stream_is_noticed(server: Running) -> None:
    with await connect(server.url) as connection:
        request = request_bytes(chat_body("numbered-100000", stream=True))
        await asyncio.get_running_loop().sock_sendall(connection, request)
        await asyncio.get_running_loop().sock_recv(connection, 4096)
    await _open_requests(server, 0)
    (entry,) = server.book.entries
    assert entry.outcome == "client_closed"
    assert entry.tokens_sent < 100_000


async def test_more_than_the_bound_of_open_requests_is_refused() -> None:
    async with running(quick_settings(max_open_requests=1)) as server:
        with await connect(server.url) as connection:
            request = request_bytes(chat_body(), "silence")
            await asyncio.get_running_loop().sock_sendall(connection, request)
            await _open_requests(server, 1)
            received = await _ask(server, "")
    assert received.data.startswith(b"HTTP/1.1 503 ")


async def test_stopping_ends_what_is_stalled() -> None:
    listening: asyncio.Queue[Running] = asyncio.Queue(1)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        service = tasks.create_task(
            run(quick_settings(drain_s=30), ready=listening.put_nowait, stop=stop)
        )
        server = await listening.get()
        asked = tasks.create_task(exchange(server.url, request_bytes(chat_body(), "silence"), 5))
        await _open_requests(server, 1)
        stop.set()
        await asyncio.wait_for(service, 1)
    assert asked.result().ended == "reset"
    assert server.book.entries[0].outcome == "stopped"


async def test_cancelling_closes_the_listener() -> None:
    listening: asyncio.Queue[Running] = asyncio.Queue(1)
    service = asyncio.create_task(run(quick_settings(), ready=listening.put_nowait))
    server = await listening.get()
    service.cancel()
    with pytest.raises(asyncio.CancelledError):
        await service
    with pytest.raises(ConnectionRefusedError):
        await connect(server.url)
