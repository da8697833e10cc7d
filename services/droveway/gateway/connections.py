"""Who is connected: caps at the door, counts for the gauges, and peers that are gone for good.

One `Connections` per listening server; the protocol of each connection reports to it.
"""

import asyncio
import fcntl
import select
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable, Mapping
from email.utils import formatdate
from enum import Enum
from types import MappingProxyType
from typing import Protocol

import msgspec

from droveway.gateway.http_limits import HttpLimits, HttpRefusal


class Phase(Enum):
    """What a connection is doing, in the order of one request."""

    CONNECTED = "connected"
    """Open, not a byte yet."""

    HEAD = "head"
    """Part of a request head is here."""

    BODY = "body"
    """The head is here and the application runs; part of the body is missing."""

    ANSWER = "answer"
    """The whole request is here and the application runs."""

    IDLE = "idle"
    """Answered; kept alive for a next request."""

    LINGERING = "lingering"
    """Answered for the last time; swallows what still comes until the client closes."""


class Connection(Protocol):
    """What the registry needs to know of a connection."""

    phase: Phase
    address: str

    def shutdown(self) -> None:
        """Let the next answer be the last one; a connection that rests is closed soon."""
        ...

    def cut(self) -> None:
        """Close at once, whatever is under way."""
        ...


class ServerStatistics(msgspec.Struct, frozen=True):
    """A snapshot of one server's connections."""

    open: int
    """Connections that hold a file descriptor now."""

    phases: Mapping[str, int]
    """Open connections by phase."""

    accepted_total: int
    """Connections accepted since the start, refused ones included."""

    requests_total: int
    """Requests handed to the application since the start."""

    refused_total: Mapping[str, int]
    """Requests and connections refused at this edge since the start, by error code."""


class Connections:
    """The open connections of one server."""

    def __init__(self, limits: HttpLimits) -> None:
        self.draining = False
        self._limits = limits
        self._open: dict[Connection, bool] = {}
        self._admitted = 0
        self._by_address: dict[str, int] = {}
        self._refused: Counter[str] = Counter()
        self._accepted = 0
        self._requests = 0
        self._emptied = asyncio.Event()
        self._emptied.set()

    def opened(self, connection: Connection) -> HttpRefusal | None:
        """Count a new connection; the refusal tells which cap was reached before it."""
        limits = self._limits
        here = self._by_address.get(connection.address, 0)
        full = self._admitted >= limits.max_connections
        crowded = 0 < limits.max_connections_per_address <= here
        self._accepted += 1
        self._open[connection] = not (full or crowded)
        self._emptied.clear()
        if full or crowded:
            whose = "to this server" if full else "from this address"
            message = f"Too many connections are open {whose}; close some and try again."
            return HttpRefusal(503, "connection_limit", message)
        self._admitted += 1
        self._by_address[connection.address] = here + 1
        return None

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        if self._open.pop(connection):
            self._admitted -= 1
            self._by_address[connection.address] -= 1
            if not self._by_address[connection.address]:
                del self._by_address[connection.address]
        if not self._open:
            self._emptied.set()

    def may_linger(self, connection: Connection) -> bool:
        """Whether a connection may stay to swallow input; refused ones only up to their cap."""
        refused = len(self._open) - self._admitted
        return self._open[connection] or refused <= self._limits.max_lingering

    def shutdown(self) -> None:
        """Ask every connection, later ones included, to let its next answer be the last."""
        self.draining = True
        for connection in list(self._open):
            connection.shutdown()

    def cut(self) -> None:
        """Close every connection at once."""
        for connection in list(self._open):
            connection.cut()

    def count_request(self) -> None:
        """Count a request that goes to the application."""
        self._requests += 1

    def count_refusal(self, code: str) -> None:
        """Count a refusal or a cut under its code."""
        self._refused[code] += 1

    async def wait_closed(self) -> None:
        """Return once no connection is open."""
        await self._emptied.wait()

    def statistics(self) -> ServerStatistics:
        """An immutable snapshot for gauges."""
        phases = Counter(connection.phase.value for connection in self._open)
        return ServerStatistics(
            open=len(self._open),
            phases=MappingProxyType({phase.value: phases[phase.value] for phase in Phase}),
            accepted_total=self._accepted,
            requests_total=self._requests,
            refused_total=MappingProxyType(dict(self._refused)),
        )


class HangupWatch:
    """Tells at once when a socket that is no longer read has been reset by its peer.

    After a peer's FIN the event loop stops reading the socket, since it would report the end of
    input for ever; with that it also misses a reset. An epoll set without any requested event
    still reports EPOLLERR and EPOLLHUP, and as a file descriptor itself it can be read by the loop.
    Without epoll (not Linux) a reset is noticed at the next write.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._callbacks: dict[int, Callable[[], None]] = {}
        if self._epoll is not None:
            loop.add_reader(self._epoll.fileno(), self._report)

    def add(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call `callback` once if the peer resets the socket; `remove` it before it is closed."""
        if self._epoll is not None and descriptor not in self._callbacks:
            self._callbacks[descriptor] = callback
            self._epoll.register(descriptor, 0)

    def remove(self, descriptor: int) -> None:
        """Stop watching; a descriptor that isn't watched is none of our business."""
        if self._callbacks.pop(descriptor, None) is not None and self._epoll is not None:
            self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _report(self) -> None:
        assert self._epoll is not None
        for descriptor, _ in self._epoll.poll(0):
            callback = self._callbacks.get(descriptor)
            self.remove(descriptor)
            if callback is not None:
                callback()


def unacknowledged_bytes(descriptor: int) -> int:
    """Bytes in the kernel's send queue that the peer hasn't taken; 0 where the kernel can't tell.

    The kernel lets us write again only once a third of its queue (up to 4 MiB) is free, so a slow
    but honest reader looks stalled from our side of it.
    """
    if sys.platform != "linux":
        return 0
    answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0\0\0\0")
    return int.from_bytes(answer, sys.byteorder)


class DateHeader:
    """The value of the `date` header, made at most once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._value = b""

    def value(self) -> bytes:
        """The present time as HTTP writes it."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._value = formatdate(second, usegmt=True).encode()
        return self._value
