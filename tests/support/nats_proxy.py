"""A proxy before nats-server that loses, doubles, delays, holds and repeats chosen messages.

    async with NatsProxy.before(nats.url, seed=7) as proxy:
        frames = proxy.rule(is_frame, "up", drop=0.05, duplicate=0.05, delay_s=0.02)
        ...                                 # a service that was told `proxy.url`
        frames.drop = 0.0

Everything else passes byte for byte, so NKeys work: the server's nonce reaches the client. It
doesn't speak TLS, and clients of a cluster would go past it to the addresses that INFO names.
"""

import asyncio
import random
import socket
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from tests.support.nats_wire import Message, NotNats, Predicate, Splitter
from tests.support.tcp_proxy import READ_BYTES, Connection, Direction, Reset, TcpProxy, address

UNSENT_BYTES = 1_048_576
"""Bytes of one direction that wait for their reader; when full, nothing more is read."""
WAITING_BYTES = 64 * 1_048_576
"""Bytes of delayed and held messages of a proxy; when full, messages pass at once."""


class Captured(NamedTuple):
    """A message as it passed, and the lane that it passed on."""

    message: Message
    lane: "_Lane"


@dataclass(eq=False)
class Rule:
    """What happens to the messages that match; every field may be changed at any time.

    Draws come from a sequence of its own: the same messages in the same order meet the same fate.
    """

    matches: Predicate
    direction: Direction | None
    """None: both."""
    rng: random.Random
    drop: float = 0.0
    """How likely a message is lost."""
    duplicate: float = 0.0
    """How likely it passes twice."""
    delay_s: float = 0.0
    """Each copy is late by 0 to so much, by which messages are reordered."""
    delay_p: float = 1.0
    """How likely a copy is to be late at all."""
    holding: bool = False
    """Messages wait for `NatsProxy.release`."""
    captured: deque[Captured] = field(default_factory=lambda: deque(maxlen=0))
    counts: Counter[str] = field(default_factory=Counter)
    """`seen`, `dropped`, `duplicated`, `delayed`, `held`."""

    def delays_s(self) -> list[float]:
        """After how long each copy of the next message leaves; no copy: it is lost."""
        lost, doubled, *late = (self.rng.random() for _ in range(6))
        self.counts["seen"] += 1
        if lost < self.drop:
            self.counts["dropped"] += 1
            return []
        copies = 2 if doubled < self.duplicate else 1
        self.counts["duplicated"] += copies - 1
        if not self.delay_s:
            return [0.0] * copies
        chances = [(late[2 * copy], late[2 * copy + 1]) for copy in range(copies)]
        delays = [self.delay_s * far if chance < self.delay_p else 0.0 for chance, far in chances]
        self.counts["delayed"] += sum(delay > 0 for delay in delays)
        return delays

    def heal(self) -> None:
        """Lets messages pass from now on; it still counts and captures."""
        self.drop = self.duplicate = self.delay_s = 0.0


