import asyncio
import contextlib
import http.client
from typing import Any

import pytest
import uvloop

from droveway.gateway.http_limits import HttpLimits
from droveway.gateway.server import serving
from tests.support.asgi_probe import AsgiProbe
from tests.support.http_edge import (
    GET,
    SHORT,
    closed_without_a_word,
    on_each_loop,
)
from tests.support.raw_http import raw_connection


@on_each_loop
async def test_half_closed_client_gets_its_late_answer_after_one_interim() -> None:
    probe = AsgiProbe()
    limits = HttpLimits(half_close_probe_s=0.02)
    async with (
        serving(probe, limits, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(GET % b"silent")
        client.half_close()
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert not probe.disconnected.is_set()
        probe.release.set()
        answer = await client.read_answer()
        assert (answer.status, answer.body) == (200, b"finished")
        assert await closed_without_a_word(client)
        assert not probe.disconnected.is_set()


@on_each_loop
async def test_half_closed_client_gets_a_prompt_answer_without_interim() -> None:
    async with (
        serving(AsgiProbe(), SHORT, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(GET % b"echo" + GET % b"b")
        client.half_close()
        answers = [await client.read_answer(), await client.read_answer()]
        assert [answer.body for answer in answers] == [b"/echo 0", b"/b 0"]
        assert answers[0].interim == ()
        assert await closed_without_a_word(client)


@on_each_loop
async def test_half_closed_client_gets_its_stream_to_the_end() -> None:
    probe = AsgiProbe()
    limits = HttpLimits(half_close_probe_s=0.02)
    async with (
        serving(probe, limits, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(GET % b"sse")
        await client.read_until(b"data: first\n\n\r\n")
        client.half_close()
        assert await client.read_until(b": ping\n\n\r\n")
        probe.release.set()
        assert b"data: last\n\n\r\n0\r\n\r\n" in await client.read_to_end()
        assert not probe.disconnected.is_set()


@pytest.mark.parametrize("path", [b"silent", b"sse"], ids=["before-the-answer", "in-a-stream"])
@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_client_that_left_is_noticed_within_250_ms(run: Any, path: bytes, leave: str) -> None:
    async def test() -> None:
        probe = AsgiProbe()
        async with (
            serving(probe, HttpLimits(), "127.0.0.1", 0) as server,
            raw_connection(server.port) as client,
        ):
            await client.send(GET % path)
            await probe.started.wait()
            if path == b"sse":
                await client.read_until(b"data: first\n\n\r\n")
            getattr(client, leave)()
            async with asyncio.timeout(0.25):
                await probe.disconnected.wait()
            assert server.statistics().open == 0

    run(test())


@on_each_loop
async def test_half_close_counts_as_leaving_when_set_so() -> None:
    probe = AsgiProbe()
    limits = HttpLimits(half_close="disconnect")
    async with (
        serving(probe, limits, "127.0.0.1", 0) as server,
        raw_connection(server.port) as client,
    ):
        await client.send(GET % b"silent")
        await probe.started.wait()
        client.half_close()
        assert await closed_without_a_word(client)
        async with asyncio.timeout(1):
            await probe.disconnected.wait()


async def test_http_client_of_the_standard_library_skips_the_interim() -> None:
    probe = AsgiProbe()
    limits = HttpLimits(half_close_probe_s=0.02)

    def half_closing_client(port: int) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/silent")
        connection.sock.shutdown(1)
        with contextlib.closing(connection), connection.getresponse() as answer:
            return answer.read()

    async with serving(probe, limits, "127.0.0.1", 0) as server:
        answer = asyncio.ensure_future(asyncio.to_thread(half_closing_client, server.port))
        await asyncio.wait({answer}, timeout=0.2)
        probe.release.set()
        assert await answer == b"finished"
