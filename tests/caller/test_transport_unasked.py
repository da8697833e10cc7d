"""What a provider says unasked is nobody's answer: its connection isn't used again."""

import asyncio

import pytest

from droveway.caller.transport import UpstreamTransport
from tests.support.calls import HEADERS, PHASES, assert_at_rest, called, opened
from tests.support.upstream import CHUNKED, Peer, ScriptedUpstream, answer, chunk, echo

FORGED = answer(b'"of somebody else"')
LATE = answer(b"", "408 Request Timeout", {"connection": "close"})


async def second(transport: UpstreamTransport, upstream: ScriptedUpstream) -> bytes:
    upstream.script = echo
    got = await called(transport)
    assert len(upstream.peers) == 2
    assert_at_rest(transport, open_connections=1)
    return got


@pytest.mark.parametrize("said", [FORGED, LATE, b"\r\n", b"x"])
@pytest.mark.parametrize("stays", [True, False])
async def test_what_comes_on_an_idle_connection_is_no_answer(said: bytes, stays: bool) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        await go_on.wait()
        await peer.send(said)
        if stays:
            await peer.gone()

    async with opened(script) as (transport, upstream):
        assert await called(transport) == b"{}"
        go_on.set()
        await upstream.finished()
        assert await second(transport, upstream) == b"{}"


async def test_a_second_answer_in_the_same_bytes_is_no_answer() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer() + FORGED)
        await peer.gone()

    async with opened(script) as (transport, upstream):
        assert await called(transport) == b"{}"
        assert await second(transport, upstream) == b"{}"


async def test_an_answer_behind_a_streams_end_is_no_answer() -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"data: 1\n\n"))
        await go_on.wait()
        await peer.send(chunk(b"") + FORGED)
        await peer.gone()

    async with opened(script) as (transport, upstream):
        async with transport.send("POST", "/x", HEADERS, b"{}", PHASES) as response:
            assert await response.read() == b"data: 1\n\n"
            go_on.set()
            assert await response.read() == b""
        assert await second(transport, upstream) == b"{}"
