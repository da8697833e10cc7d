"""The gateway's HTTP server: uvicorn's protocol with our limits, listening and draining.

async with serving(application, limits, "0.0.0.0", 8080) as server:
    ...                      # serves until the block ends, then drains
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from uvicorn.config import Config
from uvicorn.server import ServerState

from droveway.gateway.connections import Connections, DateHeader, HangupWatch, ServerStatistics
from droveway.gateway.http_connection import Edge
from droveway.gateway.http_limits import HttpLimits
from droveway.gateway.http_protocol import GatewayProtocol

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
"""A raw ASGI 3 application; only `http` scopes reach it."""


class HttpServer:
    """A listening server and its connections."""

    def __init__(self, application: Application, limits: HttpLimits) -> None:
        config = Config(
            application,
            interface="asgi3",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        config.load()
        self._limits = limits
        self._connections = Connections(limits)
        self._hangups = HangupWatch(asyncio.get_running_loop())
        state = ServerState()
        self._tasks = state.tasks
        self._edge = Edge(config, limits, state, self._connections, self._hangups, DateHeader())
        self._listener: asyncio.Server | None = None
        self.port = 0

    async def listen(self, host: str, port: int) -> None:
        """Accept connections; port 0 lets the kernel choose, `port` then says which.

        Raises:
            OSError: The address can't be bound.
        """
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: GatewayProtocol(self._edge), host, port, backlog=self._limits.backlog
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    def stop_accepting(self) -> None:
        """Stop listening, let each connection's next answer be its last, close those that rest."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        self._connections.shutdown()

    async def drain(self) -> None:
        """Wait until every connection has ended, `drain_s` at most."""
        with anyio.move_on_after(self._limits.drain_s):
            await self._connections.wait_closed()

    async def close(self) -> None:
        """Cut what is still open; tasks that don't end by the disconnect are cancelled."""
        self.stop_accepting()
        self._connections.cut()
        await self._connections.wait_closed()
        for task in await self._unfinished():
            task.cancel()
        await self._unfinished()
        self._hangups.close()

    async def _unfinished(self) -> set[asyncio.Task[None]]:
        if not self._tasks:
            return set()
        _, pending = await asyncio.wait(self._tasks, timeout=self._limits.linger_s)
        return pending

    def statistics(self) -> ServerStatistics:
        """An immutable snapshot of connections, requests and refusals for the gauges."""
        return self._connections.statistics()


@asynccontextmanager
async def serving(
    application: Application, limits: HttpLimits, host: str, port: int
) -> AsyncIterator[HttpServer]:
    """Serve an ASGI application; leaving the block drains, an exception in it cuts at once.

    Args:
        application: Raw ASGI 3 application; started per request, no lifespan.
        limits: Bounds of the HTTP edge.
        host: Address to bind.
        port: Port to bind, 0 for any free one.

    Raises:
        OSError: The address can't be bound.
    """
    server = HttpServer(application, limits)
    try:
        await server.listen(host, port)
        yield server
        server.stop_accepting()
        await server.drain()
    finally:
        with anyio.CancelScope(shield=True):
            await server.close()
