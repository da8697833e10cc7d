"""Rows out of the stream: each counted once, whatever becomes of stream, database and process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from sqlalchemy import text

from droveway.cli import setup
from droveway.contracts.envelope import encode
from droveway.contracts.jetstream import USAGE
from droveway.contracts.usage import AttemptRecorded, Row, encode_rows, usage_subject
from droveway.metrics.feed import UsageFeed
from droveway.metrics.ledger import tables
from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.totals import Totals
from droveway.metrics.ledger.writer import Counted, Writer
from droveway.metrics.settings import MetricsSettings
from droveway.runtime.bus import Bus
from droveway.runtime.bus.storing import store
from droveway.runtime.errors import BusError
from tests.support.flows import eventually
from tests.support.ledgers import all_of, disagreements, price_of, sqlite_url
from tests.support.nats import NatsServer
from tests.support.rows import attempt_row, request_row


class Heard:
    """What the counters are told."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.begun: list[Totals] = []
        self.counting = False

    def begin(self, so_far: Totals) -> None:
        self.begun.append(so_far)
        self.counting = True

    def count(self, counted: Counted) -> None:
        assert self.counting
        self.rows += counted.rows

    def end(self) -> None:
        self.counting = False


class Fed:
    """A running feed, what it has counted, and a publisher."""

    def __init__(self, feed: UsageFeed, database: Database, heard: Heard, publisher: Bus) -> None:
        self.feed = feed
        self.database = database
        self.heard = heard
        self.publisher = publisher

    async def store(self, *rows: Row | bytes) -> None:
        for row in rows:
            payload = row if isinstance(row, bytes) else encode(row)
            await store(self.publisher, usage_subject("default"), payload, 5.0)

    async def counted(self, count: int, within_s: float = 8.0) -> None:
        await eventually(lambda: len(self.heard.rows) >= count, within_s)
        assert len(self.heard.rows) == count


def ids(rows: Sequence[Row]) -> list[bytes | str]:
    """What rows are told apart by."""
    return [row.attempt_id if isinstance(row, AttemptRecorded) else row.request_id for row in rows]


def quick(**changes: object) -> MetricsSettings:
    return MetricsSettings(**{"poll_s": 0.02, "take_over_s": 3.0, **changes})  # type: ignore[arg-type]


@asynccontextmanager
async def fed(
    nats: NatsServer, folder: Path, own: MetricsSettings | None = None
) -> AsyncIterator[Fed]:
    """A feed on the database of `folder`, as the service has it."""
    database, heard = Database(sqlite_url(folder)), Heard()
    async with nats.bus("metrics") as bus, nats.bus("caller") as publisher:
        feed = UsageFeed(bus, database, Writer(database, price_of), own or quick(), heard)
        task = asyncio.ensure_future(feed.run())
        try:
            yield Fed(feed, database, heard, publisher)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await database.close()


async def test_rows_come_in_order_over_many_pages(own_nats: NatsServer, tmp_path: Path) -> None:
    async with fed(own_nats, tmp_path, quick(page_rows=7)) as one:
        stored = [attempt_row() for _ in range(30)]
        await one.store(*stored)
        await one.counted(30)
        assert ids(one.heard.rows) == ids(stored)
        assert (one.feed.stream.problem, one.feed.database_problem) == ("", "")
        assert one.feed.usage() == (30, 0, 0, 1, 0)
        assert one.feed.statistics() == (1, 1, 30, 0, 0)
        assert await disagreements(one.database) == []


async def test_a_row_stored_twice_counts_once(own_nats: NatsServer, tmp_path: Path) -> None:
    async with fed(own_nats, tmp_path) as one:
        attempt, request = attempt_row(), request_row()
        await one.store(attempt, request, attempt, request, attempt)
        await eventually(lambda: one.feed.usage().repeated == 3)
        assert ids(one.heard.rows) == ids([attempt, request])


