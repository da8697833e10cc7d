"""What stands between a caller and a provider elsewhere: a proxy that opens tunnels, and TLS."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Relay:
    """A listener on loopback that dials for each connection, and passes bytes both ways."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def dial(self, client: Ends) -> Ends | None:
        """Where the bytes of a new connection go; None: it is closed."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        """Listens on a free port."""
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops listening and cuts every connection."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve((reader, writer)))
        self._tasks.add(task)

    async def _serve(self, client: Ends) -> None:
        server: Ends | None = None
        try:
            server = await self.dial(client)
            if server is not None:
                await _both_ways(client, server)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            for _, writer in filter(None, (client, server)):
                writer.close()


class TlsFront(Relay):
    """TLS in front of a server on loopback that speaks none.

    Attributes:
        target: The server's port; may be set later.
    """

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__(context)
        self.target = port

    async def dial(self, client: Ends) -> Ends:
        """Straight to the server."""
        return await asyncio.open_connection(LOOPBACK, self.target)


class ConnectProxy(Relay):
    """An HTTP proxy for tunnels, which it opens to places that it knows.

    Attributes:
        login: `user:password` that it wants; empty: anybody's. May be changed.
        heads: What it was asked, whole, one text per connection.
        tunnels: How many it has opened.
    """

    def __init__(self, places: Mapping[str, int], login: str = "") -> None:
        super().__init__()
        self._places = places
        self.login = login
        self.heads: list[str] = []
        self.tunnels = 0

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    async def dial(self, client: Ends) -> Ends | None:
        """Reads `CONNECT host:port` and answers it."""
        reader, writer = client
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        asked, *lines = head.rstrip().split("\r\n")
        method, place, _ = asked.split(" ")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        wanted = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        if self.login and fields.get("proxy-authorization") != wanted:
            refusal = "407 Proxy Authentication Required"
        elif method != "CONNECT" or place not in self._places:
            refusal = "502 Bad Gateway"
        else:
            server = await asyncio.open_connection(LOOPBACK, self._places[place])
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.tunnels += 1
            return server
        writer.write(f"HTTP/1.1 {refusal}\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        return None


async def _both_ways(one: Ends, other: Ends) -> None:
    """Until one side has ended: what it said has been passed on, and no more is wanted."""
    ways = {
        asyncio.ensure_future(_pass_on(one[0], other[1])),
        asyncio.ensure_future(_pass_on(other[0], one[1])),
    }
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
