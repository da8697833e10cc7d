"""Whatever a hostile or dying provider does is told by its cause and by what was sent."""

import asyncio

import pytest

from droveway.caller.transport import TransportSettings, UpstreamTransport
from droveway.caller.upstream_errors import (
    BadResponse,
    BodyCut,
    ConnectFailed,
    NoResponse,
    UpstreamError,
)
from droveway.caller.upstream_response import HeadCaps
from tests.support.calls import HEADERS, PHASES, assert_at_rest, called, opened
from tests.support.upstream import (
    CHUNKED,
    Peer,
    Script,
    ScriptedUpstream,
    answer,
    chunk,
    replies,
    resets,
)

UNFRAMED = b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n"


FAULTS: dict[str, tuple[Script, type[UpstreamError], set[str]]] = {
    "reset after the request": (resets(), NoResponse, {"reset"}),
    "closed inside the head": (replies(b"HTTP/1.1 200 OK\r\nconte"), NoResponse, {"closed"}),
    "reset in a chunked body": (resets(CHUNKED, chunk(b"1")), BodyCut, {"reset", "incomplete"}),
    "reset in a body without length": (resets(UNFRAMED), BodyCut, {"reset"}),
    "chunks cut": (replies(CHUNKED + chunk(b"abc")), BodyCut, {"incomplete"}),
    "length not met": (replies(answer(b"abc")[:-1]), BodyCut, {"incomplete"}),
    "no HTTP": (replies(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), BadResponse, {"malformed"}),
    "two lengths": (replies(answer(headers={"Content-Length": "9"})), BadResponse, {"malformed"}),
    "malformed chunks": (replies(CHUNKED, chunk(b"abc"), b"zz\r\n"), BadResponse, {"malformed"}),
    "field too long": (replies(answer(headers={"x": "y" * 9_000})), BadResponse, {"malformed"}),
    "too many fields": (
        replies(answer(headers={f"x{n}": "y" for n in range(101)})),
        BadResponse,
        {"malformed"},
    ),
    "head too large": (
        replies(answer(headers={f"x{n}": "y" * 8_000 for n in range(5)})),
        BadResponse,
        {"head_too_large"},
    ),
    "interim flood": (
        replies(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5_000),
        BadResponse,
        {"interim_flood"},
    ),
    "an answer behind too many interim ones": (
        replies(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 30 + answer()),
        BadResponse,
        {"interim_flood"},
    ),
    "redirect": (
        replies(answer(status="307 Go", headers={"location": "http://169.254.169.254/"})),
        BadResponse,
        {"redirect"},
    ),
    "upgrade": (
        replies(b"HTTP/1.1 101 Up\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
        BadResponse,
        {"status"},
    ),
    "body too large": (replies(answer(bytes(2 << 20))), BadResponse, {"too_large"}),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_fault_is_told_by_its_cause(fault: str) -> None:
    script, kind, causes = FAULTS[fault]
    async with opened(script) as (transport, upstream):
        with pytest.raises(kind) as failed:
            await called(transport)
        assert failed.value.cause in causes
        assert (failed.value.request_sent, failed.value.retry_safe) == (True, False)
        assert "canary" not in str(failed.value)
        assert failed.value.__cause__ is None
        assert len(upstream.requests) == 1
        assert transport.statistics().in_use == 0


async def test_malformed_chunk_in_a_running_body_wakes_its_reader() -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"data: 1\n\n"))
        await go_on.wait()
        await peer.send(b"zz\r\n")
        await peer.gone()

    async with opened(script) as (transport, _):
        async with transport.send("POST", "/x", HEADERS, b"{}", PHASES) as response:
            assert await response.read() == b"data: 1\n\n"
            go_on.set()
            with pytest.raises(BadResponse):
                await response.read()
        assert_at_rest(transport)


async def test_bytes_before_a_cut_are_handed_out_first() -> None:
    whole = CHUNKED + chunk(b"data: 1\n\n") + chunk(b"data: [DONE]\n\n")
    async with (
        opened(replies(whole)) as (transport, upstream),
        transport.send("POST", "/x", HEADERS, b"{}", PHASES) as response,
    ):
        await (await upstream.peer()).closed()
        assert await response.read() == b"data: 1\n\ndata: [DONE]\n\n"
        with pytest.raises(BodyCut):
            await response.read()


async def test_few_interim_answers_are_skipped() -> None:
    script = replies(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + answer())
    async with opened(script) as (transport, _):
        assert await called(transport) == b"{}"


async def test_body_without_length_or_chunks_says_that_its_end_proves_nothing() -> None:
    async with (
        opened(replies(b"HTTP/1.1 200 OK\r\n\r\n{}")) as (transport, _),
        transport.send("POST", "/x", HEADERS, b"{}", PHASES) as response,
    ):
        assert not response.framed
        assert await response.read_all(10) == b"{}"


async def test_refused_connect_is_safe_to_try_again(unused_tcp_port: int) -> None:
    settings = TransportSettings(base_url=f"http://127.0.0.1:{unused_tcp_port}")
    async with UpstreamTransport(settings) as transport:
        with pytest.raises(ConnectFailed) as failed:
            await called(transport)
        assert (failed.value.cause, failed.value.retry_safe) == ("refused", True)
        assert_at_rest(transport)


async def test_failed_tls_handshake_is_safe_to_try_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with ScriptedUpstream(script) as upstream:
        settings = TransportSettings(base_url=f"https://127.0.0.1:{upstream.port}")
        async with UpstreamTransport(settings) as transport:
            with pytest.raises(ConnectFailed) as failed:
                await called(transport)
            assert (failed.value.cause, failed.value.retry_safe) == ("tls", True)
            assert_at_rest(transport)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    async with opened() as (transport, _):
        assert await called(transport) == b"{}"


async def test_head_caps_are_settings() -> None:
    script = replies(answer(headers={"x": "y" * 40}))
    async with opened(script, head=HeadCaps(max_head_bytes=50)) as (transport, _):
        with pytest.raises(BadResponse, match="max_head_bytes = 50"):
            await called(transport)
