"""Answers to clients on the bus: what is kept, how far it goes, who is taken for gone."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from droveway.contracts import client, relay
from droveway.gateway.doors import client_relays
from droveway.gateway.doors.client_frames import FrameCoder
from droveway.gateway.doors.client_relay import ClientRelay
from droveway.gateway.doors.client_relays import ClientRelays
from droveway.runtime.bus import Bus
from droveway.runtime.errors import RelayCut
from tests.support.bus_client import Answer, PlainTenant, plain_tenant
from tests.support.flows import eventually
from tests.support.nats import NatsServer, nats  # noqa: F401
from tests.support.waiting import settled

KEY = "relay-key"
EVENT = json.dumps({"choices": [], "filler": "x" * 10_000}).encode()


class World(NamedTuple):
    """A gateway's relays and a client that listens."""

    relays: ClientRelays
    tenant: PlainTenant
    answer: Answer
    inbox: str
    bus: Bus

    def open(self, *, credit: bool = False) -> ClientRelay:
        coder = FrameCoder("req_1", packed=False)
        opened = self.relays.open(KEY, self.inbox, coder, credit=credit)
        opened.publish(coder.encode(self.relays.opened_frame(opened, "req_1")))
        return opened

    async def say(self, opened: ClientRelay, message: dict[str, Any]) -> None:
        """A control message, taken by the relays on return."""
        control = client.control_subject(KEY, self.bus.instance)
        data = {"relay_id": opened.relay_id.hex(), **message}
        await self.tenant.connection.publish(control, json.dumps(data).encode())
        await self.tenant.connection.request(control, b'{"t":"probe"}', timeout=5)


@pytest.fixture
async def world(nats: NatsServer) -> AsyncIterator[World]:  # noqa: F811
    nats.add_key_user(KEY)
    async with nats.bus("gateway") as bus, plain_tenant(nats, KEY) as tenant:
        relays = ClientRelays(bus, stall_s=30)
        await relays.listen()
        answer, inbox = Answer(packed=False), tenant.connection.new_inbox()
        await tenant.connection.subscribe(inbox, cb=answer.on_message)
        await settled(tenant.connection)
        yield World(relays, tenant, answer, inbox, bus)


async def test_without_credit_nothing_waits_and_the_last_window_is_kept(world: World) -> None:
    opened = world.open()
    for _ in range(20):
        await opened.send((EVENT,))
    assert 0 < opened.sender.kept_bytes <= relay.WINDOW_BYTES
    await world.answer.until(lambda it: len(it.of("chunk")) == 20)
    assert world.relays.statistics().blocked == 0


async def _send(opened: ClientRelay, count: int) -> None:
    for _ in range(count):
        await opened.send((EVENT,))


async def test_credit_is_clamped_to_the_window(world: World) -> None:
    opened = world.open(credit=True)
    sending = asyncio.ensure_future(_send(opened, 20))
    await eventually(lambda: opened.sender.blocked)
    assert len(world.answer.of("chunk")) <= 4
    await world.say(opened, {"t": "credit", "next_seq": 0, "limit_bytes": 2**60})
    await eventually(lambda: opened.sender.blocked)
    assert opened.sender.next_seq <= 8
    assert world.relays.statistics().blocked == 1
    await world.say(opened, {"t": "cancel"})
    with pytest.raises(RelayCut):
        await sending


async def test_resends_are_bounded_in_time(world: World) -> None:
    opened = world.open()
    await opened.send((EVENT,))
    for _ in range(5):
        await world.say(opened, {"t": "resend", "from_seq": 0})
    assert len(world.answer.of("chunk")) <= 3
    await asyncio.sleep(client_relays.RESEND_EVERY_S)
    before = len(world.answer.of("chunk"))
    await world.say(opened, {"t": "resend", "from_seq": 0})
    await world.answer.until(lambda it: len(it.of("chunk")) == before + 1)


async def test_an_ended_answer_is_kept_until_it_is_taken(world: World) -> None:
    opened = world.open()
    await opened.send((EVENT,))
    opened.sender.complete(relay.Usage(), "stop")
    world.relays.close(opened)
    assert world.relays.statistics()[:4] == (0, 0, 1, opened.sender.kept_bytes)
    await world.answer.until(lambda it: it.of("completed"))
    await world.say(opened, {"t": "resend", "from_seq": 1})
    await world.answer.until(lambda it: len(it.of("completed")) == 2)
    await world.say(opened, {"t": "taken"})
    assert world.relays.statistics()[:4] == (0, 0, 0, 0)


async def test_what_is_kept_is_bounded_in_all(world: World) -> None:
    relays = ClientRelays(world.bus, stall_s=30, max_lingering_bytes=25_000)
    for _ in range(5):
        opened = relays.open(KEY, world.inbox, FrameCoder("req_1", packed=False), credit=False)
        await opened.send((EVENT,))
        opened.sender.complete(relay.Usage(), "stop")
        relays.close(opened)
    statistics = relays.statistics()
    assert statistics.lingering == 2
    assert statistics.lingering_bytes < 25_000


async def test_what_an_ended_answer_counted_for_is_given_back(world: World) -> None:
    """Also when its client has taken a part of it meanwhile, and when one alone is too much."""
    opened = world.open(credit=True)
    await opened.send((EVENT,))
    opened.sender.complete(relay.Usage(), "stop")
    world.relays.close(opened)
    await world.say(opened, {"t": "credit", "next_seq": 1, "limit_bytes": 60_000})
    await world.say(opened, {"t": "taken"})
    assert world.relays.statistics()[2:4] == (0, 0)
    small = ClientRelays(world.bus, stall_s=30, max_lingering_bytes=1)
    alone = small.open(KEY, world.inbox, FrameCoder("req_1", packed=False), credit=True)
    await alone.send((EVENT,))
    small.close(alone)
    assert small.statistics()[2:4] == (0, 0)


async def test_credit_that_grants_nothing_is_no_progress(world: World) -> None:
    opened = world.open(credit=True)
    sending = asyncio.ensure_future(_send(opened, 20))
    await eventually(lambda: opened.sender.blocked)
    before_s = opened.progress_s
    await world.say(opened, {"t": "credit", "next_seq": 0, "limit_bytes": 0})
    assert opened.progress_s == before_s
    await world.say(opened, {"t": "credit", "next_seq": 1, "limit_bytes": 0})
    assert opened.progress_s > before_s
    await world.say(opened, {"t": "cancel"})
    with pytest.raises(RelayCut):
        await sending


async def test_who_has_unsubscribed_is_gone_at_once_unless_it_has_credit(world: World) -> None:
    left: list[str] = []
    plain, paced = world.open(), world.open(credit=True)
    plain.on_left, paced.on_left = lambda: left.append("plain"), lambda: left.append("paced")
    await world.tenant.connection.close()
    async with asyncio.timeout(5):
        while not left:  # the broker may not have seen yet that the connection is closed
            for opened in (plain, paced):
                await opened.send((EVENT,))
            await asyncio.sleep(0.01)
    assert left == ["plain"]
    assert not paced.sender.cancelled.is_set(), "its connection may come back"
    assert world.relays.statistics().left == 1
