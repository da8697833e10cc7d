"""An append stands in the log once, in its place, or never; whoever is late learns it."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from droveway.contracts.envelope import encode, new_instance
from droveway.contracts.limits import Batch, Pass
from droveway.limiter.log import Fenced, Log, LogUnreadable, unix_ms
from droveway.limiter.settings import LimiterSettings
from droveway.runtime.bus import connect
from droveway.runtime.errors import Disconnected
from tests.support.limits_log import append, make_streams, new_partition, reading_log, written
from tests.support.nats import NatsServer, nats  # noqa: F401
from tests.support.plain_nats import PlainNats, serving_plain

QUICK = LimiterSettings(ack_within_ms=50)


def owners() -> tuple[str, str]:
    """Names that no other test uses: a batch's name counts in the whole stream."""
    return new_instance("limiter"), new_instance("limiter")


def batch(owner: str, number: int) -> Batch:
    ops = (Pass(request_id=f"req_{number}", router="router-1", ask=number),)
    return Batch(owner=owner, number=number, at_ms=number, ops=ops)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[PlainNats]:
    with serving_plain(tmp_path) as server:
        yield server


async def test_batches_stand_in_the_order_of_their_appends(nats: NatsServer) -> None:  # noqa: F811
    partition, last, (one_owner, _) = new_partition(), 0, owners()
    async with nats.bus("limiter") as bus:
        for number in range(1, 6):
            last = await append(bus, partition, batch(one_owner, number), last)
        log = await written(bus, partition)
        assert [one.batch for one in log] == [batch(one_owner, number) for number in range(1, 6)]
        assert log[-1].sequence == last
        async with reading_log(bus) as reader:
            pages = Log(bus, partition, LimiterSettings(page_messages=2))
            entries, complete = await pages.page(reader, log[1].sequence)
            assert ([one.batch.number for one in entries], complete) == ([3, 4], False)
            entries, complete = await pages.page(reader, last)
            assert (entries, complete) == ([], True)


async def test_who_expects_another_last_batch_is_fenced(nats: NatsServer) -> None:  # noqa: F811
    partition, (one_owner, another) = new_partition(), owners()
    async with nats.bus("limiter") as bus:
        first = await append(bus, partition, batch(one_owner, 1), 0)
        await append(bus, partition, batch(another, 1), first)
        with pytest.raises(Fenced, match=another):
            await append(bus, partition, batch(one_owner, 2), first)
        with pytest.raises(Fenced, match=one_owner):
            await append(bus, partition, batch(another, 2), 0)
        assert len(await written(bus, partition)) == 2


@pytest.mark.parametrize("later", [0, 2])
async def test_what_is_sent_again_stands_once(nats: NatsServer, later: int) -> None:  # noqa: F811
    """Whether the server looks at the name or at the expected sequence first."""
    partition, (one_owner, another) = new_partition(), owners()
    async with nats.bus("limiter") as bus:
        first = await append(bus, partition, batch(one_owner, 1), 0)
        for number in range(2, 2 + later):
            await append(bus, partition, batch(another, number), first + number - 2)
        assert await append(bus, partition, batch(one_owner, 1), 0) == first
        duplicate = {"Nats-Msg-Id": f"{one_owner}-1"}
        log = Log(bus, partition, QUICK)
        answer = await bus.request(log.subject, encode(batch(one_owner, 1)), 1, duplicate)
        assert b'"duplicate": true' in answer
        assert len(await written(bus, partition)) == 1 + later


async def test_a_broker_that_stood_still_has_it_once(own_server: PlainNats) -> None:
    one_owner, _ = owners()
    async with connect(own_server.settings, "limiter", one_owner) as bus:
        await make_streams(bus)
        log = Log(bus, 0, QUICK)
        async with reading_log(bus) as reader:
            own_server.signal(signal.SIGSTOP)
            appending = asyncio.ensure_future(
                log.append(reader, one_owner, 1, encode(batch(one_owner, 1)), 0)
            )
            await asyncio.sleep(0.3)
            own_server.signal(signal.SIGCONT)
            assert (await appending).sequence == 1
            assert log.statistics().doubts > 1
            assert (
                await log.append(reader, one_owner, 2, encode(batch(one_owner, 2)), 1)
            ).sequence == 2
        assert [one.batch.number for one in await written(bus, 0)] == [1, 2]


async def test_a_lost_connection_ends_the_append_in_doubt(own_server: PlainNats) -> None:
    one_owner, _ = owners()
    async with connect(own_server.settings, "limiter", one_owner) as bus:
        await make_streams(bus)
        log = Log(bus, 0, QUICK)
        async with reading_log(bus) as reader:
            own_server.kill()
            with pytest.raises(Disconnected):
                await log.append(reader, one_owner, 1, encode(batch(one_owner, 1)), 0)
        own_server.start()


async def test_a_log_that_was_made_anew_fences_its_owner(own_server: PlainNats) -> None:
    one_owner, _ = owners()
    async with connect(own_server.settings, "limiter", one_owner) as bus:
        await make_streams(bus)
        await append(bus, 0, batch(one_owner, 1), 0)
        with pytest.raises(Fenced, match="doesn't reach to 7"):
            await append(bus, 0, batch(one_owner, 2), 7)


async def test_a_batch_that_nobody_understands_stops_its_reader(nats: NatsServer) -> None:  # noqa: F811
    partition = new_partition()
    async with nats.bus("limiter") as bus, reading_log(bus) as reader:
        log = Log(bus, partition, QUICK)
        await bus.request(log.subject, encode(["x", 1, 2, [["unknown"]]]), 1)
        with pytest.raises(LogUnreadable, match="newest version"):
            await log.page(reader, 0)


def test_the_servers_time_has_any_number_of_digits() -> None:
    assert unix_ms("1970-01-01T00:00:01Z") == 1_000
    assert unix_ms("1970-01-01T00:00:01.5Z") == 1_500
    assert unix_ms("1970-01-01T00:00:01.123456789") == 1_123
