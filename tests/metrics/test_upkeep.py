"""Looking after the ledger over a real stream: check, rebuild, re-price, status."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, insert, select, update

from droveway.contracts.jetstream import USAGE
from droveway.contracts.prices import ModelPrice, Rates
from droveway.contracts.relay import Usage
from droveway.contracts.usage import encode_rows
from droveway.metrics.ledger import position
from droveway.metrics.ledger.database import Database, LedgerAway
from droveway.metrics.ledger.migrate import latest
from droveway.metrics.ledger.sums import HOUR_MS
from droveway.metrics.ledger.tables import (
    HOURS,
    attempt_hours,
    attempts,
    positions,
    prices,
    request_hours,
    requests,
)
from droveway.metrics.upkeep.check import Checked, Checking
from droveway.metrics.upkeep.rebuild import Beginning, NothingToRebuildFrom, beginning, rebuild
from droveway.metrics.upkeep.reprice import Repriced, Repricing
from droveway.metrics.upkeep.status import read_status
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import reading
from tests.support.counting import count, pair, publish
from tests.support.ledger_tables import new_database
from tests.support.nats import NatsServer

WEEK_MS = 7 * 24 * HOUR_MS


def price(dollars: float, source: Any = "config") -> ModelPrice:
    rate = int(dollars * 10**9)
    return ModelPrice(rates=(Rates(0, *(rate,) * 5),), source=source)


def cheap(_provider: str, _model: str, _at_ns: int) -> ModelPrice:
    return price(1)


class World:
    """A broker's stream, a ledger, and whoever writes rows."""

    def __init__(self, database: Database, bus: Bus, operator: Bus) -> None:
        self.database = database
        self.bus = bus
        self._operator = operator

    async def count(self, *rows: Any, price_of: Any = cheap) -> int:
        await publish(self.bus, *rows)
        return await count(self.bus, self.database, price_of)

    async def check(self) -> Checked:
        now_ms = time.time_ns() // 1_000_000
        async with reading(self._operator, USAGE, 5) as reader:
            return await Checking(self.database, reader, now_ms, WEEK_MS).run()

    async def rebuild(self) -> Any:
        async with reading(self._operator, USAGE, 5) as reader:
            return await rebuild(self.database, await beginning(reader))

    async def reprice(
        self, price_of: Any, since_ms: int = 0, model: str = "", *, dry: bool = False
    ) -> Repriced:
        return await Repricing(self.database, price_of, since_ms, model, dry=dry).run()

    async def change(self, *statements: Any) -> None:
        async with self.database.writing() as connection:
            for statement in statements:
                await connection.execute(statement)

    async def dump(self) -> dict[str, list[Any]]:
        """All that is counted."""
        async with self.database.reading() as connection:
            return {
                table.name: sorted(
                    (tuple(row) for row in await connection.execute(select(table))), key=repr
                )
                for table in (attempts, requests, *HOURS)
            }

    async def cost(self) -> tuple[int, int]:
        """By rows, and by hours."""
        found = await self.dump()
        of_row = [*attempts.columns.keys()].index("cost_nano_usd")
        of_hour = [*attempt_hours.columns.keys()].index("cost_nano_usd")
        return (
            sum(row[of_row] for row in found["attempts"]),
            sum(row[of_hour] for row in found["attempt_hours"]),
        )


@asynccontextmanager
async def _world(nats: NatsServer, folder: Path) -> AsyncIterator[World]:
    database = await new_database(folder)
    async with nats.bus("metrics") as bus, nats.bus("operator") as operator:
        yield World(database, bus, operator)
    await database.close()


@pytest.fixture
async def world(own_nats: NatsServer, tmp_path: Path) -> AsyncIterator[World]:
    async with _world(own_nats, tmp_path) as made:
        yield made


async def test_a_ledger_that_is_right_is_found_right(world: World) -> None:
    rows = [row for _ in range(20) for row in pair()]
    exact, request = pair(usage=Usage(50, 5))
    told = msgspec.structs.replace(exact, witness="router-1", usage=Usage(9, 9, estimated=True))
    other = msgspec.structs.replace(told, witness="metrics-1")
    unseen = msgspec.structs.replace(pair()[0], witness="router-1")
    some = (encode_rows(rows[:12]), *rows[12:30], encode_rows(rows[30:]))
    again = encode_rows(rows[:5])
    await world.count(*some, again, b"junk", told, other, exact, told, request, unseen)
    found = await world.check()
    assert (found.wrong, found.findings) == ({}, ())
    assert found.rows == 40 + 5 + 6
    assert found.hours in (1, 2)


