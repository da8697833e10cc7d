"""Rows reach JetStream, or wait, or are counted; none is dropped silently."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import msgspec
import pytest

from droveway.contracts import jetstream, usage
from droveway.contracts.envelope import new_attempt_id, new_instance
from droveway.runtime.bus import Bus, connect
from droveway.runtime.bus.direct_get import reading
from droveway.runtime.spool import Spool
from tests.contracts.samples import SHORT
from tests.support.nats import NatsServer
from tests.support.nats_proxy import NatsProxy
from tests.support.nats_wire import Message
from tests.support.waiting import until

TENANTS = itertools.count()


def rows(count: int, tenant: str = "") -> list[usage.AttemptRecorded]:
    sample = next(message for message in SHORT if isinstance(message, usage.AttemptRecorded))
    tenant = tenant or f"spool-{next(TENANTS)}"
    return [
        msgspec.structs.replace(sample, attempt_id=new_attempt_id(), tenant=tenant)
        for _ in range(count)
    ]


@contextlib.asynccontextmanager
async def spooling(
    bus: Bus, limit_rows: int = 1_000, window_rows: int = 64
) -> AsyncIterator[Spool]:
    spool = Spool(bus, limit_rows, window_rows)
    running = asyncio.create_task(spool.run())
    try:
        yield spool
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def messages(server: NatsServer, tenant: str) -> list[list[usage.Row]]:
    """The rows of a tenant that are stored, message by message."""
    subject = usage.usage_subject(tenant)
    async with server.bus("operator") as bus, reading(bus, jetstream.USAGE, 5) as reader:
        return [
            usage.rows_of(one.payload) async for one in reader.messages(subject, 1_000, 1024 * 1024)
        ]


async def stored(server: NatsServer, tenant: str) -> list[usage.Row]:
    return [row for rows in await messages(server, tenant) for row in rows]


async def create_stream(server: NatsServer, max_msgs: int = -1) -> None:
    async with server.bus("setup") as bus:
        stream = {**jetstream.usage_stream(1024 * 1024, 1), "max_msgs": max_msgs}
        await bus.jetstream(f"STREAM.CREATE.{jetstream.USAGE}", stream)


def _is_acknowledgement(message: Message) -> bool:
    return b'"stream"' in message.payload and b"USAGE" in message.payload


async def test_rows_are_stored_once_each(nats: NatsServer) -> None:
    sent = rows(500)
    async with nats.bus("caller") as bus, spooling(bus) as spool:
        for row in sent:
            spool.put(row)
        await spool.drain(5)
        statistics = spool.statistics()
        assert (statistics.stored, statistics.failed) == (500, 0)
        assert (statistics.waiting, statistics.unacknowledged) == (0, 0)
        assert bus.statistics().open_inboxes == 0
    assert await stored(nats, sent[0].tenant) == sent


async def test_rows_of_a_tenant_share_messages_and_keep_their_order(nats: NatsServer) -> None:
    ours, theirs = rows(120), rows(2)
    lone = rows(1)
    mixed = [*ours[:60], theirs[0], *lone, *ours[60:], theirs[1]]
    async with nats.bus("caller") as bus, spooling(bus, window_rows=512) as spool:
        for row in mixed:
            spool.put(row)
        await spool.drain(5)
        assert spool.statistics().stored == 123
    found = await messages(nats, ours[0].tenant)
    assert max(map(len, found)) <= usage.MAX_ROWS
    assert [row for some in found for row in some] == ours
    assert await messages(nats, theirs[0].tenant) == [theirs]
    assert await messages(nats, lone[0].tenant) == [lone]


async def test_a_message_is_bounded_and_a_row_of_any_size_goes(nats: NatsServer) -> None:
    small = rows(2)
    (huge,) = rows(1, small[0].tenant)
    name = "🐘" * 4_096
    huge = msgspec.structs.replace(huge, model=name, asked_model=name, served_model=name)
    large = [msgspec.structs.replace(row, model="漢" * 4_096) for row in rows(7, small[0].tenant)]
    sent = [small[0], huge, small[1], *large]
    async with nats.bus("caller") as bus, spooling(bus) as spool:
        for row in sent:
            spool.put(row)
        await spool.drain(5)
    found = await messages(nats, small[0].tenant)
    assert [row for some in found for row in some] == sent
    assert len(usage.encode_rows([huge])) > usage.MAX_ROWS_BYTES
    assert [len(some) for some in found] == [1, 1, 4, 3, 1]
    assert all(len(usage.encode_rows(some)) <= usage.MAX_ROWS_BYTES for some in found[2:])


async def test_a_message_whose_acknowledgement_was_lost_is_sent_again_as_it_was(
    nats: NatsServer,
) -> None:
    sent, later = rows(30), rows(1)
    async with NatsProxy.before(nats.url) as proxy:
        lost = proxy.rule(_is_acknowledgement, "down", drop=1.0)
        broker = msgspec.structs.replace(nats.settings("caller"), servers=(proxy.url,))
        async with (
            connect(broker, "caller", new_instance("caller")) as bus,
            spooling(bus) as spool,
        ):
            for row in sent:
                spool.put(row)
            await until(lambda: lost.counts["dropped"] == 1)
            lost.heal()
            spool.put(*later)  # it doesn't wait for the others
            await until(lambda: spool.statistics().stored == 1)
            await spool.drain(5)
            assert (spool.statistics().stored, spool.statistics().failed) == (31, 30)
    assert await messages(nats, sent[0].tenant) == [sent, sent]


async def test_no_more_than_a_window_is_unacknowledged(nats: NatsServer) -> None:
    async with nats.bus("caller") as bus, spooling(bus, window_rows=8) as spool:
        for row in rows(100):
            spool.put(row)
        await until(lambda: spool.statistics().unacknowledged > 0)
        assert spool.statistics().unacknowledged == 8
        await spool.drain(5)
        assert spool.statistics().stored == 100


async def test_rows_wait_until_the_stream_is_there(own_nats: NatsServer) -> None:
    sent = rows(20)
    async with own_nats.bus("gateway") as bus, spooling(bus, limit_rows=20) as spool:
        for row in sent:
            spool.put(row)
        await until(lambda: spool.statistics().failed >= 20)
        assert spool.full
        assert spool.statistics().stored == 0
        await create_stream(own_nats)
        await spool.drain(5)
        assert spool.statistics().stored == 20
        assert not spool.full
    assert await stored(own_nats, sent[0].tenant) == sent


async def test_a_full_stream_refuses_rows_and_they_stay(own_nats: NatsServer) -> None:
    await create_stream(own_nats, max_msgs=5)
    async with own_nats.bus("gateway") as bus, spooling(bus) as spool:
        for number in range(8):  # a message for each tenant
            spool.put(*rows(1, f"full-{number}"))
        await until(lambda: spool.statistics().stored == 5 and spool.statistics().failed >= 3)
        assert spool.statistics().waiting + spool.statistics().unacknowledged == 3


async def test_rows_outlive_the_broker(own_nats: NatsServer) -> None:
    sent = rows(30)
    await create_stream(own_nats)
    async with own_nats.bus("caller") as bus, spooling(bus) as spool:
        own_nats.kill()
        await until(lambda: not bus.statistics().connected)
        for row in sent:
            spool.put(row)
        assert spool.statistics().waiting == 30
        own_nats.start()
        await spool.drain(10)
        assert spool.statistics().stored == 30
    assert await stored(own_nats, sent[0].tenant) == sent


async def test_a_drain_that_fails_says_how_many_are_lost(
    own_nats: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with own_nats.bus("caller") as bus, spooling(bus) as spool:
        for row in rows(7):
            spool.put(row)
        await spool.drain(0.05)
    (record,) = [one for one in caplog.records if one.message == "rows_unstored"]
    assert "7" in str(vars(record))


async def test_an_empty_spool_is_drained_at_once(nats: NatsServer) -> None:
    async with nats.bus("caller") as bus, asyncio.timeout(0.5):
        await Spool(bus, 10).drain(60)
