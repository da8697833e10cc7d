"""A TCP proxy that makes a link slow, narrow, cut, corrupt or dead, while it runs.

    async with FaultProxy("127.0.0.1", port, seed=7) as proxy:
        proxy.set("down", latency_s=0.05, jitter_s=0.02)
        proxy.set("up", black_hole=True)
        proxy.reset()
        proxy.heal()

Both directions are set apart. `tests.support.fault_process` runs it as a process of its own.
"""

import asyncio
import contextlib
import math
import random
import socket
from collections import deque
from typing import Annotated, Any, Literal

import msgspec

from tests.support.tcp_proxy import READ_BYTES, Connection, Direction, Finish, Reset, TcpProxy

HELD_BYTES = 1_048_576
"""Bytes of one direction of one connection that may be under way; when full, nothing is read."""
PACED_PIECES_PER_S = 100
"""A narrow link gets its bytes in this many pieces a second."""

NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one direction suffers; the default is a good link."""

    latency_s: NotNegative = 0.0
    jitter_s: NotNegative = 0.0
    """Up to so much is added to the latency, seeded; bytes stay in order."""
    bytes_per_s: NotNegative = 0.0
    """0: as fast as can be."""
    slice_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Bytes travel in pieces of so many; 0: as they come."""
    slice_pause_s: NotNegative = 0.0
    """Between two pieces, so that the reader sees them apart."""
    black_hole: bool = False
    """Nothing is read and nothing passed on: the kernel's buffers fill up."""
    limit_bytes: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """So many bytes pass from now on, or from a connection's start; then it is cut."""
    limit_end: Literal["fin", "reset"] = "reset"
    corrupt_p: Probability = 0.0
    """How likely each byte is to be changed."""
    corrupt_at: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """The byte that is changed, counted like `limit_bytes`."""


class _Lane:
    """The faults of one direction, and who waits for another setting."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.open = asyncio.Event()
        self.open.set()
        self.changed = asyncio.Event()

    def set(self, faults: Faults) -> None:
        self.faults = faults
        if faults.black_hole:
            self.open.clear()
        else:
            self.open.set()
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    async def wait_until(self, due_s: float) -> None:
        """Waits for the loop's time `due_s`, or for a setting without latency."""
        loop = asyncio.get_running_loop()
        while self.faults.latency_s or self.faults.jitter_s:
            if (left_s := due_s - loop.time()) <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self.changed.wait()


class FaultProxy(TcpProxy):
    """The proxy; `set`, `reset`, `reset_each`, `refuse` and `heal` may be called at any time."""

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        super().__init__(host, port, seed=seed)
        self._lanes: dict[Direction, _Lane] = {"up": _Lane(), "down": _Lane()}

    def set(self, *directions: Direction, **faults: Any) -> None:
        """Replaces the faults of the directions named, or of both, by the fields of `Faults`.

        Raises:
            msgspec.ValidationError: There is no such fault, or its value is out of range.
        """
        made = msgspec.convert(faults, Faults, strict=False)
        for direction in directions or ("up", "down"):
            self._lanes[direction].set(made)
            self.statistics.faults["black_hole"] += made.black_hole

    def heal(self) -> None:
        """Makes the link good again; what was cut or changed stays so."""
        super().heal()
        for lane in self._lanes.values():
            lane.set(Faults())

    def pump(self, connection: Connection, direction: Direction) -> "_FaultPump":
        """The pump of one direction, with a random sequence of its own."""
        return _FaultPump(self, connection, direction, self._lanes[direction])


