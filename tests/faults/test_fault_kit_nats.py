"""The NATS proxy strikes the messages it is told to, and passes all else byte for byte."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from droveway.contracts import relay
from tests.support.nats_proxy import NatsProxy
from tests.support.nats_wire import (
    MAX_LINE_BYTES,
    MAX_MESSAGE_BYTES,
    Message,
    NotNats,
    Splitter,
    is_control,
    is_frame,
    on,
)
from tests.support.waiting import until

FRAME = msgspec.msgpack.encode(relay.Chunk(seq=0, events=(b"data: 1\n\n",)))
INFO = b'INFO {"server_id":"A","nonce":"xyz"}\r\n'
UP = [
    b'CONNECT {"nkey":"U","sig":"s"}\r\n',
    b"SUB a.> 1\r\n",
    b"PUB a.b 5\r\nhello\r\n",
    b"PING\r\n",
    b"PUB a.b _INBOX.x.y 0\r\n\r\n",
    b"HPUB a.c 12 17\r\nNATS/1.0\r\n\r\nhello\r\n",
    b"HPUB a.c r 12 12\r\nNATS/1.0\r\n\r\n\r\n",
    b"pub a.d 7\r\na\r\nPUB\n\r\n",
    b"UNSUB 1\r\n",
]
DOWN = [
    INFO,
    b"+OK\r\n",
    b"MSG a.b 1 2\r\nhi\r\n",
    b"MSG a.b 1 r 2\r\nhi\r\n",
    b"HMSG a.b 9 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
    b"HMSG a.b 9 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
    b"PONG\r\n",
    b"-ERR 'Stale Connection'\r\n",
]


def pub(number: int, subject: bytes = b"a.b") -> bytes:
    payload = b"m%d" % number
    return b"PUB %s %d\r\n%s\r\n" % (subject, len(payload), payload)


@pytest.mark.parametrize("pieces", [UP, DOWN])
def test_the_wire_is_cut_at_its_operations_however_it_comes(pieces: list[bytes]) -> None:
    wire = b"".join(pieces)
    rng = random.Random(5)
    for sizes in ([1] * len(wire), [len(wire)], [rng.randrange(1, 40) for _ in wire]):
        splitter = Splitter()
        found, at = [], 0
        for size in sizes:
            found += splitter.feed(wire[at : at + size])
            at += size
        assert [one.raw if isinstance(one, Message) else one for one in found] == pieces


def test_messages_are_read_with_subject_reply_headers_and_payload() -> None:
    found = [one for one in Splitter().feed(b"".join(UP + DOWN)) if isinstance(one, Message)]
    block = b"NATS/1.0\r\n\r\n"
    assert [one[:4] for one in found] == [
        (b"a.b", b"", b"", b"hello"),
        (b"a.b", b"_INBOX.x.y", b"", b""),
        (b"a.c", b"", block, b"hello"),
        (b"a.c", b"r", block, b""),
        (b"a.d", b"", b"", b"a\r\nPUB\n"),
        (b"a.b", b"", b"", b"hi"),
        (b"a.b", b"r", b"", b"hi"),
        (b"a.b", b"", block, b"hi"),
        (b"a.b", b"r", block, b"hi"),
    ]


@pytest.mark.parametrize(
    "wire",
    [
        b"PUB a.b x\r\n",
        b"PUB a.b -1\r\n",
        b"PUB 5\r\nhello\r\n",
        b"MSG a b c d 0\r\n\r\n",
        b"PUB a.b %d\r\n" % (MAX_MESSAGE_BYTES + 1),
        b"x" * (MAX_LINE_BYTES + 1),
    ],
)
def test_what_is_no_nats_is_refused(wire: bytes) -> None:
    with pytest.raises(NotNats):
        Splitter().feed(wire)


def test_predicates_know_frames_control_and_patterns() -> None:
    def message(subject: str, payload: bytes = b"") -> Message:
        return Message(subject.encode(), b"", b"", payload, b"")

    assert is_frame(message("_INBOX.gateway.gateway-1.t", FRAME))
    assert not is_frame(message("_INBOX.gateway.gateway-1.t", b"\x81"))
    assert not is_frame(message("_INBOX.router.router-1.t", FRAME))
    assert is_control(message(relay.control_subject("caller-12345678")))
    assert not is_control(message("droveway.v1.usage.x"))
    assert on("a.*.c")(message("a.b.c"))
    assert not on("a.*.c")(message("a.b.c.d"))
    assert on("a.>")(message("a.b.c"))
    assert not on("a.>")(message("a"))


class Wire:
    """A client and a server of bytes with the proxy between them."""

    def __init__(self, proxy: NatsProxy) -> None:
        self.proxy = proxy
        self.received = bytearray()
        self.client: asyncio.StreamWriter

    @property
    def messages(self) -> list[bytes]:
        """Payloads that arrived at the server."""
        found = Splitter().feed(bytes(self.received))
        return [one.payload for one in found if isinstance(one, Message)]

    async def send(self, *pieces: bytes) -> None:
        """Sends pieces and then PING, and waits until that has come through."""
        pings = self.received.count(b"PING\r\n")
        self.client.write(b"".join(pieces) + b"PING\r\n")
        await until(lambda: self.received.count(b"PING\r\n") > pings)


@asynccontextmanager
async def wired(seed: int = 1) -> AsyncIterator[Wire]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            wire.received += data
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with NatsProxy("127.0.0.1", port, seed=seed) as proxy:
        wire = Wire(proxy)
        _, wire.client = await asyncio.open_connection("127.0.0.1", proxy.port)
        yield wire
        wire.client.transport.abort()
        server.close()


def numbers(wire: Wire) -> list[int]:
    return [int(payload[1:]) for payload in wire.messages]


async def test_without_rules_every_byte_passes() -> None:
    async with wired() as wire:
        await wire.send(*UP)
        assert bytes(wire.received) == b"".join(UP) + b"PING\r\n"


async def test_loss_and_duplicates_are_seeded_and_spare_what_does_not_match() -> None:
    results = []
    for seed in (1, 1, 2):
        async with wired(seed) as wire:
            rule = wire.proxy.rule(on("a.*"), "up", drop=0.2, duplicate=0.2)
            spared = [pub(number, b"b.b") for number in range(50)]
            await wire.send(*(pub(number) for number in range(200)), *spared)
            results.append(numbers(wire))
            assert sorted(results[-1][-50:]) == list(range(50))
            assert rule.counts["seen"] == 200
            assert 20 <= rule.counts["dropped"] <= 60
            expected = 250 - rule.counts["dropped"] + rule.counts["duplicated"]
            assert len(results[-1]) == expected
    assert results[0] == results[1] != results[2]


async def test_delays_reorder_but_lose_nothing() -> None:
    async with wired() as wire:
        rule = wire.proxy.rule(on("a.>"), delay_s=0.02, delay_p=0.5)
        await wire.send(*(pub(number) for number in range(100)))
        await until(lambda: len(wire.messages) == 100)
        assert sorted(numbers(wire)) == list(range(100)) != numbers(wire)
        assert 30 <= rule.counts["delayed"] <= 70
        assert wire.proxy.waiting_bytes == 0


async def test_held_messages_wait_and_others_pass() -> None:
    async with wired() as wire:
        rule = wire.proxy.rule(on("a.b"))
        rule.holding = True
        await wire.send(pub(0), pub(1), pub(2, b"a.c"))
        assert numbers(wire) == [2]
        wire.proxy.release(rule)
        await wire.send(pub(3))
        assert numbers(wire) == [2, 0, 1, 3]
        rule.holding, rule.drop = True, 1.0
        await wire.send(pub(4))
        wire.proxy.heal()
        await wire.send(pub(5))
        assert numbers(wire) == [2, 0, 1, 3, 4, 5]
        assert wire.proxy.waiting_bytes == 0


async def test_a_captured_message_can_be_sent_again_later() -> None:
    async with wired() as wire:
        rule = wire.proxy.rule(on("a.b"), "up", capture=2)
        await wire.send(*(pub(number) for number in range(4)))
        first, second = rule.captured
        assert wire.proxy.replay(second)
        assert wire.proxy.replay(first)
        await wire.send(pub(9, b"c"))
        assert numbers(wire) == [0, 1, 2, 3, 3, 2, 9]
        assert wire.proxy.statistics.faults["replay"] == 2
        wire.proxy.reset()
        await until(lambda: wire.proxy.statistics.open == 0)
        assert not wire.proxy.replay(first)


async def test_what_is_no_nats_is_cut_and_counted() -> None:
    async with wired() as wire:
        wire.client.write(b"PUB a.b nonsense\r\n")
        await until(lambda: any("no size" in name for name in wire.proxy.statistics.faults))
        await until(lambda: wire.proxy.statistics.open == 0)
