"""HTTP to one provider: a bounded pool, time limits by phase, and no trust in what comes back.

We build each `httpx.Request` ourselves and hand it straight to httpx-aiohttp's transport, over our
own aiohttp session: httpx's client costs twice as much per call, and its pool scans all of its
connections for every request. Five traps of that transport are closed here: its connection limit
of 100, cookies replayed on other calls, compressed answers, errors that lie about what was sent,
and bytes between two calls that pass for an answer. Redirects are never followed; the environment's
proxies and `.netrc` never count.

Only idempotent methods are tried again by aiohttp itself, once, on a kept connection that turns out
dead. A POST on such a connection is `SendFailed` with nothing sent where the peer's close was seen
in time, else `NoResponse`: nobody can know whether the provider has begun.

Source: ADR-0005; docs/architecture.md, "Calling a provider"; RFC 9112 9.3.1 and 9.6.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Annotated, Self

import aiohttp
import httpx
import msgspec
from httpx_aiohttp import AiohttpTransport

from droveway.caller.connections import CURRENT, Connector, Exchange, Request
from droveway.caller.phases import Phases
from droveway.caller.proxies import Proxy
from droveway.caller.trust import tls_context
from droveway.caller.upstream_errors import FOREIGN, PoolFull
from droveway.caller.upstream_response import HeadCaps, UpstreamResponse
from droveway.caller.upstream_url import checked_base_url
from droveway.runtime.errors import SettingsError
from droveway.runtime.settings import Count, Seconds

_IDENTITY = (b"accept-encoding", b"identity")
_SLICE_BYTES = 65_536
_KNOWN_PATHS = 64


class TransportSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How one provider is reached."""

    base_url: str
    """`https://host[:port][/path]`; plain http for loopback or with `allow_http`."""
    allow_http: bool = False
    ca_file: str = ""
    """PEM file of the only authorities to trust; empty: certifi's."""
    max_connections: Count = 100
    """Calls at once; one more waits `pool_wait_s`, then it is `PoolFull`."""
    max_idle_connections: Annotated[int, msgspec.Meta(ge=0)] = 20
    """Connections kept for the next call; one more is closed when its call ends."""
    max_waiting: Count = 100
    """Calls that wait for a connection; one more is `PoolFull` at once."""
    keepalive_s: Seconds = 4.0
    """How long an idle connection is kept: less than servers keep theirs (uvicorn, Node: 5 s)."""
    read_buffer_bytes: Annotated[int, msgspec.Meta(ge=1_024)] = 32_768
    """Unread body per call beyond twice of which the provider's TCP is held back."""
    stale_is_unsent: bool = False
    """Take a call as not processed, so safe to try again, when a kept connection ended without a
    byte of an answer. Wrong for a provider that dies while it works: then it bills twice."""
    head: HeadCaps = HeadCaps()


class TransportStatistics(msgspec.Struct, frozen=True):
    """A snapshot of the pool."""

    open: int
    """Connections, idle ones and those being made included."""
    in_use: int
    """Calls that hold a place in the pool."""
    waiting: int
    """Calls that wait for one."""
    limit: int


