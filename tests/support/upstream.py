"""A provider made of one script per connection: exact bytes, in an exact order, with exact ends."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Peer:
    """One accepted connection, seen from the provider's side."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[Received] = field(default_factory=list)

    async def request(self) -> Received:
        """Read one whole request."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        method, path, _ = first.split(" ")
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(Received(method, path, headers, body))
        return self.requests[-1]

    async def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> float:
        """Wait until the client has closed, by FIN or RST, and return the loop's time."""
        try:
            while await self.reader.read(65_536):
                pass
        except ConnectionError:
            pass
        return asyncio.get_running_loop().time()

    async def closed(self) -> None:
        """Wait until our own side has closed, after the script's end."""
        await self.writer.wait_closed()

    def finish(self) -> None:
        """Close with FIN, at once and without the event loop's help."""
        with self._socket() as end:
            end.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Close with RST."""
        with self._socket() as end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def _socket(self) -> socket.socket:
        found = self.writer.get_extra_info("socket")
        return socket.socket(fileno=socket.dup(found.fileno()))


Script = Callable[[Peer], Awaitable[None]]


def answer(
    body: bytes = b"{}", status: str = "200 OK", headers: dict[str, str] | None = None
) -> bytes:
    """A whole answer with its length."""
    fields = {"content-length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; the empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


async def echo(peer: Peer) -> None:
    """Answer every request of a connection with an empty object."""
    while True:
        await peer.request()
        await peer.send(answer())


def replies(*pieces: bytes) -> Script:
    """A script that reads one request, writes the pieces and closes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            await peer.send(piece)

    return script


def resets(*pieces: bytes) -> Script:
    """A script that reads one request, writes the pieces and resets the connection."""

    async def script(peer: Peer) -> None:
        await replies(*pieces)(peer)
        peer.reset()

    return script


async def stuck(peer: Peer) -> None:
    """Read the request, then nothing."""
    await peer.request()
    await peer.gone()


async def half(peer: Peer) -> None:
    """Send the head and one chunk, then nothing."""
    await peer.request()
    await peer.send(CHUNKED + chunk(b"data: 1\n\n"))
    await peer.gone()


async def unread(peer: Peer) -> None:
    """Accept and read nothing."""
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.Event().wait()


class ScriptedUpstream:
    """A listener on loopback that runs `script` for each connection; after it, FIN."""

    def __init__(self, script: Script = echo) -> None:
        self.script = script
        self.peers: list[Peer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepted = asyncio.Condition()

    @property
    def requests(self) -> list[Received]:
        """All requests of all connections."""
        return [request for peer in self.peers for request in peer.requests]

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=512)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and end every connection."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.writer.transport.abort()
        await self._server.wait_closed()

    async def finished(self) -> None:
        """Wait until the scripts of all connections have come to their end."""
        await asyncio.gather(*self._tasks)

    async def peer(self, index: int = 0) -> Peer:
        """Wait for the connection of that number."""
        async with self._accepted:
            await self._accepted.wait_for(lambda: len(self.peers) > index)
        return self.peers[index]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(Peer(reader, writer)))
        self._tasks.add(task)

    async def _serve(self, peer: Peer) -> None:
        self.peers.append(peer)
        async with self._accepted:
            self._accepted.notify_all()
        try:
            await self.script(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            peer.writer.close()
