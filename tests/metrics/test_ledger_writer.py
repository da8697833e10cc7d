"""Pages in the ledger: each row once, sums that are what the rows add up to."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from droveway.contracts.relay import Usage
from droveway.contracts.usage import AttemptRecorded, AttemptTimes, RequestTimes, Row
from droveway.metrics.ledger import position, tables
from droveway.metrics.ledger.database import LedgerAway
from droveway.metrics.ledger.position import Moved
from droveway.metrics.ledger.rows import MAX_COST_NANO_USD, MAX_NAME, MAX_TOKENS
from droveway.metrics.ledger.sums import HOUR_MS, MAX_SUM
from droveway.metrics.ledger.writer import Page, Stamped
from tests.support.ledgers import (
    NOW_MS,
    Ledger,
    disagreements,
    ledger,
    taken,
)
from tests.support.rows import attempt_row, request_row


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with ledger(tmp_path) as made:
        yield made


def rows(count: int) -> list[Row]:
    """Requests and attempts of all kinds."""
    chance = random.Random(count)
    found: list[Row] = []
    for number in range(count):
        outcome = chance.choice(("completed", "failed", "interrupted", "cancelled", "strange"))
        status = chance.choice((0, 200, 429, 500))
        key_id, stream = chance.choice(("k1", "k2")), chance.random() < 0.5
        request = request_row(
            key_id=key_id, stream=stream, outcome=outcome, status=status, provider="openai",
            times=RequestTimes(first_byte_us=chance.choice((None, 900)), ended_us=number),
        )  # fmt: skip
        usage = Usage(
            chance.randrange(1000), chance.randrange(100), chance.randrange(10),
            chance.randrange(10), chance.randrange(5), chance.random() < 0.1,
        )  # fmt: skip
        attempt = attempt_row(
            request, key_id=key_id, stream=stream, outcome=outcome, status=status, usage=usage,
            attempt=chance.choice((1, 1, 2)), model=chance.choice(("gpt-4.1", "unknown")),
            asked_model=chance.choice(("", "fast")),
            times=AttemptTimes(first_token_us=chance.choice((None, 700)), ended_us=number),
        )  # fmt: skip
        found += [attempt, request]
    return found


async def test_sums_are_what_the_rows_add_up_to(book: Ledger) -> None:
    for number in range(5):
        counted = await book.write(*rows(40 + number), stored_ms=NOW_MS + number * HOUR_MS // 2)
        assert len(counted.rows) == 2 * (40 + number)
    assert await disagreements(book.database) == []
    assert sum(row["requests"] for row in await book.all(tables.request_hours)) == 210
    assert {row["hour"] for row in await book.all(tables.attempt_hours)} == {
        (NOW_MS + half * HOUR_MS // 2) // HOUR_MS for half in range(5)
    }


async def test_a_cost_is_its_price_times_its_tokens(book: Ledger) -> None:
    await book.write(attempt_row(usage=Usage(1_000, 100, 400, 0)))
    (row,) = await book.all(tables.attempts)
    assert row["cost_nano_usd"] == 600 * 1_000 + 400 * 100 + 100 * 2_000
    (price,) = await book.all(tables.prices)
    assert row["price_id"] == price["price_id"]


async def test_rows_that_come_again_count_once(book: Ledger) -> None:
    page = rows(30)
    await book.write(*page)
    again = await book.write(*page, *page)
    assert (again.repeated, again.rows, again.attempts) == (120, [], [])
    mixed = await book.write(*page, *(new := rows(31)))
    assert (mixed.repeated, len(mixed.rows)) == (60, len(new))
    assert await disagreements(book.database) == []
    assert book.standing.sequence == 60 + 120 + 60 + 62


async def test_an_exact_row_takes_the_place_of_a_witness_s(book: Ledger) -> None:
    exact = attempt_row(usage=Usage(100, 20))
    told = changed(
        exact, witness="router-1", outcome="failed", status=0, usage=Usage(100, 0, estimated=True)
    )
    await book.write(told, stored_ms=NOW_MS)
    counted = await book.write(exact, stored_ms=NOW_MS + HOUR_MS)
    assert (counted.repeated, counted.rows) == (0, [exact])
    assert [one.group.outcome for one in counted.replaced] == ["failed"]
    (row,) = await book.all(tables.attempts)
    assert (row["witness"], row["outcome"], row["output_tokens"]) == ("", "completed", 20)
    assert await disagreements(book.database) == []


@pytest.mark.parametrize("together", [True, False], ids=["in one page", "in two"])
async def test_a_witness_s_row_never_takes_the_place_of_another(
    book: Ledger, together: bool
) -> None:
    exact = attempt_row()
    first = changed(exact, witness="router-1", outcome="failed")
    second = changed(exact, witness="metrics-1", outcome="cancelled")
    other = attempt_row(witness="router-1")
    other_again = changed(other, witness="metrics-1")
    pages = [[exact, first, second, other, other_again]]
    for page in pages if together else [[row] for row in pages[0]]:
        await book.write(*page)
    kept = {row["attempt_id"]: row["witness"] for row in await book.all(tables.attempts)}
    assert kept == {exact.attempt_id: "", other.attempt_id: "router-1"}
    assert await disagreements(book.database) == []


async def test_in_one_page_the_exact_row_counts_whichever_comes_first(book: Ledger) -> None:
    exact = attempt_row()
    told = changed(exact, witness="router-1", outcome="failed")
    counted = await book.write(told, exact, told)
    assert (counted.rows, counted.repeated) == ([exact], 2)


async def test_of_two_writers_one_counts_and_the_other_notices(book: Ledger) -> None:
    first, second = attempt_row(), attempt_row()
    stale = book.standing
    await book.write(first)
    page = Page([Stamped(second, NOW_MS)], stale.sequence + 1, NOW_MS)
    with pytest.raises(Moved):
        await book.writer.write(stale, page)
    await taken(book.database, "metrics-1")
    with pytest.raises(Moved):
        await book.write(second)
    assert [row["attempt_id"] for row in await book.all(tables.attempts)] == [first.attempt_id]
    assert await disagreements(book.database) == []


HOSTILE: dict[str, dict[str, Any]] = {
    "tokens beyond any integer": {"usage": Usage(2**64 - 1, 2**64 - 1, 2**63, 2**63, 2**63)},
    "negative tokens": {"usage": Usage(-5, -(2**63), -1, -1, -1)},
    "an attempt beyond a small integer": {"attempt": 2**40},
    "a negative attempt": {"attempt": -1},
    "a status beyond a small integer": {"status": 2**40},
    "a negative status": {"status": -(2**40)},
    "a time beyond any integer": {"began_ns": 2**64 - 1},
    "times beyond any integer": {"times": AttemptTimes(first_token_us=2**64, ended_us=2**64)},
    "NUL in a name": {"model": "gp\0t", "asked_model": "\0"},
    "half a surrogate pair": {"model": "a\ud800b", "code": "\udfff"},
    "the longest name": {"model": "🜲" * 4096, "asked_model": "x" * 4096},
    "the longest words": {"code": "c" * 100_000, "outcome": "o" * 100_000},
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_row_is_cut_to_what_fits(book: Ledger, changes: dict[str, Any]) -> None:
    hostile, plain = attempt_row(**changes), attempt_row()
    await book.write(hostile, plain)
    kept = {row["attempt_id"]: row for row in await book.all(tables.attempts)}
    row = kept[hostile.attempt_id]
    assert plain.attempt_id in kept
    assert 0 <= row["input_tokens"] <= MAX_TOKENS
    assert 0 <= row["cost_nano_usd"] <= MAX_COST_NANO_USD
    assert 0 <= row["attempt"] < 2**15
    assert 0 <= row["status"] < 1_000
    assert len(row["model"]) <= MAX_NAME
    assert "\0" not in row["model"] + row["asked_model"] + row["code"]
    assert await disagreements(book.database) == []


async def test_a_hostile_request_is_cut_to_what_fits(book: Ledger) -> None:
    row = request_row(
        model="\0" * 4096, provider="p" * 9999, operation="\0\ud800", code="c" * 9999,
        status=-1, attempts=2**40, attempt_id=b"short", usage=Usage(2**64, -1),
        began_ns=2**64, times=RequestTimes(first_byte_us=2**64, ended_us=2**64),
    )  # fmt: skip
    await book.write(row)
    (kept,) = await book.all(tables.requests)
    assert (kept["model"], len(kept["provider"]), kept["attempt_id"]) == ("", 64, None)
    assert await disagreements(book.database) == []


async def test_no_sum_grows_beyond_what_every_language_reads(book: Ledger) -> None:
    huge: dict[str, Any] = {"usage": Usage(2**64, 2**64), "times": AttemptTimes(ended_us=2**64)}
    for _ in range(10):
        await book.write(*(attempt_row(**huge) for _ in range(100)))
        await book.write(*(attempt_row(**huge) for _ in range(900)))
    (hour,) = await book.all(tables.attempt_hours)
    assert hour["attempts"] == 10_000
    assert hour["cost_nano_usd"] == hour["ended_us"] == MAX_SUM


async def test_hours_that_have_their_sums_get_rows_only(book: Ledger) -> None:
    async with book.database.writing() as connection:
        from_hour = NOW_MS // HOUR_MS + 1
        await connection.execute(text(f"UPDATE positions SET summed_from_hour = {from_hour}"))
    book.standing = await position.find(book.database)
    early = await book.write(*rows(3))
    late = await book.write(*rows(4), stored_ms=NOW_MS + HOUR_MS)
    assert (early.attempts, early.requests) == ([], [])
    assert len(late.rows) == 8
    assert {row["hour"] for row in await book.all(tables.attempt_hours)} == {from_hour}
    assert len(await book.all(tables.attempts)) == 7


async def test_a_full_disk_takes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    async with ledger(tmp_path) as book:
        await book.write(*rows(10))
        await _limit_pages(book, 0)
        before = book.standing.sequence
        many = rows(500)
        with pytest.raises(LedgerAway, match="full"):
            await book.write(*many)
        assert (await position.find(book.database)).sequence == before
        await _limit_pages(book, 1_000_000)
        counted = await book.write(*many)
        assert len(counted.rows) == 1_000
        assert await disagreements(book.database) == []


async def _limit_pages(book: Ledger, pages: int) -> None:
    """What a full disk does: no connection of the pool gets another page. Less is taken as now."""
    engine = book.database.engine
    await engine.dispose()
    async with engine.connect() as connection:
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {max(1, pages)}")


def changed(row: AttemptRecorded, **changes: Any) -> AttemptRecorded:
    return msgspec.structs.replace(row, **changes)
