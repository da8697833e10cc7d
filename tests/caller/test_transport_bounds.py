"""Time limits, the full pool, and calls that are left: each gives its connection back."""

import asyncio

import pytest

from droveway.caller.phases import Phases
from droveway.caller.transport import TransportSettings, TransportStatistics, UpstreamTransport
from droveway.caller.upstream_errors import (
    BodyCut,
    ConnectFailed,
    PoolFull,
    ReadStalled,
    ResponseTimeout,
    SendFailed,
    UpstreamError,
)
from tests.support.calls import HEADERS, PHASES, assert_at_rest, called, opened
from tests.support.upstream import (
    CHUNKED,
    Peer,
    Script,
    ScriptedUpstream,
    chunk,
    half,
    stuck,
    unread,
)

TIMEOUTS: dict[str, tuple[Script, Phases, bytes, type[UpstreamError], str, bool]] = {
    "connect": (unread, Phases(connect_s=0.05), b"{}", ConnectFailed, "timeout", False),
    "write": (unread, Phases(write_s=0.05), bytes(20 << 20), SendFailed, "timeout", True),
    "headers": (stuck, Phases(first_byte_s=0.05), b"{}", ResponseTimeout, "response_headers", True),
    "token": (half, Phases(first_token_s=0.05), b"{}", ResponseTimeout, "first_token", True),
    "idle": (half, Phases(idle_s=0.05), b"{}", ReadStalled, "idle", True),
    "total": (half, Phases(total_s=0.05), b"{}", ResponseTimeout, "total", True),
    "total before the head": (stuck, Phases(total_s=0.2), b"{}", ResponseTimeout, "total", True),
}


@pytest.mark.parametrize("phase", TIMEOUTS)
async def test_phase_over_its_limit_is_an_error_of_its_own(phase: str) -> None:
    script, phases, body, kind, cause, sent = TIMEOUTS[phase]
    async with ScriptedUpstream(script) as upstream:
        # To connect is also the TLS handshake, which this peer never answers.
        scheme = "https" if phase == "connect" else "http"
        settings = TransportSettings(base_url=f"{scheme}://127.0.0.1:{upstream.port}")
        async with UpstreamTransport(settings) as transport:
            with pytest.raises(kind) as late:
                await called(transport, body, phases)
            assert (late.value.cause, late.value.request_sent) == (cause, sent)
            assert_at_rest(transport)


async def test_limit_on_the_first_token_is_lifted_once_it_is_seen() -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"a"))
        await go_on.wait()
        await peer.send(chunk(b"b") + chunk(b""))

    async with opened(script) as (transport, _):
        phases = Phases(first_token_s=0.05)
        async with transport.send("POST", "/x", HEADERS, b"{}", phases) as response:
            assert await response.read() == b"a"
            response.first_token_seen()
            asyncio.get_running_loop().call_later(0.1, go_on.set)
            assert [piece async for piece in response.chunks()] == [b"b"]


async def test_reader_that_pauses_is_not_upstream_that_stalls() -> None:
    async with opened(half) as (transport, _):
        phases = Phases(idle_s=0.05)
        async with transport.send("POST", "/x", HEADERS, b"{}", phases) as response:
            await response.read()
            past_the_limit = asyncio.Event()
            asyncio.get_running_loop().call_later(0.1, past_the_limit.set)
            await past_the_limit.wait()
            with pytest.raises(ReadStalled):
                await response.read()


async def test_call_beyond_the_pool_waits_then_is_refused() -> None:
    async with opened(half, max_connections=1) as (transport, upstream):
        async with transport.send("POST", "/x", HEADERS, b"{}", PHASES):
            with pytest.raises(PoolFull) as full:
                await called(transport, phases=Phases(pool_wait_s=0.02))
            assert (full.value.cause, full.value.retry_safe) == ("timeout", True)
            assert transport.statistics() == TransportStatistics(1, 1, 0, 1)
        assert len(upstream.requests) == 1


async def test_call_beyond_the_waiting_bound_is_refused_at_once() -> None:
    async with (
        opened(half, max_connections=1, max_waiting=1) as (transport, _),
        transport.send("POST", "/x", HEADERS, b"{}", PHASES),
    ):
        waiting = asyncio.create_task(called(transport, phases=Phases(pool_wait_s=5)))
        await asyncio.sleep(0)
        assert transport.statistics().waiting == 1
        with pytest.raises(PoolFull) as full:
            await called(transport, phases=Phases(pool_wait_s=5))
        assert full.value.cause == "waiting"
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert transport.statistics() == TransportStatistics(1, 1, 0, 1)


async def test_waiting_call_takes_the_place_that_comes_free() -> None:
    async with opened(max_connections=1) as (transport, upstream):
        assert await asyncio.gather(*(called(transport) for _ in range(20))) == [b"{}"] * 20
        assert len(upstream.peers) == 1


async def test_call_cancelled_before_the_head_closes_upstream_at_once() -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.gone()

    async with opened(script) as (transport, upstream):
        call = asyncio.create_task(called(transport))
        await asked.wait()
        left_s = asyncio.get_running_loop().time()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert_at_rest(transport)
        await upstream.finished()
        assert asyncio.get_running_loop().time() - left_s < 0.05


async def test_call_cancelled_inside_the_body_closes_upstream_at_once() -> None:
    reading = asyncio.Event()

    async def call(transport: UpstreamTransport) -> None:
        async with transport.send("POST", "/x", HEADERS, b"{}", PHASES) as response:
            async for _ in response.chunks():
                reading.set()

    async with opened(half) as (transport, upstream):
        running = asyncio.create_task(call(transport))
        await reading.wait()
        left_s = asyncio.get_running_loop().time()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert_at_rest(transport)
        await upstream.finished()
        assert asyncio.get_running_loop().time() - left_s < 0.05


async def test_leaving_the_block_inside_the_body_closes_upstream_at_once() -> None:
    async with opened(half) as (transport, upstream):
        async with transport.send("POST", "/x", HEADERS, b"{}", PHASES) as response:
            await response.read()
            left_s = asyncio.get_running_loop().time()
        assert_at_rest(transport)
        await upstream.finished()
        assert asyncio.get_running_loop().time() - left_s < 0.05


async def test_cancelled_upload_does_not_linger_in_the_write_buffer() -> None:
    async with opened(unread) as (transport, upstream):
        call = asyncio.create_task(called(transport, bytes(20 << 20)))
        await upstream.peer()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert_at_rest(transport)


async def test_call_cancelled_while_connecting_gives_its_place_back() -> None:
    async with ScriptedUpstream(unread) as upstream:
        settings = TransportSettings(base_url=f"https://127.0.0.1:{upstream.port}")
        async with UpstreamTransport(settings) as transport:
            call = asyncio.create_task(called(transport))
            await upstream.peer()
            assert transport.statistics().in_use == 1
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert_at_rest(transport)


async def test_closed_response_reads_no_further() -> None:
    async with (
        opened(half) as (transport, _),
        transport.send("POST", "/x", HEADERS, b"{}", PHASES) as response,
    ):
        await response.aclose()
        with pytest.raises(BodyCut, match="this side"):
            await response.read()
