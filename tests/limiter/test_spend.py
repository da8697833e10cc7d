"""The money of a key is what the rows of USAGE say, each counted once, whoever owns the log."""

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.contracts.access import Budget
from droveway.contracts.envelope import encode, new_attempt_id, new_instance, new_request_id
from droveway.contracts.jetstream import usage_stream
from droveway.contracts.limits import Spend
from droveway.contracts.prices import ModelPrice, ProviderPrices, Rates
from droveway.contracts.relay import Usage
from droveway.contracts.usage import (
    AttemptRecorded,
    AttemptTimes,
    RequestRecorded,
    RequestTimes,
    encode_rows,
    usage_subject,
)
from droveway.limiter.owner import EVENTS
from droveway.limiter.settings import LimiterSettings
from droveway.runtime.bus import Bus, connect
from tests.support.limiters import KEY, MODEL, TENANT, Limiter, config, limiter
from tests.support.limits_log import make_streams, written
from tests.support.plain_nats import PlainNats, serving_plain
from tests.support.waiting import until

DOLLAR = config(budgets=(Budget(usd=1.0),))
PRICE = ModelPrice(
    rates=(
        Rates(
            above_input_tokens=0,
            input=10**9,
            output=10**9,
            cache_read=10**9,
            cache_write=10**9,
            cache_write_1h=10**9,
        ),
    ),
    source="config",
)
PRICES = ProviderPrices(provider="p", models={}, default=PRICE)
"""A thousand tokens are 1,000,000 nano-dollars."""
OWN = LimiterSettings(usage_check_every_s=0.2, usage_rows=16, usage_pause_ms=5)


def row(tokens: int = 1_000, **fields: Any) -> AttemptRecorded:
    defaults: dict[str, Any] = {
        "attempt_id": new_attempt_id(),
        "request_id": new_request_id(),
        "attempt": 1,
        "traceparent": "",
        "tenant": TENANT,
        "key_id": KEY,
        "caller": new_instance("caller"),
        "router": new_instance("router"),
        "provider": "p",
        "credential": "main",
        "model": MODEL,
        "stream": False,
        "outcome": "completed",
        "usage": Usage(input_tokens=tokens),
        "began_ns": time.time_ns(),
        "times": AttemptTimes(),
    }
    return AttemptRecorded(**(defaults | fields))


def request_row() -> RequestRecorded:
    return RequestRecorded(
        request_id=new_request_id(),
        traceparent="",
        tenant=TENANT,
        key_id=KEY,
        door=new_instance("gateway"),
        operation="chat.completions",
        model=MODEL,
        stream=False,
        outcome="completed",
        status=200,
        began_ns=time.time_ns(),
        times=RequestTimes(),
    )


async def record(bus: Bus, *rows: AttemptRecorded | RequestRecorded) -> None:
    await asyncio.gather(*(bus.request(usage_subject(TENANT), encode(one), 5) for one in rows))


class World:
    """A server of its own, since USAGE is one for all partitions."""

    def __init__(self, server: PlainNats) -> None:
        self.server = server

    def bus(self, service: str) -> Any:
        return connect(self.server.settings, service, new_instance(service))

    def limiter(self) -> Any:
        return limiter(self.bus, 0, DOLLAR, OWN)


async def priced(one: Limiter) -> Limiter:
    one.partition.price("p", PRICES)
    await until(lambda: one.owns)
    return one


async def spent(bus: Bus) -> list[tuple[int, int]]:
    """What the log says: up to which row, how many."""
    ops = [op for one in await written(bus, 0) for op in one.batch.ops]
    return [(op.usage_seq, len(op.rows)) for op in ops if isinstance(op, Spend)]


def nano_of(bus_log: list[Any]) -> int:
    ops = [op for one in bus_log for op in one.batch.ops if isinstance(op, Spend)]
    return sum(each.nano for op in ops for each in op.rows)