@pytest.mark.parametrize(
    ("damage", "wrong"),
    [
        (lambda one, _: [delete(attempts).where(attempts.c.attempt_id == one)], {"missing", "sum"}),
        (lambda _, two: [delete(requests).where(requests.c.request_id == two)], {"missing", "sum"}),
        (lambda _1, _2: [update(attempts).values(output_tokens=101)], {"different", "sum"}),
        (lambda _1, _2: [update(attempts).values(cost_nano_usd=7)], {"different", "sum"}),
        (lambda _1, _2: [update(requests).values(status=500)], {"different"}),
        (lambda _1, _2: [update(attempt_hours).values(attempts=9)], {"sum"}),
        (lambda _1, _2: [delete(request_hours)], {"sum"}),
        (lambda _1, _2: [delete(prices)], {"different"}),
    ],
    ids=["an attempt gone", "a request gone", "tokens", "cost", "status", "hours", "no hours",
         "no price"],
)  # fmt: skip
async def test_what_is_wrong_is_found(world: World, damage: Any, wrong: set[str]) -> None:
    attempt, request = pair()
    await world.count(attempt, request, *pair())
    await world.change(*damage(attempt.attempt_id, request.request_id))
    found = await world.check()
    assert set(found.wrong) == wrong
    assert {one.what for one in found.findings} == wrong


async def test_a_row_that_the_stream_has_not_is_found(world: World) -> None:
    await world.count(*pair())
    columns = [one.name for one in attempts.columns]
    async with world.database.reading() as connection:
        (row,) = await connection.execute(select(attempts))
    copy = dict(zip(columns, row, strict=True)) | {"attempt_id": b"x" * 16}
    await world.change(insert(attempts).values(copy))
    assert (await world.check()).wrong == {"extra": 1, "sum": 2}


async def test_a_ledger_made_again_is_the_same(world: World) -> None:
    rows = [row for number in range(30) for row in pair(attempt=1 + number % 3)]
    await world.count(*rows, *rows[:3])
    before = await world.dump()
    done = await world.rebuild()
    assert done.rows == 60
    assert all(not rows for rows in (await world.dump()).values())
    assert await world.count() == 60
    assert await world.dump() == before
    assert (await world.check()).wrong == {}


async def test_a_writer_that_counts_meanwhile_goes_on_from_the_beginning(world: World) -> None:
    await world.count(*pair())
    await publish(world.bus, *(row for _ in range(39) for row in pair()))
    counting = asyncio.ensure_future(world.count())
    for _ in range(5):
        await world.rebuild()
    await counting
    await world.count()
    found = await world.dump()
    assert (len(found["attempts"]), len(found["requests"])) == (40, 40)
    assert (await world.check()).wrong == {}


async def test_hours_that_the_stream_has_no_longer_whole_stay(world: World) -> None:
    await world.count(*pair())
    async with world.database.reading() as connection:
        (row,) = await connection.execute(select(attempt_hours))
    names = [one.name for one in attempt_hours.columns]
    kept = dict(zip(names, row, strict=True))
    await world.change(insert(attempt_hours).values(kept | {"hour": kept["hour"] - 5}))
    done = await world.rebuild()
    assert done.from_hour == kept["hour"] + 1, "the stream's first hour may be a part"
    left = await world.dump()
    assert (len(left["attempt_hours"]), left["attempts"]) == (2, [])
    await world.count()
    now = await world.dump()
    assert (now["attempt_hours"], len(now["attempts"])) == (left["attempt_hours"], 1)
    assert (await world.check()).wrong == {}


@pytest.mark.parametrize(
    ("sequence", "hours", "expected"),
    [(1, (), 100), (2, (), 101), (1, (0,), 201), (1, (0, 150), 150), (1, (99, 100), 101)],
    ids=["the beginning", "not the beginning", "all is folded", "some is folded", "older sums"],
)
async def test_only_whole_hours_are_made_again(
    tmp_path: Path, sequence: int, hours: tuple[int, ...], expected: int
) -> None:
    database = await new_database(tmp_path)
    key = {"tenant": "", "key_id": "", "provider": "", "model": "", "target": "", "stream": False}
    async with database.writing() as connection:
        counted = {"stream": USAGE, "sequence": 9, "stored_ms": 200 * HOUR_MS}
        await connection.execute(insert(positions).values(counted))
        for hour in hours:
            await connection.execute(insert(attempt_hours).values(key | {"hour": hour}))
    done = await rebuild(database, Beginning(sequence, 100 * HOUR_MS + 5))
    assert done.from_hour == expected
    async with database.reading() as connection:
        standing = await position.look(connection)
    await database.close()
    assert (standing.sequence, standing.summed_from_hour) == (sequence - 1, expected)


