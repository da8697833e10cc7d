"""One partition of the limiter's log for a test's own, and what stands there."""

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from droveway.contracts.envelope import encode
from droveway.contracts.jetstream import (
    LIMITS,
    PRICES,
    SNAPSHOTS,
    USAGE,
    limits_stream,
    usage_stream,
    values_bucket,
)
from droveway.contracts.limits import Admit, Batch, limits_subject
from droveway.limiter.log import Log, unix_ms
from droveway.limiter.settings import LimiterSettings
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import DirectGet, reading

SETTINGS = LimiterSettings()
_partitions = itertools.count(os.getpid() * 1_000)


def new_partition() -> int:
    """A number that no other test of the session uses."""
    return next(_partitions)


class Written(msgspec.Struct, frozen=True):
    """A batch and where and when it was stored."""

    sequence: int
    stored_ms: int
    batch: Batch


@asynccontextmanager
async def reading_log(bus: Bus) -> AsyncIterator[DirectGet]:
    """A reader of LIMITS."""
    async with reading(bus, LIMITS, 5) as reader:
        yield reader


async def written(bus: Bus, partition: int) -> list[Written]:
    """All that stands in the log of a partition."""
    found: list[Written] = []
    decode = msgspec.msgpack.Decoder(Batch).decode
    async with reading_log(bus) as reader:
        complete = False
        while not complete:
            first = found[-1].sequence + 1 if found else 1
            page = await reader.page(limits_subject(partition), first, 256, 4 * 1024 * 1024)
            found += [
                Written(one.sequence, unix_ms(one.stored_at), decode(one.payload))
                for one in page.messages
            ]
            complete = page.complete or not page.messages
    return found


def admits(log: list[Written]) -> list[Admit]:
    """The admissions among it, in order."""
    return [op for one in log for op in one.batch.ops if isinstance(op, Admit)]


async def make_streams(bus: Bus) -> None:
    """What a limiter needs of JetStream, on a server that knows no users."""
    size = 16 * 1024 * 1024
    for stream in (
        limits_stream(size, 1),
        usage_stream(size, 1),
        *(values_bucket(bucket, size, 1) for bucket in (SNAPSHOTS, "access", PRICES)),
    ):
        await bus.jetstream(f"STREAM.CREATE.{stream['name']}", stream)


async def append(bus: Bus, partition: int, batch: Batch, expected: int) -> int:
    """Appends as an owner does; the sequence."""
    log = Log(bus, partition, SETTINGS)
    async with reading_log(bus) as reader:
        done = await log.append(reader, batch.owner, batch.number, encode(batch), expected)
    return done.sequence


__all__ = ["USAGE", "Written", "admits", "append", "make_streams", "new_partition", "written"]
