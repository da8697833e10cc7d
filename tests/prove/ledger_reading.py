"""The ledger's tables as a stranger reads them, and what they should say by another's reckoning."""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import NamedTuple

from genai_prices import Usage, calc_price

from droveway.contracts.usage import AttemptRecorded, Row
from tests.support.accounts import attempts_of, requests_of

LISTED = frozenset({"gpt-4o", "gpt-4.1", "gpt-4o-mini"})
"""Models whose real price is asked for; the others cost the configuration's default."""
DEFAULT_USD_PER_MTOK = 8
_NANO = 10**9
_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "estimated",
    "cache_write_1h_tokens",
)


class Attempt(NamedTuple):
    """One row of the table `attempts`."""

    attempt_id: bytes
    model: str
    usage: tuple[int, ...]
    cost_nano_usd: int
    began_ns: int


class Ledger(NamedTuple):
    """All rows of one database."""

    attempts: tuple[Attempt, ...]
    request_ids: tuple[str, ...]
    summed_cost_nano_usd: int
    """Of the sums by the hour."""
    summed_requests: int


def read(path: Path) -> Ledger:
    """What the file says now."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        names = ", ".join(("attempt_id", "model", *_TOKENS, "cost_nano_usd", "began_ns"))
        found = connection.execute(f"SELECT {names} FROM attempts").fetchall()
        ids = connection.execute("SELECT request_id FROM requests").fetchall()
        (cost,) = connection.execute("SELECT SUM(cost_nano_usd) FROM attempt_hours").fetchone()
        (requests,) = connection.execute("SELECT SUM(requests) FROM request_hours").fetchone()
    finally:
        connection.close()
    attempts = (Attempt(row[0], row[1], tuple(row[2:9]), row[9], row[10]) for row in found)
    return Ledger(tuple(attempts), tuple(one for (one,) in ids), cost or 0, requests or 0)


async def caught_up(path: Path, rows: Sequence[Row], within_s: float) -> Ledger:
    """The ledger once it has as many rows as the stream has different ones, or after a while."""
    wanted = (len(attempts_of(rows)), len(requests_of(rows)))
    until_s = asyncio.get_running_loop().time() + within_s
    while True:
        ledger = await asyncio.to_thread(read, path)
        have = (len(ledger.attempts), len(ledger.request_ids))
        if have == wanted or asyncio.get_running_loop().time() > until_s:
            return ledger
        await asyncio.sleep(0.2)


def lost_or_repeated(ledger: Ledger, rows: Sequence[Row]) -> int:
    """Rows of the stream that the ledger doesn't have just once, and rows that only it has."""
    wanted = {row.attempt_id: _usage_of(row) for row in attempts_of(rows)}
    have = {one.attempt_id: one.usage for one in ledger.attempts}
    wrong = sum(have.get(one) != usage for one, usage in wanted.items())
    wrong += len(ledger.attempts) - len(wanted.keys() & have.keys())
    ids = {row.request_id for row in requests_of(rows)}
    wrong += len(ids ^ set(ledger.request_ids)) + len(ledger.request_ids) - len(ids)
    return wrong + (ledger.summed_requests != len(ids))


def cost_differences(ledger: Ledger) -> Iterator[int]:
    """By how many nano-dollars each attempt's cost, and their sum, differs from a recount."""
    total = 0
    for one in ledger.attempts:
        total += (counted := recount(one))
        if counted != one.cost_nano_usd:
            yield abs(counted - one.cost_nano_usd)
    if total != ledger.summed_cost_nano_usd:
        yield abs(total - ledger.summed_cost_nano_usd)


def recount(one: Attempt) -> int:
    """Its cost by the price list's own arithmetic, in decimal numbers."""
    inputs, outputs, read_, written = one.usage[:4]
    if one.model not in LISTED:
        usd = Decimal((inputs + outputs) * DEFAULT_USD_PER_MTOK) / 1_000_000
    else:
        price = calc_price(
            Usage(
                input_tokens=inputs,
                output_tokens=outputs,
                cache_read_tokens=read_,
                cache_write_tokens=written,
            ),
            one.model,
            provider_id="openai",
            genai_request_timestamp=datetime.fromtimestamp(one.began_ns / _NANO, UTC),
        )
        usd = price.total_price
    return int((usd * _NANO).to_integral_value(ROUND_CEILING))


def _usage_of(row: AttemptRecorded) -> tuple[int, ...]:
    return tuple(int(getattr(row.usage, name)) for name in _TOKENS)