class UpstreamTransport:
    """Calls to one provider; open it with `async with` inside the loop that uses it.

    Args:
        settings: How it is reached.
        proxy: Through which proxy; None: straight.

    Raises:
        SettingsError: `base_url` is not one that we may call, or `ca_file` can't be used.
    """

    def __init__(self, settings: TransportSettings, proxy: Proxy | None = None) -> None:
        base = checked_base_url(settings.base_url, allow_http=settings.allow_http)
        if proxy is not None and base.scheme != "https":
            raise SettingsError("a proxy is for https: it would read the key of a plain http call")
        self._base = str(base).rstrip("/")
        self.ca_file = settings.ca_file
        self.trusted = tls_context(settings.ca_file)
        """What its certificates are checked against, as the file was."""
        self._transport = AiohttpTransport(verify=self.trusted)
        self.go_through(proxy)
        self._settings = settings
        self._places = asyncio.Semaphore(settings.max_connections)
        self._in_use = 0
        self._waiting = 0
        self._url = functools.lru_cache(_KNOWN_PATHS)(self._built_url)

    async def __aenter__(self) -> Self:
        """Open the pool; no connection is made yet."""
        settings = self._settings
        self._loop = asyncio.get_running_loop()
        self._connector = Connector(
            limit=settings.max_connections,
            max_idle=settings.max_idle_connections,
            max_interim=settings.head.max_interim,
            keepalive_s=settings.keepalive_s,
            ssl=self.trusted,
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=Request,
            headers={"user-agent": "droveway"},
            trust_env=False,
            auto_decompress=False,
            read_bufsize=settings.read_buffer_bytes,
            max_line_size=settings.head.max_field_bytes,
            max_field_size=settings.head.max_field_bytes,
            max_headers=settings.head.max_headers,
        )
        self._transport.client = self._session
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection, also those in use."""
        await self._transport.aclose()

    def go_through(self, proxy: Proxy | None) -> None:
        """Send further calls this way; kept connections of another way end by being idle."""
        self._transport.proxy = proxy.for_transport() if proxy is not None else None

    @contextlib.asynccontextmanager
    async def send(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        phases: Phases,
    ) -> AsyncIterator[UpstreamResponse]:
        """Send one request and give its answer; leaving the block ends the call.

        Args:
            method: In upper case.
            path: Below the base URL, from our own tables: never a client's text.
            headers: All but host, length and encodings. Credentials belong here, not in the path.
            body: Sent as it is.
            phases: The call's time limits.

        Raises:
            UpstreamError: Anything that keeps the answer's head from coming, or makes it unusable.
        """
        await self._take_place(phases.pool_wait_s)
        exchange = Exchange(self._loop, phases, stale_is_unsent=self._settings.stale_is_unsent)
        try:
            await self._exchange(exchange, method, path, headers, body)
            async with contextlib.aclosing(UpstreamResponse(exchange, self._settings.head)) as it:
                yield it
        finally:
            exchange.close()
            self._in_use -= 1
            self._places.release()

    def statistics(self) -> TransportStatistics:
        """The pool as it is now."""
        limit = self._settings.max_connections
        return TransportStatistics(self._connector.open, self._in_use, self._waiting, limit)

    async def _take_place(self, wait_s: float) -> None:
        """Take one of the pool's places: it, not the connector, is where calls wait."""
        if self._places.locked():
            if self._waiting >= self._settings.max_waiting:
                raise PoolFull("waiting", "max_waiting calls wait already", request_sent=False)
            self._waiting += 1
            try:
                async with asyncio.timeout(wait_s):
                    await self._places.acquire()
            except TimeoutError:
                explanation = f"no connection came free in pool_wait_s = {wait_s}"
                raise PoolFull("timeout", explanation, request_sent=False) from None
            finally:
                self._waiting -= 1
        else:
            await self._places.acquire()
        self._in_use += 1

    async def _exchange(
        self,
        exchange: Exchange,
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
    ) -> None:
        """Send the request and wait for the answer's head; the hooks fill the exchange."""
        connect_s = min(exchange.phases.connect_s, exchange.timer.left_s)
        request = httpx.Request(
            method,
            self._url(path),
            headers=[*headers, _IDENTITY],
            stream=_body_stream(body),
            # What it calls the pool's time-out is aiohttp's limit on the whole connect.
            extensions={"timeout": {"pool": connect_s}},
        )
        if len(body) <= _SLICE_BYTES:
            request.read()
        else:
            request.headers["content-length"] = str(len(body))
        token = CURRENT.set(exchange)
        try:
            await self._transport.handle_async_request(request)
        except FOREIGN as error:
            raise exchange.failure(error) from None
        finally:
            CURRENT.reset(token)

    def _built_url(self, path: str) -> httpx.URL:
        if not path.startswith("/"):
            raise ValueError(f"path {path!r} must begin with a slash")
        return httpx.URL(self._base + path)


class _SlicedBody(httpx.AsyncByteStream):
    """A large body in slices, so that writing it waits for the peer and for the other calls."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), _SLICE_BYTES):
            yield self._body[start : start + _SLICE_BYTES]


def _body_stream(body: bytes) -> httpx.AsyncByteStream:
    return httpx.ByteStream(body) if len(body) <= _SLICE_BYTES else _SlicedBody(body)
