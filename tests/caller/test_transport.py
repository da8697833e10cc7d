"""Calls to a provider: what goes out, the transport's four traps, kept connections."""

import asyncio
import gzip
from contextlib import AsyncExitStack

import aiohttp
import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

from droveway.caller.transport import TransportSettings, TransportStatistics, UpstreamTransport
from droveway.caller.upstream_errors import (
    BadResponse,
    NoResponse,
    SendFailed,
    UpstreamError,
)
from tests.support.calls import HEADERS, PHASES, assert_at_rest, called, opened
from tests.support.upstream import (
    Peer,
    ScriptedUpstream,
    answer,
    half,
    replies,
)


async def test_request_goes_out_as_built_and_the_answer_comes_back() -> None:
    async with opened(replies(answer(b'{"ok":1}', headers={"X-Request-Id": "r1"}))) as (
        t,
        upstream,
    ):
        async with t.send("POST", "/chat/completions", HEADERS, b'{"a":1}', PHASES) as response:
            assert (response.status, response.headers["x-request-id"]) == (200, "r1")
            assert t.statistics().in_use == 1
            assert await response.read_all(100) == b'{"ok":1}'
        (request,) = upstream.requests
        assert (request.method, request.path) == ("POST", "/v1/chat/completions")
        assert request.body == b'{"a":1}'
        assert request.headers["authorization"] == "Bearer canary-7f3a"
        assert request.headers["accept-encoding"] == "identity"


async def test_large_body_goes_out_with_its_length_and_no_chunks() -> None:
    body = bytes(range(256)) * 12_000
    async with opened() as (transport, upstream):
        await called(transport, body)
        (request,) = upstream.requests
        assert request.headers["content-length"] == str(len(body))
        assert "transfer-encoding" not in request.headers
        assert request.body == body


async def test_connections_are_kept_up_to_the_idle_bound() -> None:
    async with opened(max_idle_connections=2) as (transport, upstream):
        await asyncio.gather(*(called(transport) for _ in range(5)))
        assert_at_rest(transport, open_connections=2)
        await asyncio.gather(*(called(transport) for _ in range(2)))
        assert len(upstream.peers) == 5


async def test_idle_connections_are_kept_for_as_long_as_is_told() -> None:
    async with opened(keepalive_s=0.05) as (transport, upstream):
        await called(transport)
        assert_at_rest(transport, open_connections=1)
        await (await upstream.peer()).closed()
        assert_at_rest(transport)


async def test_pool_is_as_large_as_it_is_told_not_a_hundred() -> None:
    naive = AiohttpTransport(limits=httpx.Limits(max_connections=None)).get_client()
    assert naive.connector is not None
    assert naive.connector.limit == 100
    await naive.close()

    async with opened(half, max_connections=150) as (transport, _), AsyncExitStack() as calls:
        for _ in range(150):
            await calls.enter_async_context(transport.send("POST", "/x", HEADERS, b"{}", PHASES))
        assert transport.statistics() == TransportStatistics(150, 150, 0, 150)


async def test_cookies_of_one_call_are_not_sent_with_the_next() -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer(headers={"set-cookie": "session=tenant-a"}))

    async with ScriptedUpstream(script) as upstream:
        base_url = f"http://localhost:{upstream.port}"
        async with aiohttp.ClientSession() as session:
            naive = AiohttpTransport(client=session)
            for _ in range(2):
                response = await naive.handle_async_request(httpx.Request("POST", base_url))
                await response.aread()
        assert upstream.requests[1].headers["cookie"] == "session=tenant-a"

        async with UpstreamTransport(TransportSettings(base_url=base_url)) as transport:
            await called(transport)
            await called(transport)
        assert not [r for r in upstream.requests[2:] if "cookie" in r.headers]


async def test_compressed_answer_is_refused_not_inflated() -> None:
    bomb = gzip.compress(bytes(8 << 20))
    script = replies(answer(bomb, headers={"content-encoding": "gzip"}))
    async with ScriptedUpstream(script) as upstream, aiohttp.ClientSession() as session:
        naive = AiohttpTransport(client=session)
        response = await naive.handle_async_request(httpx.Request("POST", upstream.url))
        assert len(await response.aread()) > 500 * len(bomb)
        assert "gzip" in upstream.requests[0].headers["accept-encoding"]

    async with opened(script) as (transport, _):
        with pytest.raises(BadResponse) as refused:
            await called(transport)
        assert refused.value.cause == "content_encoding"


async def test_close_after_the_request_is_no_failed_connect() -> None:
    async with ScriptedUpstream(replies()) as upstream, aiohttp.ClientSession() as session:
        naive = AiohttpTransport(client=session)
        with pytest.raises(httpx.ConnectTimeout):
            await naive.handle_async_request(httpx.Request("POST", upstream.url, content=b"{}"))

    async with opened(replies()) as (transport, upstream):
        with pytest.raises(NoResponse) as lost:
            await called(transport)
        assert (lost.value.request_sent, lost.value.retry_safe) == (True, False)
        assert len(upstream.requests) == 1
        assert_at_rest(transport)


async def answer_once(peer: Peer) -> None:
    """Answer one request, read the next one and close."""
    await replies(answer())(peer)
    await peer.request()


async def test_post_lost_on_a_kept_connection_is_not_sent_twice() -> None:
    async with opened(answer_once) as (transport, upstream):
        await called(transport)
        with pytest.raises(NoResponse) as lost:
            await called(transport)
        assert (lost.value.request_sent, lost.value.retry_safe) == (True, False)
        assert (len(upstream.peers), len(upstream.requests)) == (1, 2)


async def test_policy_may_take_a_call_lost_on_a_kept_connection_as_unprocessed() -> None:
    async with opened(answer_once, stale_is_unsent=True) as (transport, _):
        await called(transport)
        with pytest.raises(NoResponse) as lost:
            await called(transport)
        assert (lost.value.request_sent, lost.value.retry_safe) == (True, True)
    async with opened(replies(), stale_is_unsent=True) as (transport, _):
        with pytest.raises(NoResponse) as lost:
            await called(transport)
        assert lost.value.retry_safe is False


async def outcome(transport: UpstreamTransport) -> UpstreamError | None:
    try:
        await called(transport)
    except UpstreamError as lost:
        return lost
    return None


async def test_close_of_a_kept_connection_is_told_by_what_was_sent_at_any_turn_of_the_loop() -> (
    None
):
    outcomes: list[type[UpstreamError] | None] = []
    for turns in range(4):
        async with opened() as (transport, upstream):
            await called(transport)
            (await upstream.peer()).finish()
            for _ in range(turns):
                await asyncio.sleep(0)
            lost = await outcome(transport)
            outcomes.append(type(lost) if lost else None)
            if lost is not None:
                assert lost.request_sent is isinstance(lost, NoResponse)
                assert lost.retry_safe is not lost.request_sent
                assert len(upstream.requests) == 1
    assert SendFailed in outcomes
    assert outcomes[-1] is None


async def test_get_is_tried_again_on_a_fresh_connection() -> None:
    async with opened() as (transport, upstream):
        await called(transport, b"", method="GET")
        (await upstream.peer()).finish()
        assert await called(transport, b"", method="GET") == b"{}"
        assert len(upstream.peers) == 2
