"""The NATS proxy between real services and a real server: they connect, and streams survive."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from droveway.contracts import relay
from tests.support.checker import STREAMS, Evidence, check
from tests.support.flows import nothing_open, only_first
from tests.support.history import History
from tests.support.history_clients import ask_raw
from tests.support.nats import NatsServer
from tests.support.nats_proxy import NatsProxy
from tests.support.nats_wire import is_frame
from tests.support.simulator import chat_body
from tests.support.stack import running_stack
from tests.support.waiting import settled

FRAME = msgspec.msgpack.encode(relay.Chunk(seq=0, events=(b"data: 1\n\n",)))


@asynccontextmanager
async def connected(nats: NatsServer, url: str, user: str) -> AsyncIterator[Client]:
    """A client by its NKey: the server's nonce has to reach it unchanged."""
    client = Client()
    await client.connect(url, nkeys_seed=str(nats.folder.seed_file(user)), allow_reconnect=False)
    try:
        yield client
    finally:
        await client.close()


async def test_nkeys_headers_and_large_payloads_pass_a_real_server(nats: NatsServer) -> None:
    got: asyncio.Queue[Msg] = asyncio.Queue(10)
    async with (
        NatsProxy.before(nats.url) as proxy,
        connected(nats, proxy.url, "caller") as caller,
        connected(nats, proxy.url, "gateway") as gateway,
    ):
        rule = proxy.rule(is_frame, "down", duplicate=1.0)
        subject = "_INBOX.gateway.gateway-12345678.t"
        await gateway.subscribe(subject, cb=got.put)
        await settled(gateway)
        big = b"\x81" + random.Random(1).randbytes(1_000_000)
        await caller.publish(subject, big, headers={"Name": "value"})
        await caller.publish(subject, FRAME)
        async with asyncio.timeout(5):
            found = [await got.get() for _ in range(3)]
        assert [one.data for one in found] == [big, FRAME, FRAME]
        assert found[0].headers == {"Name": "value"}
        assert rule.counts["duplicated"] == 1


async def test_streams_survive_loss_duplicates_and_reorder_of_frames(
    nats: NatsServer, tmp_path: Path
) -> None:
    history = History(seed=27)
    async with NatsProxy.before(nats.url, seed=27) as proxy:
        frames = proxy.rule(is_frame, "up", drop=0.05, duplicate=0.05, delay_s=0.02, delay_p=0.2)
        environment = {"DROVEWAY_CALLER_NATS_URL": proxy.url}
        async with running_stack(
            nats, tmp_path, configure=only_first, environment=environment, token_interval_ms=5
        ) as stack:
            body = chat_body("numbered-40", stream=True)
            asked = (ask_raw(history, stack.port, stack.key, body) for _ in range(100))
            async with asyncio.timeout(10):
                await asyncio.gather(*asked)
            await nothing_open(stack)
            books = [simulator.book.totals for simulator in stack.simulators]
            assert check(Evidence(history, books=books), STREAMS) == []
        assert len(history.with_terminal("done")) == 100
        assert frames.counts["dropped"] > 50
        assert frames.counts["duplicated"] > 50
        assert frames.counts["delayed"] > 200
