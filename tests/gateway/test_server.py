import asyncio
import logging
import time
from contextlib import AsyncExitStack

import pytest

from droveway.gateway.http_limits import HttpLimits
from droveway.gateway.server import serving
from tests.support.asgi_probe import AsgiProbe
from tests.support.http_edge import (
    GET,
    POST,
    SHORT,
    closed_without_a_word,
    on_each_loop,
    open_descriptors,
    refused,
    wait_until,
)
from tests.support.raw_http import RawConnection, exchange, raw_connection


@on_each_loop
async def test_slow_head_gets_408() -> None:
    async with (
        serving(AsgiProbe(), SHORT, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        dripping = asyncio.ensure_future(drip(client, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 80))
        answer = await client.read_answer()
        dripping.cancel()
        assert (answer.status, answer.code) == (408, "request_timeout")


async def drip(client: RawConnection, data: bytes) -> None:
    for byte in data:
        await client.send(bytes([byte]))
        await asyncio.sleep(0.01)


@on_each_loop
async def test_connection_that_sends_nothing_is_closed_silently() -> None:
    async with (
        serving(AsgiProbe(), SHORT, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        assert await closed_without_a_word(client)


@on_each_loop
async def test_kept_alive_connection_is_closed_silently_when_idle() -> None:
    async with (
        serving(AsgiProbe(), SHORT, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(GET % b"echo")
        assert (await client.read_answer()).status == 200
        assert await closed_without_a_word(client)


@pytest.mark.parametrize(
    ("framing", "first"),
    [
        pytest.param(b"content-length: 1000", b"x" * 10, id="length"),
        pytest.param(b"transfer-encoding: chunked", b"3e8\r\nxx", id="chunked"),
        pytest.param(b"transfer-encoding: chunked", b"", id="chunked-nothing"),
    ],
)
async def test_slow_body_gets_408_and_the_application_a_disconnect(
    framing: bytes, first: bytes
) -> None:
    probe = AsgiProbe()
    async with (
        serving(probe, SHORT, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        began_s = time.monotonic()
        await client.send(POST % framing + first)
        answer = await client.read_answer()
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert 0.15 < time.monotonic() - began_s < 1.0
        assert await closed_without_a_word(client)
        assert probe.disconnected.is_set()


@on_each_loop
async def test_body_that_keeps_its_rate_may_exceed_the_base_time() -> None:
    limits = HttpLimits(body_base_s=0.1, body_min_bytes_per_s=10_000)
    async with (
        serving(AsgiProbe(), limits, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(POST % b"content-length: 4000")
        for _ in range(8):
            await asyncio.sleep(0.03)
            await client.send(b"x" * 500)
        assert (await client.read_answer()).body == b"/echo 4000"


async def test_body_shorter_than_its_length_is_a_disconnect() -> None:
    probe = AsgiProbe()
    async with (
        serving(probe, SHORT, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(POST % b"content-length: 1000" + b"x" * 10)
        await probe.started.wait()
        client.half_close()
        assert await closed_without_a_word(client)
        assert probe.disconnected.is_set()


@on_each_loop
async def test_client_that_never_reads_is_cut() -> None:
    probe = AsgiProbe()
    async with (
        serving(probe, SHORT, "127.0.0.1", 0) as server,
        raw_connection(server.port, receive_buffer_bytes=4_096) as client,
    ):
        await client.send(GET % b"flood")
        async with asyncio.timeout(3):
            await probe.disconnected.wait()
        assert refused(server) == {"write_stalled": 1}
        assert server.statistics().open == 0


@on_each_loop
async def test_client_that_reads_slowly_is_not_cut() -> None:
    probe = AsgiProbe()
    async with (
        serving(probe, SHORT, "127.0.0.1", 0) as server,
        raw_connection(server.port, receive_buffer_bytes=4_096) as client,
    ):
        await client.send(GET % b"flood")
        until_s = time.monotonic() + 3 * SHORT.write_stall_s
        while time.monotonic() < until_s:
            assert await client.read_some()
            await asyncio.sleep(0.01)
        assert not probe.disconnected.is_set()


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(HttpLimits(max_connections=2, linger_s=0.1), id="total"),
        pytest.param(HttpLimits(max_connections_per_address=2, linger_s=0.1), id="per-address"),
    ],
)
async def test_connection_over_the_cap_gets_503_and_room_returns(limits: HttpLimits) -> None:
    async with serving(AsgiProbe(), limits, "127.0.0.1", 0) as server, AsyncExitStack() as stack:
        admitted = [await stack.enter_async_context(raw_connection(server.port)) for _ in range(2)]
        answer = await exchange(server.port, GET % b"echo")
        assert (answer.status, answer.code) == (503, "connection_limit")
        assert answer.json()["error"]["type"] == "server_error"
        await admitted[0].send(GET % b"echo")
        assert (await admitted[0].read_answer()).status == 200
        await admitted[0].send(b"GET / HTTP/1.0\r\n\r\n")
        await admitted[0].read_to_end()
        assert (await exchange(server.port, GET % b"echo")).status == 200


@on_each_loop
async def test_burst_of_2000_connections_leaks_no_descriptor() -> None:
    endings = [RawConnection.close, RawConnection.reset, RawConnection.half_close]
    sent = [
        b"",
        b"GET",
        GET % b"echo",
        GET % b"silent",
        POST % b"content-length: 9" + b"x",
        b"\x16",
    ]
    limits = HttpLimits(max_connections=50, max_lingering=20, linger_s=0.1, drain_s=0.1)
    probe = AsgiProbe()
    async with serving(probe, limits, "127.0.0.1", 0) as server:
        before = open_descriptors()
        for index in range(2_000):
            async with raw_connection(server.port) as client:
                await client.send(sent[index % len(sent)])
                endings[index % len(endings)](client)
        await wait_until(lambda: server.statistics().open == 0)
        assert open_descriptors() == before
        assert server.statistics().accepted_total == 2_000


@on_each_loop
async def test_statistics_tell_the_phase_of_each_connection() -> None:
    probe = AsgiProbe()
    limits = HttpLimits(drain_s=0.01)
    async with serving(probe, limits, "127.0.0.1", 0) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(raw_connection(server.port)) for _ in range(6)]
        for client, data in zip(
            clients[1:],
            [b"GET", POST % b"content-length: 9", GET % b"silent", GET % b"echo", b"GET\n"],
            strict=True,
        ):
            await client.send(data)
        assert (await clients[4].read_answer()).status == 200
        assert (await clients[5].read_answer()).status == 400
        phases = ["connected", "head", "body", "answer", "idle", "lingering"]
        statistics = server.statistics()
        assert statistics.phases == dict.fromkeys(phases, 1)
        assert (statistics.open, statistics.requests_total) == (6, 3)


@pytest.mark.parametrize("path", [b"fail", b"mute"], ids=["exception", "no-answer"])
async def test_failing_application_is_a_500_without_content(
    path: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    request = b"POST /%b HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nCANARY" % path
    async with serving(AsgiProbe(), SHORT, "127.0.0.1", 0) as server:
        answer = await exchange(server.port, request)
        assert (answer.status, answer.code) == (500, "internal_error")
        assert answer.json()["error"]["type"] == "server_error"
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == (path == b"fail")
    for record in errors:
        assert record.__dict__["fields"]["request_id"] == answer.headers["x-request-id"]
    assert not any("CANARY" in str(record.__dict__) for record in caplog.records)


@on_each_loop
async def test_drain_finishes_running_answers_and_closes_idle_connections() -> None:
    probe = AsgiProbe()
    async with AsyncExitStack() as stack:
        async with serving(probe, HttpLimits(idle_drain_s=0.05), "127.0.0.1", 0) as server:
            idle = await stack.enter_async_context(raw_connection(server.port))
            await idle.send(GET % b"echo")
            await idle.read_answer()
            probe.started.clear()
            running = await stack.enter_async_context(raw_connection(server.port))
            await running.send(GET % b"silent")
            await probe.started.wait()
            server.stop_accepting()
            assert await closed_without_a_word(idle)
            with pytest.raises(ConnectionRefusedError):
                await exchange(server.port, GET % b"echo")
            probe.release.set()
            answer = await running.read_answer()
            assert (answer.body, answer.headers["connection"]) == (b"finished", "close")
        assert server.statistics().open == 0


@on_each_loop
async def test_what_comes_on_a_kept_connection_after_the_stop_is_answered_as_its_last() -> None:
    async with (
        serving(AsgiProbe(), HttpLimits(), "127.0.0.1", 0) as server,
        raw_connection(server.port) as kept,
    ):
        await kept.send(GET % b"echo")
        assert "connection" not in (await kept.read_answer()).headers
        server.stop_accepting()
        await kept.send(GET % b"echo")
        answer = await kept.read_answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await closed_without_a_word(kept)


@on_each_loop
async def test_drain_is_bounded() -> None:
    probe = AsgiProbe()
    async with AsyncExitStack() as stack:
        async with serving(probe, HttpLimits(drain_s=0.05), "127.0.0.1", 0) as server:
            client = await stack.enter_async_context(raw_connection(server.port))
            await client.send(GET % b"silent")
            await probe.started.wait()
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 0.5
        assert await closed_without_a_word(client)
        assert probe.disconnected.is_set()