class NatsProxy(TcpProxy):
    """The proxy; meant for one service, or for all of them."""

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        super().__init__(host, port, seed=seed)
        self.rules: list[Rule] = []
        self.waiting_bytes = 0
        self._held: deque[tuple[Rule, Captured]] = deque()
        self._lanes: dict[Direction, list[_Lane]] = {"up": [], "down": []}

    @classmethod
    def before(cls, url: str, *, seed: int = 0) -> Self:
        """A proxy before the server at a URL."""
        return cls(*address(url), seed=seed)

    @property
    def url(self) -> str:
        """What a service is told instead of the server's URL."""
        return f"nats://127.0.0.1:{self.port}"

    def rule(
        self,
        matches: Predicate,
        direction: Direction | None = None,
        *,
        drop: float = 0.0,
        duplicate: float = 0.0,
        delay_s: float = 0.0,
        delay_p: float = 1.0,
        capture: int = 0,
    ) -> Rule:
        """Adds a rule; a message meets all that match, in the order they were added.

        `direction` is `up` for what clients publish, `down` for what they are sent; `capture` is
        how many of the last messages are kept for `replay`; for the others see `Rule`.
        """
        rng = random.Random(f"{self.seed}/{len(self.rules)}")
        made = Rule(matches, direction, rng, drop, duplicate, delay_s, delay_p)
        made.captured = deque(maxlen=capture)
        self.rules.append(made)
        return made

    def release(self, rule: Rule) -> None:
        """Lets a rule's held messages go, in order."""
        rule.holding = False
        kept, self._held = self._held, deque()
        for holder, (message, lane) in kept:
            if holder is rule:
                self.waiting_bytes -= len(message.raw)
                lane.put(message.raw)
            else:
                self._held.append((holder, Captured(message, lane)))

    def replay(self, captured: Captured) -> bool:
        """Sends a captured message again: on its connection, else on the newest; was there one?"""
        lanes = self._lanes[captured.lane.direction]
        lane = captured.lane if captured.lane in lanes else lanes[-1] if lanes else None
        if lane is not None:
            lane.put(captured.message.raw)
            self.statistics.faults["replay"] += 1
        return lane is not None

    def heal(self) -> None:
        """Lets everything pass, with what was held."""
        super().heal()
        for rule in self.rules:
            rule.heal()
            self.release(rule)

    def pump(self, connection: Connection, direction: Direction) -> "_Lane":
        """One direction of a new connection."""
        return _Lane(self, connection, direction)

    def treat(self, message: Message, lane: "_Lane") -> None:
        """Applies the rules to one message."""
        delays_s = [0.0]
        for rule in self.rules:
            if rule.direction not in (None, lane.direction) or not rule.matches(message):
                continue
            rule.captured.append(Captured(message, lane))
            if rule.holding and self._room(message):
                rule.counts["held"] += 1
                self.waiting_bytes += len(message.raw)
                self._held.append((rule, Captured(message, lane)))
                return
            drawn = rule.delays_s()
            delays_s = [one + other for one in delays_s for other in drawn]
        for delay_s in delays_s:
            if delay_s and self._room(message):
                self.waiting_bytes += len(message.raw)
                asyncio.get_running_loop().call_later(delay_s, self._late, message, lane)
            else:
                lane.put(message.raw)

    def _late(self, message: Message, lane: "_Lane") -> None:
        self.waiting_bytes -= len(message.raw)
        lane.put(message.raw)

    def _room(self, message: Message) -> bool:
        has_room = self.waiting_bytes + len(message.raw) <= WAITING_BYTES
        self.statistics.faults["not_delayed_since_full"] += not has_room
        return has_room


class _Lane:
    """The pump of one direction of one connection."""

    def __init__(self, proxy: NatsProxy, connection: Connection, direction: Direction) -> None:
        self.direction = direction
        self._proxy = proxy
        self._source, self._sink = connection.towards(direction)
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._changed = asyncio.Event()
        self._ended = False

    def put(self, raw: bytes) -> None:
        """Sends bytes with the next write; after the connection's end they are lost."""
        if not self._ended:
            self._unsent.append(raw)
            self._unsent_bytes += len(raw)
            self._changed.set()

    async def run(self) -> None:
        lanes = self._proxy._lanes[self.direction]
        lanes.append(self)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read())
                tasks.create_task(self._send())
        finally:
            self._ended = True
            lanes.remove(self)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        splitter = Splitter()
        while data := await loop.sock_recv(self._source, READ_BYTES):
            try:
                found = splitter.feed(data)
            except NotNats as error:
                self._proxy.statistics.faults[f"not NATS: {error}"] += 1
                raise Reset from error
            for piece in found:
                if isinstance(piece, Message):
                    self._proxy.treat(piece, self)
                else:
                    self.put(piece)
            while self._unsent_bytes >= UNSENT_BYTES:
                await self._change()
        self._ended = True
        self._changed.set()

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while self._unsent or not self._ended:
            if not self._unsent:
                await self._change()
                continue
            pieces, self._unsent = self._unsent, []
            data = b"".join(pieces)
            await loop.sock_sendall(self._sink, data)
            self._unsent_bytes -= len(data)
            self._proxy.statistics.bytes[self.direction] += len(data)
            self._changed.set()
        self._sink.shutdown(socket.SHUT_WR)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
