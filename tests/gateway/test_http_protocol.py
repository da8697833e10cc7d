import asyncio
import logging

import httpx
import pytest

from droveway.gateway.server import serving
from tests.support.asgi_probe import AsgiProbe
from tests.support.http_edge import (
    CALM,
    GET,
    POST,
    closed_without_a_word,
    on_each_loop,
    refused,
)
from tests.support.raw_http import exchange, raw_connection


@pytest.mark.parametrize(
    ("request_bytes", "path", "size"),
    [
        pytest.param(GET % b"echo", "/echo", 0, id="get"),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
            "/echo",
            3,
            id="length",
        ),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
            "/echo",
            0,
            id="length-0",
        ),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: Chunked\r\n\r\n"
            b"3;a=b\r\nabc\r\n002\r\nde\r\n0\r\nx-trailer: y\r\n\r\n",
            "/echo",
            5,
            id="chunked",
        ),
        pytest.param(b"GET /%65cho?a=b HTTP/1.1\r\nhost: a:80\r\n\r\n", "/echo", 0, id="escaped"),
        pytest.param(b"GET http://A/echo HTTP/1.1\r\nhost: a\r\n\r\n", "/echo", 0, id="absolute"),
        pytest.param(b"GET http://a HTTP/1.1\r\nhost: a\r\n\r\n", "/", 0, id="absolute-no-path"),
        pytest.param(b"GET http://a?b HTTP/1.1\r\nhost: a\r\n\r\n", "/", 0, id="absolute-query"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", "*", 0, id="asterisk"),
        pytest.param(
            b"\r\n\r\nGET /echo HTTP/1.1\r\nhost: a\r\n\r\n", "/echo", 0, id="blank-first"
        ),
        pytest.param(b"GET /echo HTTP/1.1\r\nhost: [::1]:8\r\n\r\n", "/echo", 0, id="ipv6-host"),
        pytest.param(b"GET /echo HTTP/1.1\r\nhost:\r\n\r\n", "/echo", 0, id="empty-host"),
        pytest.param(b"GET /echo HTTP/1.0\r\n\r\n", "/echo", 0, id="http-1.0"),
        pytest.param(
            b"GET /echo HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings\r\n"
            b"upgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
            "/echo",
            0,
            id="h2c-offer-ignored",
        ),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"content-length: 2\r\n\r\nab",
            "/echo",
            2,
            id="websocket-offer-with-body",
        ),
    ],
)
@pytest.mark.parametrize("pieces", [1, 0], ids=["at-once", "byte-by-byte"])
async def test_valid_request_reaches_the_application(
    request_bytes: bytes, path: str, size: int, pieces: int
) -> None:
    probe = AsgiProbe()
    async with (
        serving(probe, CALM, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        for piece in [request_bytes] if pieces else [bytes([byte]) for byte in request_bytes]:
            await client.send(piece)
            await asyncio.sleep(0)
        answer = await client.read_answer()
        assert (answer.status, answer.body) == (200, f"{path} {size}".encode())
        assert refused(server) == {}


async def test_trailers_are_not_added_to_the_headers() -> None:
    probe = AsgiProbe()
    head = POST % b"transfer-encoding: chunked"
    async with serving(probe, CALM, "127.0.0.1", 0) as server:
        await exchange(server.port, head + b"1\r\na\r\n0\r\nauthorization: Bearer x\r\n\r\n")
    assert [name for name, _ in probe.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]


async def test_connection_is_reused_and_answers_carry_a_date() -> None:
    async with (
        serving(AsgiProbe(), CALM, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        for _ in range(3):
            await client.send(GET % b"echo")
            answer = await client.read_answer()
            assert answer.headers["date"].endswith(" GMT")
            assert "connection" not in answer.headers
            assert "server" not in answer.headers
        statistics = server.statistics()
        assert (statistics.accepted_total, statistics.requests_total) == (1, 3)


async def test_http_1_0_gets_an_answer_without_chunks() -> None:
    probe = AsgiProbe()
    probe.release.set()
    async with (
        serving(probe, CALM, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(b"GET /sse HTTP/1.0\r\n\r\n")
        answer = await client.read_answer()
        assert "transfer-encoding" not in answer.headers
        assert answer.body == b"data: first\n\ndata: last\n\n"


HEAD = b"GET / HTTP/1.1\r\nhost: a\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        pytest.param(b"GET / HTTP/1.1\nhost: a\n\n", 400, "bad_request", id="bare-lf"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: a\n\r\n", 400, "bad_request", id="one-bare-lf"),
        pytest.param(HEAD + b"a: b\r\n c\r\n\r\n", 400, "bad_request", id="obs-fold"),
        pytest.param(HEAD + b"a: b\rc: d\r\n\r\n", 400, "bad_request", id="bare-cr"),
        pytest.param(HEAD + b"a: b\x00c\r\n\r\n", 400, "bad_request", id="nul-in-value"),
        pytest.param(HEAD + b"a\x00: b\r\n\r\n", 400, "bad_request", id="nul-in-name"),
        pytest.param(HEAD + b"a: b\x7f\r\n\r\n", 400, "bad_request", id="delete-in-value"),
        pytest.param(HEAD + b"a : b\r\n\r\n", 400, "bad_request", id="space-before-colon"),
        pytest.param(HEAD + b": b\r\n\r\n", 400, "bad_request", id="empty-name"),
        pytest.param(HEAD + b"no colon\r\n\r\n", 400, "bad_request", id="no-colon"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request", id="no-host"),
        pytest.param(HEAD + b"Host: a\r\n\r\n", 400, "bad_request", id="two-hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400, "bad_request", id="host-space"),
        pytest.param(
            b"GET / HTTP/1.1\r\nhost: a@b\r\n\r\n", 400, "bad_request", id="host-userinfo"
        ),
        pytest.param(
            b"GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n", 400, "bad_request", id="absolute-other"
        ),
        pytest.param(b"GET x HTTP/1.1\r\nhost: a\r\n\r\n", 400, "bad_request", id="relative"),
        pytest.param(b"GET /#x HTTP/1.1\r\nhost: a\r\n\r\n", 400, "bad_request", id="fragment"),
        pytest.param(b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n", 400, "bad_request", id="raw-utf8"),
        pytest.param(b"GET /\r\n\r\n", 400, "bad_request", id="http-0.9"),
        pytest.param(b"GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400, "bad_request", id="two-spaces"),
        pytest.param(b"hello there\r\n\r\n", 400, "bad_request", id="prose"),
        pytest.param(
            POST % b"content-length: 3\r\ntransfer-encoding: chunked",
            400,
            "bad_request",
            id="cl-te",
        ),
        pytest.param(
            POST % b"content-length: 3\r\ncontent-length: 3", 400, "bad_request", id="two-cl"
        ),
        pytest.param(POST % b"content-length: +5", 400, "bad_request", id="cl-plus"),
        pytest.param(POST % b"content-length: -1", 400, "bad_request", id="cl-minus"),
        pytest.param(POST % b"content-length: 0x5", 400, "bad_request", id="cl-hex"),
        pytest.param(POST % b"content-length: 4,4", 400, "bad_request", id="cl-list"),
        pytest.param(POST % b"content-length:", 400, "bad_request", id="cl-empty"),
        pytest.param(POST % b"content-length: 5 5", 400, "bad_request", id="cl-space"),
        pytest.param(
            POST % (b"content-length: " + b"9" * 30), 400, "bad_request", id="cl-30-digits"
        ),
        pytest.param(POST % b"transfer-encoding : chunked", 400, "bad_request", id="te-space"),
        pytest.param(
            POST % b"transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            400,
            "bad_request",
            id="two-te",
        ),
        pytest.param(
            b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
            400,
            "bad_request",
            id="te-1.0",
        ),
        pytest.param(b"GET / HTTP/3.0\r\nhost: a\r\n\r\n", 505, "bad_request", id="http-3"),
        pytest.param(
            HEAD + b"a: %b\r\n\r\n" % (b"x" * 200_000),
            431,
            "request_header_fields_too_large",
            id="200-kb-header",
        ),
        pytest.param(
            HEAD + b"a: b\r\n" * 5_000 + b"\r\n",
            431,
            "request_header_fields_too_large",
            id="5000-headers",
        ),
        pytest.param(
            HEAD + b"a: b\r\n" * 100 + b"\r\n",
            431,
            "request_header_fields_too_large",
            id="101-headers",
        ),
        pytest.param(GET % (b"x" * 100_000), 414, "uri_too_long", id="100-kb-uri"),
        pytest.param(GET % (b"x" * 8_192), 414, "uri_too_long", id="uri-one-over"),
        pytest.param(
            POST % b"content-length: 100001" + b"x" * 100_001,
            413,
            "request_too_large",
            id="413-by-length",
        ),
        pytest.param(
            b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", 405, "method_not_allowed", id="connect"
        ),
        pytest.param(b"TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 405, "method_not_allowed", id="trace"),
        pytest.param(
            b"get / HTTP/1.1\r\nhost: a\r\n\r\n", 405, "method_not_allowed", id="lower-case"
        ),
        pytest.param(
            b"BREW / HTTP/1.1\r\nhost: a\r\n\r\n", 405, "method_not_allowed", id="unknown"
        ),
    ],
)
async def test_hostile_head_is_answered_and_closed(
    request_bytes: bytes, status: int, code: str
) -> None:
    probe = AsgiProbe()
    async with (
        serving(probe, CALM, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(request_bytes)
        answer = await client.read_answer()
        assert (answer.status, answer.code) == (status, code)
        assert answer.headers["connection"] == "close"
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert await closed_without_a_word(client)
        assert refused(server) == {code: 1}
    assert probe.scopes == []


@pytest.mark.parametrize(
    "coding",
    [
        b"xchunked",
        b"chunked, identity",
        b"identity",
        b"gzip, chunked",
        b"\x0bchunked",
        b'"chunked"',
        b"",
    ],
)
async def test_other_transfer_coding_is_refused(coding: bytes) -> None:
    async with serving(AsgiProbe(), CALM, "127.0.0.1", 0) as server:
        answer = await exchange(
            server.port, POST % (b"transfer-encoding: " + coding) + b"0\r\n\r\n"
        )
    assert answer.status in (400, 501)


@pytest.mark.parametrize(
    ("chunks", "status"),
    [
        pytest.param(b"1;" + b"x" * 1_000_000 + b"\r\na\r\n", 400, id="1-mb-extension"),
        pytest.param(b"0x1\r\na\r\n", 400, id="hex-prefix"),
        pytest.param(b"+1\r\na\r\n", 400, id="plus"),
        pytest.param(b" 1\r\na\r\n", 400, id="space-first"),
        pytest.param(b"1 \r\na\r\n", 400, id="space-last"),
        pytest.param(b"1\na\n", 400, id="bare-lf"),
        pytest.param(b"1\ra\r\n", 400, id="bare-cr"),
        pytest.param(b"\r\n", 400, id="no-size"),
        pytest.param(b"1\r\nab\r\n", 400, id="data-too-long"),
        pytest.param(b"2\r\na\r\n0\r\n\r\n", 400, id="data-too-short"),
        pytest.param(b"f" * 16 + b"\r\n", 400, id="size-overflow"),
        pytest.param(b"186a1\r\n", 413, id="one-chunk-over-the-cap"),
        pytest.param(b"c350\r\n" + b"x" * 50_000 + b"\r\nc351\r\n", 413, id="sum-over-the-cap"),
        pytest.param(b"0\r\nno colon\r\n\r\n", 400, id="trailer-malformed"),
        pytest.param(b"0\r\n" + b"a: b\r\n" * 5_000 + b"\r\n", 431, id="5000-trailers"),
    ],
)
async def test_hostile_chunks_are_answered_and_closed(chunks: bytes, status: int) -> None:
    probe = AsgiProbe()
    async with (
        serving(probe, CALM, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(POST % b"transfer-encoding: chunked" + chunks)
        assert (await client.read_answer()).status == status
        assert await closed_without_a_word(client)
        assert probe.disconnected.is_set()


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", id="h2"
        ),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x99" * 500, id="tls"),
        pytest.param(b"\x00" * 100, id="nul"),
        pytest.param(b"\xff\xfe\n\n\n", id="garbage"),
        pytest.param(b"\nGET / HTTP/1.1\r\n\r\n", id="line-feed-first"),
    ],
)
async def test_noise_is_closed_without_an_answer_or_a_log_line(
    noise: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with (
        serving(AsgiProbe(), CALM, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(noise)
        assert await closed_without_a_word(client)
        assert refused(server) == {"not_http": 1}
    assert caplog.records == []


@on_each_loop
async def test_answer_to_an_oversized_upload_is_not_lost_to_a_reset() -> None:
    async with serving(AsgiProbe(), CALM, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.port}/echo"
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(url, content=b"x" * 8_000_000)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "request_too_large"


@on_each_loop
async def test_pipelined_requests_are_answered_in_order() -> None:
    probe = AsgiProbe()
    async with (
        serving(probe, CALM, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(GET % b"silent" + POST % b"content-length: 2" + b"ab" + GET % b"c")
        await probe.started.wait()
        assert len(probe.scopes) == 1
        probe.release.set()
        bodies = [(await client.read_answer()).body for _ in range(3)]
        assert bodies == [b"finished", b"/echo 2", b"/c 0"]


@on_each_loop
async def test_flood_behind_a_running_answer_waits_in_the_kernel() -> None:
    probe = AsgiProbe()
    async with (
        serving(probe, CALM, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(GET % b"silent")
        await probe.started.wait()
        sending = asyncio.ensure_future(client.send(GET % b"c" * 1_000_000))
        await asyncio.wait({sending}, timeout=0.2)
        assert not sending.done()
        probe.release.set()
        assert (await client.read_answer()).body == b"finished"
        assert (await client.read_answer()).body == b"/c 0"
        sending.cancel()


async def test_malformed_second_request_does_not_harm_the_first() -> None:
    probe = AsgiProbe()
    async with (
        serving(probe, CALM, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(GET % b"silent" + b"GET / HTTP/1.1\n\n")
        await probe.started.wait()
        probe.release.set()
        assert (await client.read_answer()).body == b"finished"
        assert (await client.read_answer()).status == 400
        assert await closed_without_a_word(client)


async def test_refusal_by_headers_comes_without_100_and_closes() -> None:
    async with (
        serving(AsgiProbe(), CALM, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        head = (
            b"POST /early HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"
        )
        await client.send(head)
        answer = await client.read_answer()
        assert (answer.status, answer.interim) == (401, ())
        assert answer.headers["connection"] == "close"
        await client.send(b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n")
        assert await closed_without_a_word(client)
        assert server.statistics().requests_total == 1


async def test_100_is_sent_once_the_application_reads() -> None:
    async with (
        serving(AsgiProbe(), CALM, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(POST % b"expect: 100-continue\r\ncontent-length: 3")
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert (await client.read_answer()).body == b"/echo 3"