async def test_nothing_is_rebuilt_from_an_empty_stream_or_before_anything_was_counted(
    world: World,
) -> None:
    with pytest.raises(NothingToRebuildFrom, match="has no row"):
        await world.rebuild()
    with pytest.raises(NothingToRebuildFrom, match="counted nothing yet"):
        await rebuild(world.database, Beginning(1, 1))


async def test_new_prices_change_rows_and_sums_alike(world: World) -> None:
    await world.count(*(row for _ in range(12) for row in pair()))
    assert await world.cost() == (12 * 1_100_000, 12 * 1_100_000)
    dear = lambda *_: price(2)  # noqa: E731
    dry = await world.reprice(dear, dry=True)
    assert dry == Repriced(12, 12, 0, 12 * 1_100_000, 12 * 2_200_000)
    assert await world.cost() == (12 * 1_100_000, 12 * 1_100_000)
    assert await world.reprice(dear) == dry
    assert await world.cost() == (12 * 2_200_000, 12 * 2_200_000)
    assert (await world.reprice(dear)).changed == 0
    assert (await world.check()).wrong == {}


async def test_only_the_rows_that_are_meant_are_re_priced(world: World) -> None:
    await world.count(*pair(asked_model="fast"), *pair(model="gpt-5"), *pair())
    dear = lambda *_: price(2)  # noqa: E731
    assert (await world.reprice(dear, model="fast")).changed == 1
    assert (await world.reprice(dear, model="gpt-5")).changed == 1
    later_ms = time.time_ns() // 1_000_000 + 60_000
    assert (await world.reprice(dear, since_ms=later_ms)).rows == 0
    assert (await world.reprice(dear)).changed == 1
    assert (await world.check()).wrong == {}


async def test_tokens_get_a_price_and_lose_it_again(world: World) -> None:
    unknown = lambda *_: price(8, "default")  # noqa: E731
    await world.count(*pair(), *pair(), price_of=unknown)

    async def unpriced() -> int:
        async with world.database.reading() as connection:
            query = select(attempt_hours.c.unpriced_tokens)
            return sum((await connection.execute(query)).scalars())

    assert await unpriced() == 2_200
    await world.reprice(cheap)
    assert await unpriced() == 0
    await world.reprice(unknown)
    assert await unpriced() == 2_200
    assert (await world.check()).wrong == {}


async def test_re_pricing_while_rows_are_counted_and_replaced_is_exact(world: World) -> None:
    pairs = [pair() for _ in range(60)]
    told = [
        msgspec.structs.replace(attempt, witness="router-1", usage=Usage(1, 1, estimated=True))
        for attempt, _ in pairs
    ]
    await world.count(*told)
    dear = lambda *_: price(3)  # noqa: E731

    async def often() -> None:
        for number in range(10):
            await world.reprice((cheap, dear)[number % 2])

    await asyncio.gather(often(), world.count(*(row for one in pairs for row in one)))
    assert (await world.check()).wrong == {}
    by_rows, by_hours = await world.cost()
    assert by_rows == by_hours
    await world.reprice(cheap)
    assert await world.cost() == (60 * 1_100_000, 60 * 1_100_000)


async def test_a_status_says_how_far_it_is(world: World, tmp_path: Path) -> None:
    await world.count(*pair(), *pair())
    found = await read_status(world.database)
    assert found.schema == found.latest_schema == latest()
    assert found.position is not None
    assert found.position.sequence == 4
    assert (found.rows["attempts"], found.rows["requests"], found.rows["prices"]) == (2, 2, 1)
    assert found.oldest_ms is not None
    assert found.bytes > 10_000
    assert "ledger.db" in found.database
    empty = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    found = await read_status(empty)
    assert (found.schema, found.position, found.rows) == ("", None, {})
    await empty.close()


async def test_an_away_database_is_told(tmp_path: Path) -> None:
    away = Database(f"sqlite:///{tmp_path / 'gone' / 'ledger.db'}")
    with pytest.raises(LedgerAway):
        await rebuild(away, Beginning(1, 1))
    with pytest.raises(LedgerAway):
        await Repricing(away, cheap, 0, "", dry=True).run()
    await away.close()
