"""Calls through a real proxy: what it sees, what it may do, and how its failures are told."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from droveway.caller.credentials import Secret
from droveway.caller.failures import failure_before_commit
from droveway.caller.phases import Phases
from droveway.caller.proxies import Proxy
from droveway.caller.transport import TransportSettings, UpstreamTransport
from droveway.caller.upstream_errors import ConnectFailed, UpstreamError
from droveway.runtime.errors import SettingsError
from tests.support.calls import HEADERS, PHASES, assert_at_rest, called
from tests.support.certificates import Authority
from tests.support.tunnels import ConnectProxy, TlsFront
from tests.support.upstream import (
    Peer,
    Script,
    ScriptedUpstream,
    answer,
    echo,
    half,
    replies,
    resets,
    stuck,
)

PLACE = "provider.test:443"
LOGIN = "caller:s3cret/%"
BASE_URL = "https://provider.test/v1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def proxy_of(url: str, login: str = "") -> Proxy:
    pair = base64.b64encode(login.encode()).decode()
    return Proxy(url, Secret(f"Basic {pair}") if login else None)


def settings(authority: Authority | None, base_url: str = BASE_URL) -> TransportSettings:
    return TransportSettings(base_url=base_url, ca_file=str(authority.file) if authority else "")


@asynccontextmanager
async def behind_a_proxy(
    authority: Authority, script: Script = echo, login: str = ""
) -> AsyncIterator[tuple[UpstreamTransport, ScriptedUpstream, ConnectProxy]]:
    async with (
        ScriptedUpstream(script) as upstream,
        TlsFront(upstream.port, authority.server()) as front,
        ConnectProxy({PLACE: front.port}, login) as proxy,
        UpstreamTransport(settings(authority), proxy_of(proxy.url, login)) as transport,
    ):
        yield transport, upstream, proxy


async def test_a_proxy_learns_the_providers_name_and_nothing_else(authority: Authority) -> None:
    async with behind_a_proxy(authority, login=LOGIN) as (transport, upstream, proxy):
        assert await called(transport) == b"{}"
        (request,) = upstream.requests
        assert (request.path, request.headers["host"]) == ("/v1/chat/completions", "provider.test")
        assert request.headers["authorization"] == "Bearer canary-7f3a"
        assert not [name for name in request.headers if name.startswith("proxy")]
        first, *fields = proxy.heads[0].rstrip().split("\r\n")
        assert first == f"CONNECT {PLACE} HTTP/1.1"
        assert {field.split(":")[0].lower() for field in fields} <= {
            "accept", "accept-encoding", "host", "proxy-authorization", "user-agent",
        }  # fmt: skip
        assert "canary" not in proxy.heads[0]
        assert "user-agent: droveway" in proxy.heads[0].lower()


async def test_a_tunnel_is_kept_for_the_next_call(authority: Authority) -> None:
    async with behind_a_proxy(authority, login=LOGIN) as (transport, upstream, proxy):
        for _ in range(3):
            await called(transport, bytes(200_000))
        assert (len(upstream.requests), len(upstream.peers), proxy.tunnels) == (3, 1, 1)
        assert_at_rest(transport, open_connections=1)


async def test_an_answer_that_is_left_ends_its_tunnel(authority: Authority) -> None:
    async with behind_a_proxy(authority, half) as (transport, upstream, _):
        async with transport.send("POST", "/x", HEADERS, b"{}", PHASES) as response:
            assert await response.read() == b"data: 1\n\n"
        await upstream.finished()
        assert_at_rest(transport)


async def test_a_silent_provider_behind_a_proxy_is_late_as_any_other(authority: Authority) -> None:
    async with behind_a_proxy(authority, stuck) as (transport, _, _proxy):
        with pytest.raises(UpstreamError) as late:
            await called(transport, phases=Phases(first_byte_s=0.1))
        assert (late.value.cause, late.value.request_sent) == ("response_headers", True)
        assert_at_rest(transport)


async def silence(peer: Peer) -> None:
    await peer.reader.readuntil(b"\r\n\r\n")
    await peer.gone()


async def tunnel_to_nowhere(peer: Peer) -> None:
    await peer.reader.readuntil(b"\r\n\r\n")
    await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    await peer.gone()


QUICK = Phases(connect_s=0.1)
OPEN = b"HTTP/1.1 200 OK\r\n\r\n"
REFUSALS: dict[str, tuple[Script, Phases, str, int]] = {
    "login": (replies(answer(status="407 No")), PHASES, "proxy_refused", 407),
    "forbidden": (replies(answer(status="403 No")), PHASES, "proxy_refused", 403),
    "gateway": (replies(answer(b"x" * 90_000, "502 No")), PHASES, "proxy_refused", 502),
    "redirect": (
        replies(answer(status="302 No", headers={"location": "http://127.0.0.1/?canary"})),
        PHASES,
        "proxy_refused",
        302,
    ),
    "closed": (replies(), PHASES, "proxy_failed", 0),
    "reset": (resets(), PHASES, "proxy_failed", 0),
    "no HTTP": (replies(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), PHASES, "proxy_failed", 0),
    "interim flood": (replies(b"HTTP/1.1 103 X\r\n\r\n" * 99), PHASES, "proxy_failed", 0),
    "long head": (replies(answer(headers={"x": "y" * 9_000})), PHASES, "proxy_failed", 0),
    "endless head": (replies(OPEN[:-2] + b"x: " + b"y" * 2_000_000), PHASES, "proxy_failed", 0),
    "closed tunnel": (replies(OPEN), PHASES, "proxy_failed", 0),
    "silence": (silence, QUICK, "timeout", 0),
    "silence in the tunnel": (tunnel_to_nowhere, QUICK, "timeout", 0),
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_proxy_that_gives_no_tunnel_is_told_and_nothing_was_sent(refusal: str) -> None:
    script, phases, cause, status = REFUSALS[refusal]
    async with ScriptedUpstream(script) as proxy:
        way = proxy_of(proxy.url, LOGIN)
        async with UpstreamTransport(settings(None), way) as transport:
            with pytest.raises(ConnectFailed) as failed:
                await called(transport, phases=phases)
            assert (failed.value.cause, failed.value.status) == (cause, status)
            assert (failed.value.request_sent, failed.value.retry_safe) == (False, True)
            assert "s3cret" not in f"{failed.value!r} {failed.value.args}"
            assert "canary" not in str(failed.value)
            assert failed.value.__cause__ is None
            assert_at_rest(transport)
            told = failure_before_commit(failed.value)
            assert (told.code, told.elsewhere) == ("provider_unavailable", True)
            assert cause in told.message
            assert not status or str(status) in told.message
            await proxy.finished()


@pytest.mark.parametrize("pieces", [(OPEN + answer(b"forged"),), (OPEN, answer(b"forged"))])
async def test_a_proxy_answers_no_call_in_its_providers_place(pieces: tuple[bytes, ...]) -> None:
    async with (
        ScriptedUpstream(replies(*pieces)) as proxy,
        UpstreamTransport(settings(None), proxy_of(proxy.url)) as transport,
    ):
        with pytest.raises(ConnectFailed) as failed:
            await called(transport)
        assert failed.value.cause in ("tls", "proxy_failed")
        assert failed.value.retry_safe
        assert_at_rest(transport)


async def test_a_proxy_that_is_not_there_is_no_missing_provider(unused_tcp_port: int) -> None:
    way = proxy_of(f"http://127.0.0.1:{unused_tcp_port}")
    async with UpstreamTransport(settings(None), way) as transport:
        with pytest.raises(ConnectFailed) as failed:
            await called(transport)
        assert (failed.value.cause, failed.value.retry_safe) == ("proxy_unreachable", True)
        assert_at_rest(transport)


async def test_a_provider_that_its_proxy_does_not_reach_is_refused(authority: Authority) -> None:
    async with ConnectProxy({}) as proxy:
        async with UpstreamTransport(settings(authority), proxy_of(proxy.url)) as transport:
            with pytest.raises(ConnectFailed) as failed:
                await called(transport)
        assert (failed.value.cause, failed.value.status) == ("proxy_refused", 502)


async def test_a_certificate_of_a_strange_authority_is_refused_inside_the_tunnel(
    authority: Authority, tmp_path: Path
) -> None:
    async with behind_a_proxy(Authority(tmp_path / "strange")) as (_, upstream, proxy):
        for trusted in (authority, None):
            way = proxy_of(proxy.url)
            async with UpstreamTransport(settings(trusted), way) as transport:
                with pytest.raises(ConnectFailed) as failed:
                    await called(transport)
                assert (failed.value.cause, failed.value.retry_safe) == ("tls", True)
        assert upstream.requests == []


async def test_a_certificate_with_another_name_is_refused(authority: Authority) -> None:
    other = authority.server("subjectAltName=DNS:other.test")
    async with (
        ScriptedUpstream() as upstream,
        TlsFront(upstream.port, other) as front,
        ConnectProxy({PLACE: front.port}) as proxy,
        UpstreamTransport(settings(authority), proxy_of(proxy.url)) as transport,
    ):
        with pytest.raises(ConnectFailed) as failed:
            await called(transport)
        assert failed.value.cause == "tls"


async def test_a_call_cancelled_while_its_proxy_is_silent_leaves_nothing() -> None:
    async with ScriptedUpstream(silence) as proxy:
        way = proxy_of(proxy.url)
        async with UpstreamTransport(settings(None), way) as transport:
            call = asyncio.create_task(called(transport))
            await proxy.peer()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert_at_rest(transport)
            await proxy.finished()


async def test_another_login_is_used_from_the_next_call_on(authority: Authority) -> None:
    async with behind_a_proxy(authority, login=LOGIN) as (transport, upstream, proxy):
        await called(transport)
        transport.go_through(proxy_of(proxy.url, "caller:rotated"))
        with pytest.raises(ConnectFailed) as failed:
            await called(transport)
        assert (failed.value.cause, failed.value.status) == ("proxy_refused", 407)
        transport.go_through(proxy_of(proxy.url, LOGIN))
        assert await called(transport) == b"{}"
        assert len(upstream.requests) == 2


async def test_the_environments_proxies_never_count(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with behind_a_proxy(authority) as (proxied, upstream, proxy):
        async with TlsFront(upstream.port, authority.server()) as front:
            for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            monkeypatch.delenv("no_proxy", raising=False)
            monkeypatch.delenv("NO_PROXY", raising=False)
            straight = settings(authority, f"https://127.0.0.1:{front.port}/v1")
            async with UpstreamTransport(straight) as transport:
                await called(transport)
            assert (proxy.heads, len(upstream.requests)) == ([], 1)
            assert upstream.requests[0].headers["authorization"] == "Bearer canary-7f3a"
        for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv("no_proxy", "*")
        await called(proxied)
        assert proxy.tunnels == 1


def test_a_key_never_goes_in_the_clear_through_a_proxy() -> None:
    with pytest.raises(SettingsError, match="for https"):
        UpstreamTransport(
            TransportSettings(base_url="http://127.0.0.1:8000"), Proxy("http://127.0.0.1:1")
        )
