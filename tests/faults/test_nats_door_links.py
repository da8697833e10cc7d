"""Clients on the bus whose link to the broker swallows everything and looks healthy to TCP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from droveway import client
from tests.support.bus_client import key_id_of, read, seed_of, with_bus_users
from tests.support.fault_proxy import FaultProxy
from tests.support.flows import eventually, nothing_open, numbered, only_first
from tests.support.nats import NatsServer
from tests.support.pace import Pace
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack
from tests.support.tcp_proxy import Direction

TOLD_WITHIN_S = 6.0
REJECTED_WITHIN_S = 0.1
HOLE_S = 3.3
"""Longer than it takes to leave a deaf connection, shorter than an answer is waited for."""


@asynccontextmanager
async def linked(nats: NatsServer, stack: Stack) -> AsyncIterator[tuple[FaultProxy, client.Client]]:
    """A client behind a link of its own."""
    key_id = key_id_of(stack)
    async with (
        FaultProxy("127.0.0.1", urlsplit(nats.url).port or 0) as link,
        client.connect(
            f"nats://127.0.0.1:{link.port}", key_id=key_id, seed_file=seed_of(nats, key_id)
        ) as bus,
    ):
        yield link, bus


async def begun(bus: client.Client, tokens: int) -> tuple[client.Stream, asyncio.Future[None]]:
    """A stream that is being read."""
    stream = bus.stream(chat_body(f"numbered-{tokens}"))
    reading = asyncio.ensure_future(read(stream))
    await eventually(lambda: bool(stream.said))
    return stream, reading


async def told_of_a_dead_link(nats: NatsServer, stack: Stack) -> None:
    async with linked(nats, stack) as (link, bus):
        stream, reading = await begun(bus, 5000)
        link.set(black_hole=True)
        with Pace() as pace:
            asked = asyncio.ensure_future(bus.call(chat_body()))
            for one in (reading, asked):
                with pytest.raises(client.Interrupted, match="nothing heard"):
                    await one
        assert pace.elapsed_s < TOLD_WITHIN_S
        assert stream.said
        assert numbered(5000).startswith(stream.said)
        with Pace() as pace, pytest.raises(client.NotConnected):
            await bus.call(chat_body())
        assert pace.elapsed_s < REJECTED_WITHIN_S
        link.heal()
        await until_answered(bus)


async def until_answered(bus: client.Client) -> None:
    """Returns once a request comes through."""
    async with asyncio.timeout(TOLD_WITHIN_S):
        while True:
            try:
                await bus.call(chat_body())
            except client.NotConnected:
                await asyncio.sleep(0.05)
            else:
                return


async def reads_on_over_a_new_connection(nats: NatsServer, stack: Stack, *lost: Direction) -> None:
    async with linked(nats, stack) as (link, bus):
        stream, reading = await begun(bus, 500)
        link.set(*lost, black_hole=True)
        await asyncio.sleep(HOLE_S)
        link.heal()  # whoever were still there would now read on as if nothing had been
        await reading
        assert stream.said == numbered(500)
        assert bus._bus.statistics().reconnects == 1


async def test_a_link_that_swallows_everything_is_left_and_no_answer_waits_for_it(
    own_nats: NatsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_stack(
        own_nats,
        tmp_path,
        configure=lambda config: with_bus_users(own_nats, only_first(config)),
        token_interval_ms=10,
    ) as stack:
        await asyncio.gather(
            told_of_a_dead_link(own_nats, stack),
            reads_on_over_a_new_connection(own_nats, stack),
            reads_on_over_a_new_connection(own_nats, stack, "down"),
            reads_on_over_a_new_connection(own_nats, stack, "up"),
        )
        await nothing_open(stack)
    errors = [one.__dict__.get("fields") for one in caplog.records if "bus_" in one.getMessage()]
    assert any("bus_deaf" in one.getMessage() for one in caplog.records)
    assert not any("ermissions" in str(fields) for fields in errors), errors