async def test_rows_are_counted_once_in_bounded_pages_across_owners(tmp_path: Path) -> None:
    with serving_plain(tmp_path) as server:
        world = World(server)
        async with world.bus("setup") as bus:
            await make_streams(bus)
            await record(bus, *(row() for _ in range(40)))
            async with world.limiter() as one:
                await priced(one)
                await until(lambda: one.partition.spend.statistics().rows == 40)
                assert [rows for _, rows in await spent(bus)] == [16, 16, 8]
                await record(bus, row(), request_row(), row())
                await until(lambda: one.partition.spend.statistics().rows == 42)
                await one.end()
            async with world.limiter() as other:
                await priced(other)
                await record(bus, row())
                await until(lambda: other.partition.spend.statistics().rows == 1)
                sequences = [sequence for sequence, _ in await spent(bus)]
                assert sequences == sorted(sequences)
                assert sequences[-1] == 44
            assert nano_of(await written(bus, 0)) == 43 * 1_000_000


async def test_rows_that_share_messages_are_counted_once_each(tmp_path: Path) -> None:
    with serving_plain(tmp_path) as server:
        world = World(server)
        async with world.bus("setup") as bus:
            await make_streams(bus)
            rows = [row() for _ in range(30)]
            some = (
                encode_rows(rows[:10]),
                encode_rows([request_row(), *rows[10:15], request_row()]),
                encode([*rows[15:20], {"t": "attempt.recorded.v1"}]),
                encode_rows(rows[20:]),
            )
            for payload in (*some, some[0]):  # the last as after a lost acknowledgement
                await bus.request(usage_subject(TENANT), payload, 5)
            async with world.limiter() as one:
                await priced(one)
                await until(lambda: one.partition.spend.statistics().sequence == 5)
                assert one.partition.spend.statistics().malformed == 1
                assert [rows for _, rows in await spent(bus)] == [15, 15, 0]
            assert nano_of(await written(bus, 0)) == 30 * 1_000_000


async def test_no_row_counts_as_nothing_because_the_price_book_is_late(tmp_path: Path) -> None:
    with serving_plain(tmp_path) as server:
        world = World(server)
        async with world.bus("setup") as bus:
            await make_streams(bus)
            await record(bus, row())
            async with world.limiter() as one:
                await until(lambda: one.owns)
                await asyncio.sleep(0.3)  # it would have been read by now
                assert await spent(bus) == []
                await priced(one)
                await until(lambda: one.partition.spend.statistics().rows == 1)
                assert nano_of(await written(bus, 0)) == 1_000_000


async def test_rows_that_nobody_told_of_are_found(tmp_path: Path) -> None:
    """A row that is stored before the limiter listens, and rows of others between."""
    with serving_plain(tmp_path) as server:
        world = World(server)
        async with world.bus("setup") as bus:
            await make_streams(bus)
            async with world.limiter() as one:
                await priced(one)
                await record(bus, *(request_row() for _ in range(30)), row())
                await bus.request(usage_subject(TENANT), b"\xc1", 5)
                await record(bus, row())
                await until(lambda: one.partition.spend.statistics().rows == 2)
                assert one.partition.spend.statistics().malformed == 1
                assert [rows for _, rows in await spent(bus)] in ([1, 1], [2])


async def test_a_stream_that_was_made_anew_is_told_and_counts_nothing_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving_plain(tmp_path) as server:
        world = World(server)
        async with world.bus("setup") as bus:
            await make_streams(bus)
            async with world.limiter() as one:
                await priced(one)
                await record(bus, *(row() for _ in range(5)))
                await until(lambda: one.partition.spend.statistics().rows == 5)
                await bus.jetstream("STREAM.DELETE.USAGE", {})
                await bus.jetstream("STREAM.CREATE.USAGE", usage_stream(16 * 1024 * 1024, 1))
                await record(bus, row())
                await until(lambda: "usage_made_anew" in caplog.text)
                assert one.owns
            assert nano_of(await written(bus, 0)) == 5 * 1_000_000


async def test_a_budget_that_is_nearly_spent_is_told(tmp_path: Path) -> None:
    with serving_plain(tmp_path) as server:
        world = World(server)
        async with world.bus("setup") as bus:
            await make_streams(bus)
            told: asyncio.Queue[bytes] = asyncio.Queue()
            await bus.subscribe(EVENTS, lambda payload, _reply: told.put_nowait(payload))
            async with world.limiter() as one:
                await priced(one)
                await record(bus, row(900_000))
                async with asyncio.timeout(5):
                    event = msgspec.json.decode(await told.get())
                assert event["t"] == "budget.crossed.v1"
                assert (event["scope"], event["id"], event["period"]) == ("key", KEY, "month")
                assert event["limit_nano"] == 10**9
