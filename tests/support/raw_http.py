"""A client that speaks bytes: for requests that no HTTP library would send.

Nothing is checked on the way out, and what comes back is parsed only as far as a test asks. It
shares the event loop with the server under test.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec


class RawAnswer(NamedTuple):
    """One HTTP answer as it stood on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes
    interim: tuple[int, ...] = ()
    """Status codes of the 1xx answers before it."""

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str | None:
        """`error.code` of an answer in OpenAI's error shape."""
        code: str | None = self.json()["error"]["code"]
        return code


class RawConnection:
    """One TCP connection, as a client that may misbehave in every way."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        """Send bytes; a server that has closed already is no failure here."""
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(self._peer, data)

    async def read_some(self) -> bytes:
        """The next bytes, b"" at the end; a reset counts as the end."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        try:
            return await asyncio.get_running_loop().sock_recv(self._peer, 65_536)
        except ConnectionError:
            return b""

    async def read_to_end(self, within_s: float = 5.0) -> bytes:
        """Everything until the server closes."""
        pieces = []
        async with asyncio.timeout(within_s):
            while piece := await self.read_some():
                pieces.append(piece)
        return b"".join(pieces)

    async def read_until(self, end: bytes, within_s: float = 5.0) -> bytes:
        """Everything up to and with `end`; the rest stays for the next read.

        Raises:
            EOFError: The server closed before it.
        """
        data = b""
        async with asyncio.timeout(within_s):
            while end not in data:
                piece = await self.read_some()
                if not piece:
                    raise EOFError(data)
                data += piece
        at = data.index(end) + len(end)
        self._buffer = data[at:]
        return data[:at]

    async def read_answer(self, within_s: float = 5.0) -> RawAnswer:
        """The next answer, delimited by its own headers; 1xx answers are noted and skipped."""
        interim: list[int] = []
        while True:
            head = (await self.read_until(b"\r\n\r\n", within_s)).decode("latin-1").split("\r\n")
            status = int(head[0].split(" ", 2)[1])
            if status >= 200:
                break
            interim.append(status)
        lines = (line.partition(":") for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in lines}
        if headers.get("transfer-encoding") == "chunked":
            body = await self._read_chunks(within_s)
        elif "content-length" in headers:
            body = await self._read_exactly(int(headers["content-length"]), within_s)
        else:
            body = await self.read_to_end(within_s)
        return RawAnswer(status, headers, body, tuple(interim))

    async def _read_exactly(self, size: int, within_s: float) -> bytes:
        data = b""
        async with asyncio.timeout(within_s):
            while len(data) < size:
                piece = await self.read_some()
                if not piece:
                    raise EOFError(data)
                data += piece
        self._buffer = data[size:]
        return data[:size]

    async def _read_chunks(self, within_s: float) -> bytes:
        body = b""
        while size := int(await self.read_until(b"\r\n", within_s), 16):
            body += (await self._read_exactly(size + 2, within_s))[:-2]
        await self._read_exactly(2, within_s)
        return body

    def half_close(self) -> None:
        """Send no more, go on reading: FIN by shutdown(SHUT_WR)."""
        self._peer.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with RST."""
        self._peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._peer.close()

    def close(self) -> None:
        """Leave as programs do: FIN, and RST to whatever still comes."""
        self._peer.close()


@contextlib.asynccontextmanager
async def raw_connection(
    port: int, *, receive_buffer_bytes: int = 0
) -> AsyncIterator[RawConnection]:
    """A connection to a server on loopback; closed at the end of the block.

    Args:
        port: Port of the server.
        receive_buffer_bytes: A small kernel buffer for a client that stalls; 0 leaves the default.
    """
    peer = socket.socket()
    peer.setblocking(False)
    if receive_buffer_bytes:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    with contextlib.closing(peer):
        await asyncio.get_running_loop().sock_connect(peer, ("127.0.0.1", port))
        yield RawConnection(peer)


async def exchange(port: int, data: bytes) -> RawAnswer:
    """Send bytes on a connection of their own and read one answer."""
    async with raw_connection(port) as client:
        await client.send(data)
        return await client.read_answer()
