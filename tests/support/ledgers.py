"""A ledger of a test's own: a database with its tables, a writer, and what adds up in it."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Table, select

from droveway.contracts.prices import ModelPrice, Rates
from droveway.contracts.usage import Row
from droveway.metrics.ledger import position, tables
from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.migrate import migrate
from droveway.metrics.ledger.position import Position
from droveway.metrics.ledger.rows import ATTEMPT_COLUMNS, OUTCOMES
from droveway.metrics.ledger.sums import HOUR_MS
from droveway.metrics.ledger.writer import Counted, Page, Stamped, Writer

NOW_MS = 1_790_000_000_000
PRICE = ModelPrice(rates=(Rates(0, 10**9, 2 * 10**9, 10**8, 10**9, 10**9),), source="config")
"""A dollar for a million input tokens, two for output, a tenth of one for cached input."""
UNKNOWN_PRICE = ModelPrice(rates=(Rates(0, 8 * 10**9, 8 * 10**9, 0, 0, 0),), source="default")


def price_of(_provider: str, model: str, _at_ns: int) -> ModelPrice:
    """`PRICE`, but for a model that nobody knows."""
    return UNKNOWN_PRICE if model == "unknown" else PRICE


class Ledger:
    """What tests do with one: write rows, and look."""

    def __init__(self, database: Database, standing: Position) -> None:
        self.database = database
        self.writer = Writer(database, price_of)
        self.standing = standing

    async def write(self, *rows: Row, stored_ms: int = NOW_MS) -> Counted:
        """One page with these rows, all stored at the same time."""
        page = Page(
            [Stamped(row, stored_ms) for row in rows],
            self.standing.sequence + len(rows),
            stored_ms,
        )
        counted = await self.writer.write(self.standing, page)
        self.standing = counted.position
        return counted

    async def all(self, table: Table) -> list[dict[str, Any]]:
        """All rows of a table."""
        return await all_of(self.database, table)


async def all_of(database: Database, table: Table) -> list[dict[str, Any]]:
    """All rows of a table in the order of its key."""
    async with database.reading() as connection:
        found = await connection.execute(select(table).order_by(*table.primary_key))
        return [dict(row) for row in found.mappings()]


@asynccontextmanager
async def ledger(path: Path, instance: str = "metrics-0") -> AsyncIterator[Ledger]:
    """A SQLite ledger in a folder."""
    async with opened(sqlite_url(path)) as database:
        yield Ledger(database, await taken(database, instance))


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """A database with its tables."""
    database = Database(url)
    try:
        await migrate(database)
        yield database
    finally:
        await database.close()


async def taken(database: Database, instance: str) -> Position:
    """`instance` counts from here on."""
    standing = await position.find(database)
    async with database.writing() as connection:
        return await position.take(connection, standing, instance)


def sqlite_url(folder: Path) -> str:
    """Of a database in a folder."""
    return f"sqlite:///{folder}/ledger.db"


async def disagreements(database: Database) -> list[str]:
    """Sums that aren't what the rows add up to, recounted the slow way; hour 0 is left out."""
    attempts = await all_of(database, tables.attempts)
    requests = await all_of(database, tables.requests)
    unpriced = {
        row["price_id"]
        for row in await all_of(database, tables.prices)
        if '"source":"default"' in row["price"]
    }
    wanted = (
        (tables.attempt_hours, _recount_attempts(attempts, unpriced)),
        (tables.request_hours, _recount_requests(requests)),
        (tables.outcome_hours, _recount_outcomes(attempts)),
    )
    return [
        f"{table.name}: {key}: {found.get(key)} for {sums.get(key)}"
        for table, sums in wanted
        for found in [await _hours(database, table)]
        for key in sorted(found.keys() | sums.keys(), key=str)
        if found.get(key) != sums.get(key)
    ]


async def _hours(database: Database, table: Table) -> dict[Any, dict[str, int]]:
    keys = [column.name for column in table.primary_key]
    return {
        tuple(row[key] for key in keys): counts
        for row in await all_of(database, table)
        if row["hour"] > 0
        and any((counts := {k: v for k, v in row.items() if k not in keys}).values())
    }


def _recount_attempts(rows: Iterable[dict[str, Any]], unpriced: set[int]) -> dict[Any, Any]:
    tokens = [name for name in ATTEMPT_COLUMNS if name.endswith("_tokens")]
    names = [
        *("attempts", *OUTCOMES, "estimated", *tokens, "cost_nano_usd"),
        *("unpriced_tokens", "first_token_us", "first_tokens", "ended_us"),
    ]
    found: dict[Any, Counter[str]] = {}
    for row in rows:
        key = (
            row["stored_ms"] // HOUR_MS, row["tenant"], row["key_id"], row["provider"],
            row["asked_model"], row["model"], row["stream"],
        )  # fmt: skip
        counts = found.setdefault(key, Counter(dict.fromkeys(names, 0)))
        counts.update({name: row[name] for name in (*tokens, "cost_nano_usd", "ended_us")})
        counts.update({"attempts": 1, "estimated": int(row["estimated"])})
        if row["outcome"] in OUTCOMES:
            counts[row["outcome"]] += 1
        if row["price_id"] in unpriced:
            counts["unpriced_tokens"] += row["input_tokens"] + row["output_tokens"]
        if row["first_token_us"] is not None:
            counts.update({"first_tokens": 1, "first_token_us": row["first_token_us"]})
    return {key: dict(counts) for key, counts in found.items()}


def _recount_requests(rows: Iterable[dict[str, Any]]) -> dict[Any, Any]:
    names = ("requests", *OUTCOMES, "first_byte_us", "first_bytes", "ended_us")
    found: dict[Any, Counter[str]] = {}
    for row in rows:
        key = (
            row["stored_ms"] // HOUR_MS, row["tenant"], row["key_id"], row["provider"],
            row["model"], "", row["stream"],
        )  # fmt: skip
        counts = found.setdefault(key, Counter(dict.fromkeys(names, 0)))
        counts.update({"requests": 1, "ended_us": row["ended_us"]})
        if row["outcome"] in OUTCOMES:
            counts[row["outcome"]] += 1
        if row["first_byte_us"] is not None:
            counts.update({"first_bytes": 1, "first_byte_us": row["first_byte_us"]})
    return {key: dict(counts) for key, counts in found.items()}


def _recount_outcomes(rows: Iterable[dict[str, Any]]) -> dict[Any, Any]:
    found: dict[Any, dict[str, int]] = {}
    for row in rows:
        key = (row["stored_ms"] // HOUR_MS, row["provider"], row["outcome"], row["status"])
        counts = found.setdefault(key, {"attempts": 0, "further": 0})
        counts["attempts"] += 1
        counts["further"] += row["attempt"] > 1
    return found