class _FaultPump:
    def __init__(
        self, proxy: FaultProxy, connection: Connection, direction: Direction, lane: _Lane
    ) -> None:
        self._statistics = proxy.statistics
        self._direction = direction
        self._lane = lane
        self._source, self._sink = connection.towards(direction)
        # Two sequences: how often bytes come is the kernel's affair, which bytes are bad isn't.
        name = f"{proxy.seed}/{connection.number}/{direction}"
        self._jitter, self._random = random.Random(f"{name}/jitter"), random.Random(name)
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._changed = asyncio.Event()
        self._faults = lane.faults
        self._passed_bytes = 0
        self._next_corrupt = self._gap()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read())
            tasks.create_task(self._send())

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        last_due_s = 0.0
        data = b"-"
        while data:
            await self._lane.open.wait()
            while self._held_bytes >= HELD_BYTES:
                await self._change()
            data = await loop.sock_recv(self._source, READ_BYTES)
            faults = self._lane.faults
            jitter_s = self._jitter.uniform(0, faults.jitter_s) if faults.jitter_s else 0.0
            last_due_s = max(last_due_s, loop.time() + faults.latency_s + jitter_s)
            self._statistics.faults["latency"] += faults.latency_s + jitter_s > 0
            self._under_way.append((last_due_s, data))
            self._held_bytes += len(data)
            self._changed.set()

    async def _send(self) -> None:
        data = b"-"
        while data:
            while not self._under_way:
                await self._change()
            due_s, data = self._under_way.popleft()
            await self._lane.wait_until(due_s)
            await self._lane.open.wait()
            await self._pass(data)
            self._held_bytes -= len(data)
            self._changed.set()
        self._sink.shutdown(socket.SHUT_WR)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _pass(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        while data:
            await self._lane.open.wait()
            faults = self._lane.faults
            if faults is not self._faults:
                self._faults, self._passed_bytes = faults, 0
                self._next_corrupt = self._gap()
            size = min(len(data), self._piece_bytes())
            piece, data = data[:size], data[size:]
            await loop.sock_sendall(self._sink, self._corrupted(piece))
            self._passed_bytes += size
            self._statistics.bytes[self._direction] += size
            if self._passed_bytes == faults.limit_bytes:
                self._statistics.faults["limit"] += 1
                raise Finish if faults.limit_end == "fin" else Reset
            await self._pace(faults, size)

    def _piece_bytes(self) -> int:
        """How much may be sent at once.

        Raises:
            Reset, Finish: Nothing, since the limit has been 0 from the start.
        """
        faults = self._faults
        size = faults.slice_bytes or READ_BYTES
        if faults.bytes_per_s:
            size = min(size, max(1, int(faults.bytes_per_s / PACED_PIECES_PER_S)))
        if faults.limit_bytes is None:
            return size
        if faults.limit_bytes == 0:
            self._statistics.faults["limit"] += 1
            raise Finish if faults.limit_end == "fin" else Reset
        return min(size, faults.limit_bytes - self._passed_bytes)

    async def _pace(self, faults: Faults, size: int) -> None:
        wait_s = faults.slice_pause_s if faults.slice_bytes else 0.0
        if faults.bytes_per_s:
            wait_s += size / faults.bytes_per_s
        if faults.slice_bytes or wait_s:
            self._statistics.faults["slice"] += faults.slice_bytes > 0
            self._statistics.faults["narrow"] += faults.bytes_per_s > 0
            await asyncio.sleep(wait_s)

    def _corrupted(self, piece: bytes) -> bytes:
        end = self._passed_bytes + len(piece)
        flips: dict[int, int] = {}
        while self._next_corrupt < end:
            flips[int(self._next_corrupt)] = self._random.randrange(1, 256)
            self._next_corrupt += 1 + self._gap()
        at = self._faults.corrupt_at
        if at is not None and self._passed_bytes <= at < end:
            flips.setdefault(at, self._random.randrange(1, 256))
        if not flips:
            return piece
        changed = bytearray(piece)
        for place, flip in flips.items():
            changed[place - self._passed_bytes] ^= flip
        self._statistics.faults["corrupt"] += len(flips)
        return bytes(changed)

    def _gap(self) -> float:
        """Good bytes before the next bad one: one draw for each bad byte, however they come."""
        chance = self._faults.corrupt_p
        if chance in (0, 1):
            return 0 if chance else math.inf
        return int(math.log1p(-self._random.random()) / math.log1p(-chance))
