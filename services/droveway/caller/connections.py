"""Our grip on aiohttp's connections: the only place that knows how it is built inside.

aiohttp is told what it does not ask for by itself: how many idle connections to keep, how many
interim (1xx) answers are too many, at which stage a call was when it failed, why a proxy gave no
tunnel, and that what a provider says unasked is nobody's answer. Written against aiohttp 3.14; the
tests of `transport` fail when one of these grips slips.
"""

import asyncio
from contextvars import ContextVar
from ssl import SSLContext
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EmptyStreamReader, StreamReader

from droveway.caller.phases import Phase, Phases, PhaseTimer
from droveway.caller.proxies import TUNNEL_BROKE, tunnel_failure
from droveway.caller.upstream_errors import BadResponse, Stage, UpstreamError, from_foreign
from droveway.caller.upstream_url import CheckedResolver

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage
    from aiohttp.tracing import Trace


class Exchange:
    """One request and its answer on one connection: stage, timer, and the way to end both."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, phases: Phases, *, stale_is_unsent: bool
    ) -> None:
        self.phases = phases
        self.timer = PhaseTimer(loop, phases, self._expire)
        self.stage = Stage.CONNECTING
        self.request_sent = False
        self.reused = True
        self.response: aiohttp.ClientResponse | None = None
        self._stale_is_unsent = stale_is_unsent
        self._transport: asyncio.Transport | None = None

    def connected(self, connection: "Connection") -> None:
        """A connection was found or made; the request is about to be written."""
        self._transport = connection.transport
        self.stage = Stage.SENDING
        self.timer.enter(Phase.WRITE, self.phases.write_s)

    def writing(self) -> None:
        """The first byte is about to be written, unless the peer has closed meanwhile."""
        if self._transport is not None and not self._transport.is_closing():
            self.request_sent = True

    def written(self) -> None:
        """The last byte was handed to the system; an early answer may be under way already."""
        if self.stage is Stage.SENDING and self.request_sent:
            self.stage = Stage.WAITING
            self.timer.enter(Phase.RESPONSE_HEADERS, self.phases.first_byte_s)

    def answered(self) -> aiohttp.ClientResponse:
        """The response headers are there."""
        assert self.response is not None
        self.stage = Stage.READING
        self.timer.rest()
        return self.response

    def failure(self, error: BaseException) -> UpstreamError:
        """What a library's exception means here; an expired phase explains it before all else."""
        if self.timer.expired is not None:
            return self.timer.error(request_sent=self.request_sent)
        allowed = self.reused and self._stale_is_unsent
        return from_foreign(
            error, self.stage, request_sent=self.request_sent, policy_allows=allowed
        )

    def close(self) -> None:
        """End the call: an unfinished one loses its connection at once, unsent bytes with it."""
        self.timer.close()
        unfinished = self.response is not None and self.response.connection is not None
        # A connection that aiohttp has closed may linger until its write buffer is empty.
        if unfinished or (self._transport is not None and self._transport.is_closing()):
            self._cut()
        if self.response is not None:
            self.response.close()
            _let_go(self.response)
        self.response = self._transport = None

    def _expire(self) -> None:
        """A phase is over: wake the body's reader, or by the lost connection the head's."""
        if self.response is not None and self.stage is Stage.READING:
            self.response.content.set_exception(self.timer.error(request_sent=True))
        self._cut()

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _let_go(response: aiohttp.ClientResponse) -> None:
    """Breaks the circles that aiohttp leaves of a call that was cut, so that it is freed at once.

    Else each waits for a full collection, which is rare, and memory seems to grow.
    """
    content: StreamReader | None = response.content
    if content is None or isinstance(content, EmptyStreamReader):
        return  # there is no body to hold anything
    content._eof_callbacks.clear()  # noqa: SLF001 - the response, which holds the content
    error: BaseException | None = content.exception()
    while error is not None:
        error.__traceback__ = None  # frames that hold the content and the connection
        error = error.__cause__ or error.__context__


CURRENT: ContextVar[Exchange] = ContextVar("droveway_upstream_exchange")
"""The exchange that the running task has asked the transport for."""


