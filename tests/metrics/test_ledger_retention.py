"""Rows go after days, hours after months, and totals stay."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from droveway.contracts.usage import Row
from droveway.metrics.ledger import tables
from droveway.metrics.ledger.position import Moved
from droveway.metrics.ledger.retention import BITE_ROWS, Retention
from droveway.metrics.ledger.sums import HOUR_MS
from droveway.metrics.ledger.totals import Totals, totals
from tests.support.ledgers import NOW_MS, Ledger, ledger, taken
from tests.support.rows import attempt_row, request_row

DAY_MS = 24 * HOUR_MS


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with ledger(tmp_path) as made:
        yield made


def retention(book: Ledger, instance: str = "metrics-0") -> Retention:
    return Retention(book.database, instance, rows_kept_days=7, hours_kept_days=90)


async def totals_of(book: Ledger) -> Totals:
    async with book.database.reading() as connection:
        return await totals(connection)


async def test_rows_go_and_their_sums_stay(book: Ledger) -> None:
    old: list[Row] = [row for _ in range(BITE_ROWS) for row in (attempt_row(), request_row())]
    new: list[Row] = [attempt_row(), request_row()]
    await book.write(*old, *old[:2], stored_ms=NOW_MS - 8 * DAY_MS)
    await book.write(*new, stored_ms=NOW_MS - 6 * DAY_MS)
    hours = await book.all(tables.attempt_hours)
    dropping = retention(book)
    await dropping.drop(NOW_MS)
    assert len(await book.all(tables.attempts)) == len(await book.all(tables.requests)) == 1
    assert await book.all(tables.attempt_hours) == hours
    assert dropping.statistics() == (2 * BITE_ROWS, 0)


async def test_hours_go_and_their_totals_stay(book: Ledger) -> None:
    for days, key_id in ((95, "k1"), (94, "k2"), (91, "k1"), (89, "k1"), (0, "k1")):
        whose: dict[str, Any] = {"key_id": key_id}
        await book.write(
            attempt_row(**whose), attempt_row(model="unknown", attempt=2, **whose),
            request_row(**whose), stored_ms=NOW_MS - days * DAY_MS,
        )  # fmt: skip
    before = await totals_of(book)
    dropping = retention(book)
    await dropping.drop(NOW_MS)
    assert _known(await totals_of(book)) == _known(before)
    for table, left in ((tables.attempt_hours, 4), (tables.request_hours, 2)):
        kept = [row for row in await book.all(table) if row["hour"] > 0]
        assert len(kept) == left
        folded = [row for row in await book.all(table) if row["hour"] == 0]
        assert {row["key_id"] for row in folded} == {""}
    assert dropping.statistics().dropped_sums == 3
    await dropping.drop(NOW_MS)
    assert dropping.statistics().dropped_sums == 3


def _known(found: Totals) -> Totals:
    return found._replace(spent=sorted(found.spent))


async def test_only_who_counts_lets_go(book: Ledger) -> None:
    await book.write(attempt_row(), stored_ms=NOW_MS - 8 * DAY_MS)
    with pytest.raises(Moved):
        await retention(book, "metrics-1").drop(NOW_MS)
    assert len(await book.all(tables.attempts)) == 1
    await taken(book.database, "metrics-1")
    await retention(book, "metrics-1").drop(NOW_MS)
    assert await book.all(tables.attempts) == []
