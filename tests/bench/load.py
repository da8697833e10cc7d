"""The load generator: raw sockets on uvloop, keep-alive, as little parsing as an answer allows.

Runs as a process of its own: one `Load` as JSON on standard input, one `Outcome` as JSON on
standard output. A closed loop sends the next request when an answer has ended; an open loop sends
at its rate whatever happens, and counts latency from the moment at which a request was due, so
that queueing shows.
"""

import asyncio
import re
import sys
import time
from collections import deque
from typing import cast

import msgspec
import uvloop

from tests.bench.ticker import Ticker
from tests.bench.upstream import MARK

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_EVENT = b"data: {"
_END = b"0\r\n\r\n"
MAX_CONNECTIONS = 4_096
"""Of an open loop whose answers don't come; further requests wait, and their latency counts."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to send where, and for how long."""

    port: int
    request: bytes
    """The whole request, head and body."""
    connections: int
    """In flight at once; of an open loop: at its start."""
    duration_s: float
    per_s: float = 0
    """Requests a second of an open loop; 0: a closed loop."""
    warm_up_s: float = 0.3
    """Before this, answers aren't counted."""
    ramp_s: float = 0
    """Over which a closed loop opens its connections."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came back; times in milliseconds."""

    answers: int
    chunks: int
    errors: int
    first_error: str
    counted_s: float
    all_answers: int
    """With those of the warm-up: what CPU time is divided by."""
    all_chunks: int
    latencies_ms: list[float]
    first_tokens_ms: list[float]


class _Run:
    """One load under way: what all connections share."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.idle: deque[Connection] = deque()
        self.due: deque[float] = deque()
        self.connections: list[Connection] = []
        self.latencies_s: list[float] = []
        self.first_tokens_s: list[float] = []
        self.chunks = 0
        self.all_answers = 0
        self.all_chunks = 0
        self.errors = 0
        self.first_error = ""
        self.count_from_s = 0.0
        self.ended = False

    def fail(self, reason: str) -> None:
        """An answer that isn't one."""
        self.errors += 1
        self.first_error = self.first_error or reason

    def finished(self, connection: "Connection", due_s: float, first_s: float) -> None:
        """An answer has ended; the connection is free for the next."""
        now_s = time.perf_counter()
        self.all_answers += 1
        if due_s >= self.count_from_s and not self.ended:
            self.latencies_s.append(now_s - due_s)
            if first_s:
                self.first_tokens_s.append(first_s - due_s)
        if self.ended:
            return
        if not self.load.per_s:
            connection.send(now_s)
        elif self.due:
            connection.send(self.due.popleft())
        else:
            self.idle.append(connection)

    def send(self, due_s: float) -> None:
        """A request of the open loop is due."""
        if self.idle:
            self.idle.pop().send(due_s)
        else:
            self.due.append(due_s)


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on it."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.WriteTransport | None = None
        self._due_s = 0.0
        self._first_s = 0.0
        self._head = b""
        self._left = -1
        """Bytes of the body still to come; -1: it is chunked."""
        self._tail = b""
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer closed; fatal for a request on its way."""
        self._transport = None
        if self.busy and not self._run.ended:
            self._run.fail(f"connection lost: {exc}")

    def close(self) -> None:
        """Leaves, in the middle of an answer too."""
        if self._transport is not None:
            self._transport.abort()

    def send(self, due_s: float) -> None:
        """One request, whose latency counts from `due_s`."""
        if self._transport is None:
            self._run.fail("the connection was closed by the server")
            return
        self._due_s, self._first_s, self._head, self._tail = due_s, 0.0, b"", b""
        self.busy = True
        self._transport.write(self._run.load.request)

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer: its head, then its body by length or by chunks."""
        if self._tail:
            self._take(data)
        elif self._head_is_done(data) and (body := self._head.partition(b"\r\n\r\n")[2]):
            self._take(body)

    def _head_is_done(self, data: bytes) -> bool:
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not self._head.startswith(b"HTTP/1.1 200"):
            self._run.fail(self._head[:300].decode("latin-1"))
        found = _LENGTH.search(self._head, 0, end + 2)
        self._left = int(found[1]) if found else -1
        self._tail = b"\n"  # from now on bytes are the body's
        return True

    def _take(self, body: bytes) -> None:
        seen = self._tail + body
        events = seen.count(_EVENT)
        self._run.all_chunks += events
        if events and time.perf_counter() >= self._run.count_from_s and not self._run.ended:
            self._run.chunks += events
        if not self._first_s and MARK in seen:
            self._first_s = time.perf_counter()
        self._tail = seen[-(len(_EVENT) - 1) :]
        if self._left >= 0:
            self._left -= len(body)
            done = self._left <= 0
        else:
            done = self._tail.endswith(_END)
        if done:
            self.busy = False
            self._run.finished(self, self._due_s, self._first_s)


async def _connect(run: _Run, count: int) -> None:
    loop = asyncio.get_running_loop()
    for number in range(count):
        if run.ended:
            return
        if run.load.ramp_s:
            await asyncio.sleep(run.load.ramp_s / count)
        _, connection = await loop.create_connection(
            lambda: Connection(run), "127.0.0.1", run.load.port
        )
        run.connections.append(connection)
        if run.load.per_s:
            run.idle.append(connection)
        elif run.load.ramp_s or number == count - 1:
            for one in run.connections:
                if not one.busy:
                    one.send(time.perf_counter())


async def _open_loop(run: _Run, until_s: float) -> None:
    with Ticker(run.load.per_s) as ticker:
        while time.perf_counter() < until_s:
            for due_s in await ticker.next():
                run.send(due_s)
            if run.due and len(run.connections) < MAX_CONNECTIONS:
                await _connect(run, 1)


async def run(load: Load) -> Outcome:
    """Runs one load to its end."""
    state = _Run(load)
    began_s = time.perf_counter()
    state.count_from_s = began_s + load.warm_up_s
    until_s = state.count_from_s + load.duration_s
    await _connect(state, load.connections)
    if load.per_s:
        await _open_loop(state, until_s)
    else:
        await asyncio.sleep(until_s - time.perf_counter())
    state.ended = True
    counted_s = time.perf_counter() - state.count_from_s
    for connection in state.connections:
        connection.close()
    return Outcome(
        answers=len(state.latencies_s),
        chunks=state.chunks,
        errors=state.errors,
        first_error=state.first_error,
        counted_s=counted_s,
        all_answers=state.all_answers,
        all_chunks=state.all_chunks,
        latencies_ms=[1000 * one for one in state.latencies_s],
        first_tokens_ms=[1000 * one for one in state.first_tokens_s],
    )


def main() -> None:
    """Reads the load, runs it, writes the outcome."""
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    outcome = uvloop.run(run(load))
    with open(sys.stdout.fileno(), "wb", closefd=False) as output:  # whole also when unbuffered
        output.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
