"""What one request cost, line by line: tokens times rate, by the price that it was counted by."""

from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from droveway.contracts.prices import ModelPrice
from droveway.contracts.relay import Usage
from droveway.contracts.reports import AttemptBill, BillAsked, BillLine, BillMade
from droveway.metrics.ledger.tables import attempts, prices, requests
from droveway.metrics.reports.rates import Rates

MAX_ATTEMPTS = 1_000
"""Of one bill."""
FEMTO = 1_000_000
"""Femto-dollars in a nano-dollar."""
_LARGEST = 2**62
_price = msgspec.json.Decoder(ModelPrice)
_USAGE = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
    "reasoning_tokens", "estimated", "cache_write_1h_tokens",
)  # fmt: skip


async def make_bill(connection: AsyncConnection, asked: BillAsked, rates: Rates) -> BillMade:
    """Answers it; without attempts where no row of it is kept."""
    of_request = select(requests).where(requests.c.request_id == asked.request_id)
    request = (await connection.execute(of_request)).mappings().one_or_none()
    joined = attempts.outerjoin(prices, prices.c.price_id == attempts.c.price_id)
    query = (
        select(attempts, prices.c.price)
        .select_from(joined)
        .where(attempts.c.request_id == asked.request_id)
        .order_by(attempts.c.attempt, attempts.c.attempt_id)
        .limit(MAX_ATTEMPTS)
    )
    rows = (await connection.execute(query)).mappings().all()
    cost = sum(row["cost_nano_usd"] for row in rows)
    known = request or (rows[0] if rows else None)
    if known is None:
        return BillMade(request_id=asked.request_id)
    return BillMade(
        request_id=asked.request_id,
        tenant=known["tenant"],
        key_id=known["key_id"],
        model=known["model"] if request else (known["asked_model"] or known["model"]),
        outcome=request["outcome"] if request else "",
        attempts=tuple(_attempt(row) for row in rows),
        cost_nano_usd=cost,
        cost_nano_cny=rates.nano_cny(known["tenant"], cost),
    )


def lines_of(price: ModelPrice, usage: Usage) -> tuple[BillLine, ...]:
    """The lines that `ModelPrice.cost_nano_usd` adds up, without empty ones."""
    rates = price.at(usage.input_tokens)
    written_1h = min(usage.cache_write_1h_tokens, usage.cache_write_tokens)
    plain = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    found = (
        BillLine("input", max(0, plain), rates.input, rates.input),
        BillLine("cache_read", usage.cache_read_tokens, rates.cache_read, rates.input),
        BillLine(
            "cache_write", usage.cache_write_tokens - written_1h, rates.cache_write, rates.input
        ),
        BillLine("cache_write_1h", written_1h, rates.cache_write_1h, rates.input),
        BillLine("output", usage.output_tokens, rates.output, rates.output),
    )
    return tuple(line for line in found if line.tokens)


def _attempt(row: Any) -> AttemptBill:
    price = _price.decode(row["price"]) if row["price"] is not None else None
    usage = Usage(*(row[name] for name in _USAGE))
    lines = lines_of(price, usage) if price is not None else ()
    rest = row["cost_nano_usd"] * FEMTO - sum(line.femto_usd for line in lines)
    return AttemptBill(
        attempt_id=row["attempt_id"],
        attempt=row["attempt"],
        provider=row["provider"],
        target=row["model"],
        outcome=row["outcome"],
        code=row["code"],
        witness=row["witness"],
        estimated=row["estimated"],
        began_ns=row["began_ns"],
        lines=lines,
        above_input_tokens=price.at(usage.input_tokens).above_input_tokens if price else 0,
        source=price.source if price else "default",
        rounding_femto_usd=max(-_LARGEST, min(rest, _LARGEST)),
        cost_nano_usd=row["cost_nano_usd"],
    )
