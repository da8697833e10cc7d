"""The ledger's tables filled by hand: rows as they are told, and their sums as one would count."""

import secrets
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import insert

from droveway.contracts.envelope import new_request_id
from droveway.contracts.prices import ModelPrice, Rates
from droveway.contracts.relay import Usage
from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.migrate import migrate
from droveway.metrics.ledger.tables import (
    attempt_hours,
    attempts,
    positions,
    prices,
    request_hours,
    requests,
)

HOUR_MS = 3_600_000
NOON_MS = 1_795_435_200_000
"""2026-11-23T12:00Z."""
PRICE = ModelPrice(
    rates=(Rates(0, 2_500_000_000, 10_000_000_000, 250_000_000, 3_125_000_000, 5_000_000_000),),
    source="genai-prices",
)
"""$2.50 and $10 per million tokens; a tenth for reading a cache."""
_GROUP = ("tenant", "key_id", "provider", "model", "target", "stream")


async def new_database(folder: Path) -> Database:
    """An empty ledger in a SQLite file."""
    database = Database(f"sqlite:///{folder / 'ledger.db'}")
    await migrate(database)
    return database


def attempt(**changes: Any) -> dict[str, Any]:
    """One completed attempt of 1,000 input and 100 output tokens."""
    row: dict[str, Any] = {
        "attempt_id": secrets.token_bytes(16),
        "stored_ms": NOON_MS,
        "request_id": new_request_id(),
        "attempt": 1,
        "tenant": "acme",
        "key_id": "k1",
        "provider": "openai",
        "credential": "main",
        "model": "gpt-4.1-2025",
        "asked_model": "gpt-4.1",
        "stream": True,
        "outcome": "completed",
        "code": "",
        "status": 200,
        "witness": "",
        "estimated": False,
        "input_tokens": 1_000,
        "output_tokens": 100,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "cache_write_1h_tokens": 0,
        "reasoning_tokens": 0,
        "began_ns": NOON_MS * 1_000_000,
        "first_token_us": 200_000,
        "ended_us": 900_000,
        "price_id": 1,
        "channel": "",
    } | changes
    row.setdefault("cost_nano_usd", PRICE.cost_nano_usd(usage_of(row)))
    return row


def request(of: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The request of an attempt that answered it."""
    of = of or attempt()
    shared = (
        "tenant", "key_id", "provider", "stream", "outcome", "status", "code", "began_ns",
        "channel",
    )  # fmt: skip
    row: dict[str, Any] = {name: of[name] for name in shared}
    tokens = {name: value for name, value in of.items() if name.endswith("_tokens")}
    return row | tokens | {
        "request_id": of["request_id"],
        "stored_ms": of["stored_ms"],
        "protocol": "http",
        "operation": "chat.completions",
        "model": of["asked_model"],
        "attempts": 1,
        "attempt_id": of["attempt_id"],
        "estimated": False,
        "first_byte_us": of["first_token_us"],
        "ended_us": of["ended_us"] + 1_000,
        "traceparent": "",
    } | changes  # fmt: skip


def usage_of(row: dict[str, Any]) -> Usage:
    """The tokens of a row."""
    return Usage(
        row["input_tokens"], row["output_tokens"], row["cache_read_tokens"],
        row["cache_write_tokens"], row["reasoning_tokens"], row["estimated"],
        row["cache_write_1h_tokens"],
    )  # fmt: skip


async def fill(database: Database, tried: list[Any], asked: list[Any]) -> None:
    """Writes rows of attempts and requests, and their sums by the hour."""
    async with database.writing() as connection:
        price = msgspec.json.encode(PRICE).decode()
        await connection.execute(insert(prices), [{"price_id": 1, "price": price}])
        for table, rows in ((attempts, tried), (requests, asked)):
            if rows:
                await connection.execute(insert(table), rows)
        for table, sums in (
            (attempt_hours, _sums(tried, _of_attempt)),
            (request_hours, _sums(asked, _of_request)),
        ):
            if sums:
                await connection.execute(insert(table), sums)


def _sums(rows: list[Any], of: Any) -> list[dict[str, Any]]:
    found: dict[tuple[Any, ...], Counter[str]] = {}
    for row in rows:
        group = {**row, "target": ""}
        if "asked_model" in row:
            group |= {"target": row["model"], "model": row["asked_model"]}
        key = (row["stored_ms"] // HOUR_MS, *(group[name] for name in _GROUP))
        found.setdefault(key, Counter()).update(of(row))
    return [dict(zip(("hour", *_GROUP), key, strict=True)) | dict(c) for key, c in found.items()]


def _of_attempt(row: dict[str, Any]) -> dict[str, int]:
    tokens = {name: value for name, value in row.items() if name.endswith("_tokens")}
    return tokens | {
        "attempts": 1,
        **_outcomes(row),
        "estimated": int(row["estimated"]),
        "cost_nano_usd": row["cost_nano_usd"],
        "unpriced_tokens": 0,
        "first_token_us": row["first_token_us"] or 0,
        "first_tokens": int(row["first_token_us"] is not None),
        "ended_us": row["ended_us"],
    }


def _of_request(row: dict[str, Any]) -> dict[str, int]:
    return {
        "requests": 1,
        **_outcomes(row),
        "first_byte_us": row["first_byte_us"] or 0,
        "first_bytes": int(row["first_byte_us"] is not None),
        "ended_us": row["ended_us"],
    }


def _outcomes(row: dict[str, Any]) -> dict[str, int]:
    names = ("completed", "failed", "interrupted", "cancelled")
    return {name: int(row["outcome"] == name) for name in names}


async def set_position(database: Database, sequence: int) -> None:
    """The stream is counted up to a row."""
    async with database.writing() as connection:
        await connection.execute(positions.delete())
        values = {"stream": "USAGE", "sequence": sequence, "stored_ms": NOON_MS}
        await connection.execute(insert(positions), [values])
