"""What is loaded was written whole by one writer, and nothing of others is left behind."""

import binascii
import os

import msgspec
import pytest

from droveway.contracts.envelope import encode
from droveway.contracts.jetstream import SNAPSHOTS
from droveway.limiter.snapshot_writer import Schedule
from droveway.limiter.snapshots import PIECE_BYTES, Head, Snapshot, Snapshots
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import Stored, reading
from tests.support.limits_log import new_partition
from tests.support.nats import NatsServer, nats  # noqa: F401

SMALL = Snapshot([b"a", b"bc", b""], 7, 1_000)


async def stored(bus: Bus, partition: int) -> dict[str, Stored]:
    base = f"$KV.{SNAPSHOTS}.{partition}."
    async with reading(bus, f"KV_{SNAPSHOTS}", 5) as reader:
        page = await reader.page(f"{base}>", 1, 256, 64 * 1024 * 1024)
        return {one.subject.removeprefix(base): one for one in page.messages}


async def values(bus: Bus, partition: int) -> set[str]:
    return {key for key, one in (await stored(bus, partition)).items() if not one.operation}


async def test_where_none_was_written_there_is_none(nats: NatsServer) -> None:  # noqa: F811
    async with nats.bus("limiter") as bus:
        snapshots = Snapshots(bus, new_partition(), 5)
        assert await snapshots.load() is None
        assert await snapshots.sequence() == 0


async def test_the_newest_is_loaded_as_it_was_written(nats: NatsServer) -> None:  # noqa: F811
    large = Snapshot([os.urandom(PIECE_BYTES), os.urandom(PIECE_BYTES + 5)], 9, 2_000)
    partition = new_partition()
    async with nats.bus("limiter") as bus:
        snapshots = Snapshots(bus, partition, 5)
        for snapshot in (SMALL, large, SMALL, large):
            assert await snapshots.write(snapshot)
            assert await Snapshots(bus, partition, 5).load() == snapshot
            assert await snapshots.sequence() == snapshot.sequence
        assert len(await values(bus, partition)) == 1 + 3
        assert snapshots.statistics().stored == 4


async def test_a_writer_that_was_overtaken_leaves_nothing_behind(nats: NatsServer) -> None:  # noqa: F811
    class Slow(Snapshots):
        """Another one writes after it has looked and before it says so."""

        async def _put(
            self,
            key: str,
            value: bytes,
            *,
            expected: int | None = None,
            headers: dict[str, str] | None = None,
        ) -> None:
            if key == "head":
                assert await Snapshots(bus, partition, 5).write(SMALL)
            await super()._put(key, value, expected=expected, headers=headers)

    partition = new_partition()
    async with nats.bus("limiter") as bus:
        slow = Slow(bus, partition, 5)
        assert not await slow.write(Snapshot([b"late"], 6, 900))
        assert slow.statistics().failed == 1
        assert await slow.load() == SMALL
        assert len(await values(bus, partition)) == 2


async def test_pieces_of_a_writer_that_died_are_removed_by_the_next_reader(
    nats: NatsServer,  # noqa: F811
) -> None:
    partition = new_partition()
    base = f"$KV.{SNAPSHOTS}.{partition}."
    async with nats.bus("limiter") as bus:
        snapshots = Snapshots(bus, partition, 5)
        await bus.request(f"{base}3-dead.0", b"left", 5)
        await snapshots.write(SMALL)
        await bus.request(f"{base}8-young.0", b"being written, for all we know", 5)
        assert await snapshots.load() == SMALL
        left = await values(bus, partition)
        assert {key.partition("-")[0] for key in left} == {"head", "7", "8"}


@pytest.mark.parametrize("damage", ["piece", "missing", "head"])
async def test_a_damaged_one_is_none(nats: NatsServer, damage: str) -> None:  # noqa: F811
    partition = new_partition()
    base = f"$KV.{SNAPSHOTS}.{partition}."
    async with nats.bus("limiter") as bus:
        snapshots = Snapshots(bus, partition, 5)
        await snapshots.write(SMALL)
        (piece,) = await values(bus, partition) - {"head"}
        if damage == "head":
            await bus.request(f"{base}head", b"\xc1", 5)
        else:
            data = b"" if damage == "missing" else b"other"
            await bus.request(f"{base}{piece}", data, 5)
        assert await snapshots.load() is None
        assert await snapshots.write(SMALL)
        assert await snapshots.load() == SMALL


async def test_what_is_deleted_has_an_end(nats: NatsServer) -> None:  # noqa: F811
    async with nats.bus("limiter") as bus:
        snapshots = Snapshots(bus, new_partition(), 5)
        await snapshots.write(SMALL)
        await snapshots.write(SMALL)
        subject = f"$JS.API.DIRECT.GET.KV_{SNAPSHOTS}"
        assert await bus.request(subject, msgspec.json.encode({"seq": 1}), 5) is not None


def test_the_head_is_an_array_of_what_it_says() -> None:
    data = encode(SMALL.chunks)
    head = Head(name="7-x", pieces=1, sequence=7, at_ms=1_000, crc=binascii.crc32(data))
    assert msgspec.msgpack.decode(encode(head)) == ["7-x", 1, 7, 1_000, binascii.crc32(data)]


def test_a_snapshot_is_due_after_batches_or_time_if_anything_changed() -> None:
    schedule = Schedule(batches=100, every_s=0.0)
    assert not schedule.due(0)
    assert schedule.due(1)
    patient = Schedule(batches=100, every_s=1_000.0)
    assert not patient.due(99)
    assert patient.due(100)
    assert not patient.due(299, patience=3)
    patient.stored(250)
    assert not patient.due(300)
    patient.hurry()
    patient.stored(400)
    assert patient.due(3), "another one's is of a log that isn't there any more"
    patient.replaced(3)
    assert not patient.due(4)
