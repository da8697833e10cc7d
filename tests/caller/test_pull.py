"""Large request bodies fetched from their door, over a real broker."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from droveway.caller.pull import fetch_body
from droveway.contracts.inference import Body
from droveway.contracts.relay import WINDOW_BYTES
from droveway.runtime.bus import Bus
from droveway.runtime.errors import RelayCut
from droveway.runtime.relay import RelayHub
from tests.support.nats import NatsServer, nats
from tests.support.waiting import until

__all__ = ["nats"]

WITHIN_S = 5.0


class Ends:
    """A door and a caller."""

    def __init__(self, door_bus: Bus, door: RelayHub, bus: Bus, hub: RelayHub) -> None:
        self.door_bus = door_bus
        self.door = door
        self._bus = bus
        self._hub = hub

    def offered(self, content: bytes, size_bytes: int | None = None) -> Body:
        relay_id = self.door.offer(content)
        return Body(
            size_bytes=len(content) if size_bytes is None else size_bytes,
            pull_from=self.door_bus.instance,
            relay_id=relay_id,
        )

    async def fetch(self, body: Body, within_s: float = WITHIN_S) -> bytes:
        return await fetch_body(self._bus, self._hub, body, within_s)


@asynccontextmanager
async def _ends(nats: NatsServer, *, door_runs: bool = True) -> AsyncIterator[Ends]:
    async with nats.bus("gateway") as door_bus, nats.bus("caller") as bus:
        door, hub = RelayHub(door_bus), RelayHub(bus)
        await door.listen()
        await hub.listen()
        tasks = [asyncio.ensure_future(one.run()) for one in ((door, hub) if door_runs else (hub,))]
        try:
            yield Ends(door_bus, door, bus, hub)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_small_body_is_in_the_message(nats: NatsServer) -> None:
    async with _ends(nats) as ends:
        assert await ends.fetch(Body(size_bytes=2, inline=b"{}")) == b"{}"


@pytest.mark.parametrize("size_bytes", [1, WINDOW_BYTES, WINDOW_BYTES + 1, 3_000_001])
async def test_a_body_comes_byte_for_byte(nats: NatsServer, size_bytes: int) -> None:
    async with _ends(nats) as ends:
        content = os.urandom(size_bytes)
        assert await ends.fetch(ends.offered(content)) == content


async def test_a_body_can_be_fetched_again_by_a_later_attempt(nats: NatsServer) -> None:
    async with _ends(nats) as ends:
        content = os.urandom(200_000)
        body = ends.offered(content)
        assert [await ends.fetch(body) for _ in range(3)] == [content] * 3


async def test_many_bodies_keep_apart(nats: NatsServer) -> None:
    async with _ends(nats) as ends:
        contents = [os.urandom(100_000 + number) for number in range(10)]
        got = await asyncio.gather(*(ends.fetch(ends.offered(one)) for one in contents))
        assert got == contents


async def test_one_body_is_fetched_by_two_at_once(nats: NatsServer) -> None:
    async with _ends(nats) as ends:
        content = os.urandom(500_000)
        body = ends.offered(content)
        assert await asyncio.gather(*(ends.fetch(body) for _ in range(2))) == [content] * 2


async def test_a_fetch_that_is_given_up_ends_at_the_door(nats: NatsServer) -> None:
    async with _ends(nats) as ends:
        with pytest.raises(RelayCut, match="larger than announced"):
            await ends.fetch(ends.offered(b"x" * 3_000_000, 40_000))
        began_s = time.monotonic()
        await until(lambda: ends.door.statistics().sending == 0)
        assert time.monotonic() - began_s < 0.4  # no heartbeat had to say so


async def test_a_withdrawn_body_ends_the_fetch_at_once(nats: NatsServer) -> None:
    async with _ends(nats) as ends:
        body = ends.offered(b"x" * 100_000)
        ends.door.withdraw(body.relay_id)
        began_s = time.monotonic()
        with pytest.raises(RelayCut):
            await ends.fetch(body)
        assert time.monotonic() - began_s < 0.5


@pytest.mark.parametrize("announced", [99_999, 100_001])
async def test_another_size_than_announced_is_refused(nats: NatsServer, announced: int) -> None:
    async with _ends(nats) as ends:
        with pytest.raises(RelayCut, match="than announced"):
            await ends.fetch(ends.offered(b"x" * 100_000, announced))


async def test_a_door_that_does_not_answer_costs_the_time_allowed(nats: NatsServer) -> None:
    async with _ends(nats, door_runs=False) as ends:
        with pytest.raises(RelayCut, match=r"did not come within 0\.2 s"):
            await ends.fetch(ends.offered(b"x"), within_s=0.2)


async def test_a_pull_is_repeated_until_the_door_answers(nats: NatsServer) -> None:
    async with _ends(nats, door_runs=False) as ends:
        fetching = asyncio.ensure_future(ends.fetch(ends.offered(b"x" * 40_000)))
        await asyncio.sleep(0.05)
        task = asyncio.ensure_future(ends.door.run())
        assert len(await fetching) == 40_000
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