class Request(aiohttp.ClientRequest):
    """A request that tells its exchange how far it has come."""

    async def send(self, conn: "Connection") -> aiohttp.ClientResponse:
        """Write the request; called once per connection tried."""
        exchange = CURRENT.get()
        exchange.connected(conn)
        if not self._body:
            exchange.writing()
        exchange.response = response = await super().send(conn)
        if not self._body:
            exchange.written()
        return response

    async def write_bytes(
        self,
        writer: "AbstractStreamWriter",
        conn: "Connection",
        content_length: int | None = None,
    ) -> None:
        """Write head and body; aiohttp runs it as a task of its own."""
        exchange = CURRENT.get()
        exchange.writing()
        await super().write_bytes(writer, conn, content_length)
        exchange.written()


class _Handler(ResponseHandler):
    """A connection's protocol that sees through four answers which fool aiohttp's own.

    Interim answers without end are skipped without end, each restarting the read time-out; a body
    whose chunks turn out malformed leaves its reader waiting for ever; a reset inside a body that
    lasts until the connection's end looks like that end; and what comes while a connection is idle
    (a 408 before its close) is taken for the next request's answer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, max_interim: int) -> None:
        super().__init__(loop)
        self._max_interim = max_interim
        self._interim = 0
        self.idle = False

    def data_received(self, data: bytes) -> None:
        """Take bytes; a connection on which they come unasked is of no use any more."""
        unasked = self.idle and bool(data)
        if not unasked:
            super().data_received(data)
            unasked = self.idle and self.should_close  # behind the answer's end, in one read
        if unasked:
            self.abort()

    def feed_data(self, data: "tuple[RawResponseMessage, StreamReader]", size: int = 0) -> None:
        """Take one parsed head."""
        if data[0].code < 200:
            self._interim += 1
        elif self._interim <= self._max_interim:  # a head behind too many of them is refused too
            self._interim = 0
        if self._interim <= self._max_interim:
            super().feed_data(data, size)
        elif self.exception() is None:
            explanation = f"more than {self._max_interim} interim (1xx) answers"
            self.set_exception(BadResponse("interim_flood", explanation, request_sent=True))
            if self.transport is not None:
                self.transport.abort()

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Fail the connection; malformed bytes fail the body that is being read, too."""
        super().set_exception(exc, exc_cause or exc)
        if self._payload is not None and isinstance(exc, HttpProcessingError):
            explanation = "the body's chunks are not HTTP/1.1"
            self._payload.set_exception(BadResponse("malformed", explanation, request_sent=True))

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone, with the system's error where it did not end by FIN."""
        if exc is not None and self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(aiohttp.ClientOSError(*exc.args))
        super().connection_lost(exc)


class Connector(aiohttp.TCPConnector):
    """TCP and TLS connections with an explicit bound on all of them and on the idle ones."""

    def __init__(
        self, *, limit: int, max_idle: int, max_interim: int, keepalive_s: float, ssl: SSLContext
    ) -> None:
        super().__init__(
            limit=limit, keepalive_timeout=keepalive_s, ssl=ssl, resolver=CheckedResolver()
        )
        self._max_idle = max_idle
        self._factory = self._handler  # type: ignore[assignment]
        self._max_interim = max_interim

    @property
    def idle(self) -> int:
        """Connections that wait for their next request."""
        return sum(map(len, self._conns.values()))

    @property
    def open(self) -> int:
        """All connections, those being made included."""
        return self.idle + len(self._acquired)

    def _handler(self) -> ResponseHandler:
        return _Handler(self._loop, self._max_interim)

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: "list[Trace]", timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        CURRENT.get().reused = False
        if req.proxy is None:
            return await super()._create_connection(req, traces, timeout)
        try:
            return await super()._create_connection(req, traces, timeout)
        except TUNNEL_BROKE as error:
            raise tunnel_failure(error) from None

    async def _get(self, key: "ConnectionKey", traces: "list[Trace]") -> "Connection | None":
        connection = await super()._get(key, traces)
        if connection is not None and isinstance(connection.protocol, _Handler):
            connection.protocol.idle = False
        return connection

    def _release(
        self, key: "ConnectionKey", protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        too_many = self.idle >= self._max_idle
        if isinstance(protocol, _Handler):
            protocol.idle = True
        super()._release(key, protocol, should_close=should_close or too_many)
