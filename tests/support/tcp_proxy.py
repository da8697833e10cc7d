"""A TCP proxy on loopback that dials for each connection, and ends connections as it is told.

What happens to the bytes of one direction is up to a pump: see `fault_proxy` and `nats_proxy`.
"""

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Protocol, Self
from urllib.parse import urlsplit

Direction = Literal["up", "down"]
"""`up`: from whoever connected to the server behind the proxy. `down`: back."""

MAX_CONNECTIONS = 2_000
"""Connections at once; one more is reset."""
READ_BYTES = 65_536
_LINGER_0 = struct.pack("ii", 1, 0)


class Reset(Exception):
    """A pump's wish: both ends of its connection are to see RST."""


class Finish(Exception):
    """A pump's wish: both ends of its connection are to see FIN."""


class Pump(Protocol):
    """One direction of one connection."""

    async def run(self) -> None:
        """Moves bytes until the FIN of its source has been passed on."""


@dataclass
class Statistics:
    """What a proxy has done so far; `open` is of now."""

    accepted: int = 0
    open: int = 0
    undialled: int = 0
    """Connections that were reset since the server behind the proxy took none."""
    bytes: Counter[str] = field(default_factory=Counter)
    """Bytes passed on by direction."""
    faults: Counter[str] = field(default_factory=Counter)
    """Faults that struck, by name."""


class Connection:
    """Both sockets of one connection through the proxy."""

    def __init__(self, number: int, client: socket.socket) -> None:
        self.number = number
        self.client = client
        self.server = socket.socket()
        self.server.setblocking(False)
        self.task: asyncio.Task[None] | None = None
        for end in self._ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def _ends(self) -> tuple[socket.socket, socket.socket]:
        return self.client, self.server

    def towards(self, direction: Direction) -> tuple[socket.socket, socket.socket]:
        """Where bytes of a direction come from and where they go to."""
        return (self.client, self.server) if direction == "up" else (self.server, self.client)

    def reset_on_close(self) -> None:
        """Lets both ends see RST instead of FIN."""
        for end in self._ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)

    def finish(self) -> None:
        """FIN to both ends: a close alone would be RST where something is unread."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Closes both sockets."""
        for end in self._ends:
            end.close()


class TcpProxy:
    """Listens on a port of its own for the length of a block; subclasses make the pumps."""

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        self._target = (host, port)
        self.seed = seed
        self.statistics = Statistics()
        self.port = 0
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._listener: socket.socket | None = None
        self._refusing: socket.socket | None = None
        self._resetting: asyncio.TimerHandle | None = None
        self._failures: list[Exception] = []

    def pump(self, connection: Connection, direction: Direction) -> Pump:
        """The pump of one direction of a new connection."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        """Listens on a free port."""
        self._listen(_bound(0))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Resets what is open; raises what went wrong inside the proxy."""
        self.heal()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        self.reset()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._failures:
            raise ExceptionGroup("the proxy failed", self._failures)

    def reset(self) -> int:
        """RST on all connections; how many there were."""
        for task, connection in self._connections.items():
            connection.reset_on_close()
            task.cancel()
        self.statistics.faults["reset"] += len(self._connections)
        return len(self._connections)

    def reset_each(self, every_s: float) -> None:
        """RST on all connections now and every `every_s` seconds until `heal`."""
        if self._resetting is not None:
            self._resetting.cancel()
        self.reset()
        loop = asyncio.get_running_loop()
        self._resetting = loop.call_later(every_s, self.reset_each, every_s)

    def refuse(self) -> None:
        """New connections are refused, as by a server that isn't there; the port stays ours."""
        if self._listener is None:
            return
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        self._refusing = _bound(self.port)
        self.statistics.faults["refuse"] += 1

    def heal(self) -> None:
        """Ends every fault that lasts; what was cut stays cut."""
        if self._resetting is not None:
            self._resetting.cancel()
            self._resetting = None
        if self._refusing is not None:
            self._listen(self._refusing)
            self._refusing = None

    def _listen(self, listener: socket.socket) -> None:
        listener.listen(512)
        self._listener = listener
        self.port = int(listener.getsockname()[1])
        asyncio.get_running_loop().add_reader(listener, self._accept)

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(BlockingIOError):
            while True:
                client, _ = self._listener.accept()
                client.setblocking(False)
                self.statistics.accepted += 1
                connection = Connection(self.statistics.accepted, client)
                if len(self._connections) >= MAX_CONNECTIONS:
                    connection.reset_on_close()
                    connection.close()
                    continue
                task = asyncio.get_running_loop().create_task(self._serve(connection))
                self._connections[task] = connection
                self.statistics.open += 1
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        # Here and not in the task: one that is cancelled before its first step runs no line.
        self._connections.pop(task).close()
        self.statistics.open -= 1
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._failures.append(error)

    async def _serve(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(connection.server, self._target)
        except OSError:
            self.statistics.undialled += 1
            connection.reset_on_close()
            return
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.pump(connection, "up").run())
                tasks.create_task(self.pump(connection, "down").run())
        except* Finish:
            connection.finish()
        except* (Reset, OSError):
            connection.reset_on_close()


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setblocking(False)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def address(text: str) -> tuple[str, int]:
    """Host and port of `host:port` or of a URL.

    Raises:
        ValueError: There is no port in it.
    """
    parts = urlsplit(text if "://" in text else f"//{text}")
    if not parts.hostname or parts.port is None:
        raise ValueError(f"{text!r} isn't an address: it has to be host:port or a URL with a port")
    return parts.hostname, parts.port