async def test_rows_that_share_messages_count_once_each(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    """A page has whole messages, also when one has more rows than the page should."""
    async with fed(own_nats, tmp_path, quick(page_rows=7)) as one:
        rows: list[Row] = [request_row() if number % 3 else attempt_row() for number in range(25)]
        some = [encode_rows(rows[:5]), encode_rows(rows[5:9]), encode_rows(rows[9:19])]
        await one.store(*some, rows[19], encode_rows(rows[20:]))
        await one.counted(25)
        await eventually(lambda: one.feed.position == 5)
        await one.store(*some)  # as after a lost acknowledgement
        await eventually(lambda: one.feed.usage().repeated == 19)
        assert sorted(map(str, ids(one.heard.rows))) == sorted(map(str, ids(rows)))
        assert await disagreements(one.database) == []


async def test_a_row_that_is_none_takes_no_other_of_its_message_with_it(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with fed(own_nats, tmp_path) as one:
        rows = [attempt_row(), attempt_row()]
        await one.store(encode([rows[0], {"t": "attempt.recorded.v1"}, None, rows[1]]))
        await one.counted(2)
        assert (ids(one.heard.rows), one.feed.usage().invalid) == (ids(rows), 2)


async def test_what_is_no_row_is_given_up(own_nats: NatsServer, tmp_path: Path) -> None:
    async with fed(own_nats, tmp_path) as one:
        await one.store(b"junk", b"", attempt_row(), b"\xc1")
        await eventually(lambda: one.feed.position == 4)
        assert (len(one.heard.rows), one.feed.usage().invalid) == (1, 3)
    async with fed(own_nats, tmp_path) as again:
        await again.store(attempt_row())
        await again.counted(1)
        assert again.feed.usage().invalid == 0


async def test_a_feed_goes_on_where_the_last_one_ended(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with fed(own_nats, tmp_path) as one:
        await one.store(*(attempt_row() for _ in range(5)))
        await one.counted(5)
    async with fed(own_nats, tmp_path) as again:
        later = attempt_row()
        await again.store(later)
        await again.counted(1)
        assert ids(again.heard.rows) == ids([later])
        (before,) = again.heard.begun
        assert before.outcomes == {("openai", "completed", 200): (5, 0)}


async def test_a_broker_that_comes_back_is_asked_again(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with fed(own_nats, tmp_path, quick(read_within_s=0.5)) as one:
        await one.store(attempt_row())
        await one.counted(1)
        own_nats.kill()
        await eventually(lambda: one.feed.stream.problem != "")
        await asyncio.to_thread(own_nats.start)

        row = request_row()
        while not one.heard.rows[1:]:
            with suppress(BusError):  # not connected yet
                await one.store(row)
            await asyncio.sleep(0.02)
        assert ids(one.heard.rows[1:]) == ids([row])
        assert one.feed.stream.problem == ""
        assert await disagreements(one.database) == []


async def test_a_stream_made_anew_is_read_from_its_beginning(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    """Its rows bear sequences that are counted already."""
    async with fed(own_nats, tmp_path) as one:
        await one.store(*(attempt_row() for _ in range(5)))
        await one.counted(5)
    async with own_nats.bus("setup") as bus:
        await bus.jetstream(f"STREAM.DELETE.{USAGE}", {})
    await setup.run(own_nats.settings("setup"), setup.SetupSettings())
    async with own_nats.bus("caller") as publisher:
        for _ in range(8):
            await store(publisher, usage_subject("default"), encode(attempt_row()), 5.0)
    async with fed(own_nats, tmp_path) as again:
        await again.counted(8)
        assert len(await all_of(again.database, tables.attempts)) == 13
        assert again.feed.position == 8


async def test_a_stream_that_lost_its_end_is_read_from_there(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    """As after a power cut: the position is ahead of all that the broker still has."""
    async with fed(own_nats, tmp_path) as one:
        await one.store(attempt_row(), attempt_row())
        await one.counted(2)
        async with one.database.writing() as connection:
            await connection.execute(text("UPDATE positions SET sequence = 10"))
        await one.store(attempt_row(), attempt_row())
        await one.counted(4)
        assert one.feed.position == 4


async def test_a_position_that_is_moved_back_has_rows_counted_once_more_only_if_they_are_gone(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with fed(own_nats, tmp_path) as one:
        await one.store(*(attempt_row() for _ in range(4)))
        await one.counted(4)
        async with one.database.writing() as connection:
            await connection.execute(text("DELETE FROM attempts WHERE stored_ms > 0"))
            for table in tables.HOURS:
                await connection.execute(table.delete())
            await connection.execute(text("UPDATE positions SET sequence = 1, stored_ms = 0"))
        await eventually(lambda: len(one.heard.rows) == 7)
        assert await disagreements(one.database) == []
        assert one.feed.position == 4


async def test_the_replica_that_came_last_counts_and_the_other_takes_over(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with fed(own_nats, tmp_path) as first:
        await first.store(attempt_row())
        await first.counted(1)
        async with fed(own_nats, tmp_path) as second:
            await eventually(lambda: second.heard.counting and not first.heard.counting)
            await first.store(attempt_row())
            await second.counted(1)
            assert (first.feed.caught_up_ms, first.feed.statistics().counting) == (0, 0)
            assert len(first.heard.rows) == 1
        await eventually(lambda: first.heard.counting)  # at once: the other has left
        await first.store(attempt_row())
        await first.counted(2)
        assert await disagreements(first.database) == []


async def test_a_replica_that_was_killed_is_replaced(own_nats: NatsServer, tmp_path: Path) -> None:
    async with fed(own_nats, tmp_path) as one:
        await one.store(attempt_row())
        await one.counted(1)
        async with one.database.writing() as connection:  # as by one that dies at once
            await connection.execute(text("UPDATE positions SET writer = 'metrics-dead'"))
        await eventually(lambda: not one.heard.counting)
        await one.store(attempt_row())
        await one.counted(2)
        assert one.heard.counting


async def test_rows_wait_in_the_stream_while_the_database_is_away(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with fed(own_nats, tmp_path) as one:
        await one.store(attempt_row())
        await one.counted(1)
        await _do(one.database, "ALTER TABLE attempts RENAME TO away")
        await one.store(attempt_row())
        await eventually(lambda: "no such table" in one.feed.database_problem)
        assert one.feed.stream.problem == ""
        await _do(one.database, "ALTER TABLE away RENAME TO attempts")
        await one.counted(2)
        assert one.feed.database_problem == ""
        assert await disagreements(one.database) == []


async def test_a_row_that_the_database_refuses_holds_up_no_other(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with fed(own_nats, tmp_path) as one:
        await eventually(lambda: one.heard.counting)
        await _do(
            one.database,
            "CREATE TRIGGER refusing BEFORE INSERT ON attempts WHEN NEW.key_id = 'bad' "
            "BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        )
        rows = [attempt_row(), attempt_row(key_id="bad"), attempt_row()]
        await one.store(*rows)
        await eventually(lambda: one.feed.position == 3)
        assert ids(one.heard.rows) == ids([rows[0], rows[2]])
        assert one.feed.statistics().refused == 1
        assert await disagreements(one.database) == []


async def _do(database: Database, statement: str) -> None:
    async with database.writing() as connection:
        await connection.execute(text(statement))
