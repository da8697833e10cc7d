"""Rows out of the stream: each counted once, whatever the stream delivers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from droveway.contracts.envelope import encode
from droveway.contracts.usage import Row, usage_subject
from droveway.metrics.feed import UsageFeed
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError
from tests.support.flows import eventually
from tests.support.nats import NatsServer
from tests.support.rows import attempt_row, request_row


class Fed:
    """A running feed, what it handed out, and a publisher."""

    def __init__(self, feed: UsageFeed, rows: list[Row], publisher: Bus) -> None:
        self.feed = feed
        self.rows = rows
        self._publisher = publisher

    def store(self, *rows: Row) -> None:
        for row in rows:
            self.store_bytes(encode(row))

    def store_bytes(self, payload: bytes) -> None:
        self._publisher.publish(usage_subject("default"), payload)


@asynccontextmanager
async def _fed(
    nats: NatsServer, *, batch_rows: int = 10, remembered: int = 100
) -> AsyncIterator[Fed]:
    rows: list[Row] = []
    async with nats.bus("metrics") as bus, nats.bus("caller") as publisher:
        feed = UsageFeed(bus, batch_rows, remembered, rows.append)
        task = asyncio.ensure_future(feed.run())
        try:
            yield Fed(feed, rows, publisher)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_rows_come_in_order_over_many_batches(own_nats: NatsServer) -> None:
    async with _fed(own_nats, batch_rows=7) as fed:
        stored = [attempt_row() for _ in range(50)]
        fed.store(*stored)
        await eventually(lambda: len(fed.rows) == 50)
        assert fed.rows == stored
        assert fed.feed.problem() == ""


async def test_a_row_stored_twice_counts_once(own_nats: NatsServer) -> None:
    async with _fed(own_nats) as fed:
        attempt, request = attempt_row(), request_row()
        fed.store(attempt, request, attempt, request, attempt)
        await eventually(lambda: fed.feed.statistics().repeated == 3)
        assert fed.rows == [attempt, request]


async def test_what_is_no_row_is_dropped_for_good(own_nats: NatsServer) -> None:
    async with _fed(own_nats) as fed:
        fed.store_bytes(b"junk")
        fed.store_bytes(b"")
        fed.store(attempt_row())
        await eventually(lambda: len(fed.rows) == 1)
        assert fed.feed.statistics().invalid == 2
    async with _fed(own_nats) as again:
        again.store(attempt_row())
        await eventually(lambda: len(again.rows) == 1)
        assert again.feed.statistics().invalid == 0


async def test_a_feed_goes_on_where_the_last_one_ended(own_nats: NatsServer) -> None:
    async with _fed(own_nats) as fed:
        fed.store(*(attempt_row() for _ in range(5)))
        await eventually(lambda: len(fed.rows) == 5)
    async with _fed(own_nats) as again:
        later = attempt_row()
        again.store(later)
        await eventually(lambda: len(again.rows) > 0)
        assert again.rows == [later]


async def test_a_broker_that_comes_back_is_asked_again(own_nats: NatsServer) -> None:
    async with _fed(own_nats) as fed:
        fed.store(attempt_row())
        await eventually(lambda: len(fed.rows) == 1)
        own_nats.kill()
        await asyncio.to_thread(own_nats.start)
        row = request_row()

        def stored() -> bool:
            if not fed.rows[1:]:
                try:
                    fed.store(row)
                except BusError:  # not connected yet
                    return False
            return fed.rows[1:] == [row]

        await eventually(stored, 8.0, 0.1)


async def test_what_is_remembered_is_bounded(own_nats: NatsServer) -> None:
    async with _fed(own_nats, remembered=3) as fed:
        fed.store(*(attempt_row() for _ in range(20)))
        await eventually(lambda: len(fed.rows) == 20)
        assert len(fed.feed._seen) == 3
