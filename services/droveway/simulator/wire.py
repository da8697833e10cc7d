"""Plays the steps of a reply on one connection and writes down what left."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from typing import assert_never

from aiohttp import web

from droveway.simulator.book import Entry, Outcome
from droveway.simulator.steps import End, Head, Raw, Step, Wait, Write
from droveway.simulator.tokens import MessagesUsage

LINGER_ZERO = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends RST."""
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\n\r\n"


class Player:
    """Sends one reply; the entry tells how far it came."""

    def __init__(
        self,
        request: web.Request,
        entry: Entry,
        stopping: asyncio.Event,
        own_headers: Callable[[str, int], dict[str, str]],
    ) -> None:
        self._request = request
        self._entry = entry
        self._stopping = stopping
        self._own_headers = own_headers
        self._response = web.StreamResponse()
        self._loop = asyncio.get_running_loop()
        self._began_s = self._due_s = 0.0

    @property
    def response(self) -> web.StreamResponse:
        """What aiohttp is to end; it fails quietly on a connection that a fault has closed."""
        return self._response

    async def play(self, steps: Iterable[Step]) -> Outcome:
        """Take the steps and say how they ended.

        Raises:
            ConnectionError: the caller has left.
        """
        self._began_s = self._due_s = self._loop.time()
        for step in steps:
            match step:
                case Wait():
                    await self._wait(step.ms)
                case Head():
                    await self._send_head(step)
                case Write():
                    await self._response.write(step.data)
                    self._note(step)
                case Raw():
                    self._write_raw(step)
                    self._note(step)
                case End():
                    return await self._end(step)
                case _:
                    assert_never(step)
        return await self._end(End.COMPLETE)

    def _write_raw(self, raw: Raw) -> None:
        if (transport := self._request.transport) is None:
            raise ConnectionResetError
        transport.write(raw.data)
        self._entry.status = raw.status or self._entry.status

    def _note(self, sent: Write | Raw) -> None:
        self._entry.tokens_sent += sent.tokens
        if isinstance(sent.usage, MessagesUsage):
            self._entry.anthropic_usage = sent.usage
        else:
            self._entry.usage = sent.usage or self._entry.usage

    async def _wait(self, ms: float) -> None:
        # Against a schedule, so that late timers don't add up over a stream.
        self._due_s += ms / 1000
        left_s = self._due_s - self._loop.time()
        await asyncio.sleep(max(0.0, left_s))

    async def _send_head(self, head: Head) -> None:
        if head.early_hints and (transport := self._request.transport):
            transport.write(EARLY_HINTS * head.early_hints)
        self._response.set_status(head.status)
        processing_ms = int((self._loop.time() - self._began_s) * 1000)
        self._response.headers.update(self._own_headers(self._entry.id, processing_ms))
        self._response.headers.update(head.headers)
        self._response.content_length = head.length
        await self._response.prepare(self._request)
        self._entry.status = head.status

    async def _end(self, end: End) -> Outcome:
        if end is End.COMPLETE:
            await self._response.write_eof()
            return "answered" if self._response.status == 200 else "refused"
        if end is End.STALL:
            await self._stopping.wait()
            reset(self._request)
            return "stopped"
        if end is End.RESET:
            reset(self._request)
        elif transport := self._request.transport:
            transport.close()
        if end is End.CLOSED:
            return "answered" if self._entry.status == 200 else "refused"
        return "broken"


def reset(request: web.Request) -> None:
    """Abort the connection with RST."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    # A caller that left at this very moment has closed the socket already.
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    transport.abort()
