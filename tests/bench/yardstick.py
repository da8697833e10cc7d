"""Known work, without any gateway: how much longer it takes here than where targets were set."""

import asyncio
import time
from pathlib import Path
from typing import NamedTuple

import aiohttp
import nats
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg

from droveway.cli import nats_server, ports
from droveway.cli.nats_config import NatsServerSettings
from tests.bench.children import Children
from tests.bench.figures import percentile
from tests.bench.targets import Target

POST_THEN_US = 61
"""CPU µs of one POST by aiohttp, one after the other."""
REPLY_THEN_US = 71
"""A message and its answer through nats-py, one after the other: the median."""
BUSY_THEN_US = 17
"""CPU µs of the same, both sides, 64 at a time."""
_IN_FLIGHT = 64
_POSTS = 3_200
_REPLIES = 6_400
_REPLIES_ALONE = 2_000
_ROUNDS = 5
_WARM_UP = 20
_ANSWER_LIMIT_S = 5.0
_START_LIMIT_S = 10.0
_BODY = b"x" * 200


class Messages(NamedTuple):
    """What a message and its answer take now."""

    reply_us: float
    busy_us: float

    @property
    def later(self) -> float:
        """How many times as long somebody who waits for a message waits here."""
        return self.reply_us / REPLY_THEN_US

    @property
    def slower(self) -> float:
        """How many times the CPU time a busy process needs here."""
        return self.busy_us / BUSY_THEN_US


def post_us(target: Target, in_flight: int) -> float:
    """CPU microseconds of this process per request of 4 KB and answer of 1 KB."""
    return uvloop.run(_post_us(target, in_flight))


def messages(children: Children, folder: Path) -> Messages:
    """Measures with a nats-server of its own, in which nobody has to show a key."""
    port = ports.free()
    server = nats_server.find(NatsServerSettings())
    with (folder / "yardstick.log").open("w") as log:
        children.start([server, "-a", "127.0.0.1", "-p", str(port)], folder, log=log)
        ports.wait_for_nats("127.0.0.1", port, _START_LIMIT_S)
    return uvloop.run(_messages(f"nats://127.0.0.1:{port}"))


async def _post_us(target: Target, in_flight: int) -> float:
    body = target.request("mock", stream=False).partition(b"\r\n\r\n")[2]
    url = f"http://127.0.0.1:{target.port}{target.path}"
    each = _POSTS // in_flight
    async with aiohttp.ClientSession(headers={"content-type": "application/json"}) as session:

        async def ask(count: int) -> None:
            for _ in range(count):
                async with session.post(url, data=body) as response:
                    await response.read()

        await asyncio.gather(*(ask(_WARM_UP) for _ in range(in_flight)))
        before_s = time.process_time()
        await asyncio.gather(*(ask(each) for _ in range(in_flight)))
        return 1e6 * (time.process_time() - before_s) / (each * in_flight)


async def _messages(url: str) -> Messages:
    asking, answering = await nats.connect(url), await nats.connect(url)

    async def answer(message: Msg) -> None:
        await answering.publish(message.reply, message.data)

    try:
        await answering.subscribe("yardstick", cb=answer)
        await answering.flush()
        await _ask(asking, _WARM_UP * _IN_FLIGHT)
        alone_s = await _ask(asking, _REPLIES_ALONE)
        each = _REPLIES // _IN_FLIGHT
        busy_s = []
        for _ in range(_ROUNDS):
            before_s = time.process_time()
            await asyncio.gather(*(_ask(asking, each) for _ in range(_IN_FLIGHT)))
            busy_s.append(time.process_time() - before_s)
    finally:
        await asking.close()
        await answering.close()
    return Messages(
        1e6 * percentile(alone_s, 50), 1e6 * percentile(busy_s, 50) / (each * _IN_FLIGHT)
    )


async def _ask(asking: Client, count: int) -> list[float]:
    """Seconds that each took."""
    took_s = []
    for _ in range(count):
        began_s = time.perf_counter()
        await asking.request("yardstick", _BODY, timeout=_ANSWER_LIMIT_S)
        took_s.append(time.perf_counter() - began_s)
    return took_s
