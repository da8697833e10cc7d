"""Other prices for rows that are counted: their costs and the sums of their hours, in bites.

Tokens stay what they are. Rows older than are kept can't be re-priced, so their sums stay too.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from droveway.contracts.jetstream import USAGE
from droveway.contracts.relay import Usage
from droveway.metrics.ledger.costs import Costs, PriceOf, decode_price, key
from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.rows import MAX_COST_NANO_USD, name
from droveway.metrics.ledger.sums import HOUR_MS
from droveway.metrics.ledger.tables import attempt_hours, attempts, positions, prices
from droveway.metrics.ledger.writer import UNPRICED

BITE_ROWS = 500
"""Of one transaction: the service writes between them."""
_HOUR = ("tenant", "key_id", "provider", "asked_model", "model", "stream")


class Change(NamedTuple):
    """One row that costs something else, or by another price."""

    row: Any
    cost_nano_usd: int
    price_id: int
    unpriced_tokens: int
    """More than before; less where it is negative."""


class Repriced(NamedTuple):
    """What it came to."""

    rows: int
    """Looked at."""
    changed: int
    skipped: int
    """Counted anew by the service meanwhile: its prices are the newer ones."""
    before_nano_usd: int
    """What all rows that were looked at cost."""
    after_nano_usd: int


class Repricing:
    """One pass over the rows from a time on, of one model where it is named."""

    def __init__(
        self, database: Database, price_of: PriceOf, since_ms: int, model: str, *, dry: bool
    ) -> None:
        self._database = database
        self._costs = Costs(database, price_of)
        self._after: tuple[int, bytes] = (since_ms, b"")
        self._model = name(model)
        self._price_of = price_of
        self._dry = dry
        self._rows = self._changed = self._skipped = self._before = self._more = 0

    async def run(self) -> Repriced:
        """Looks at all of them.

        Raises:
            LedgerAway: What is committed stays; the same again goes on with the rest.
        """
        while rows := await self._read():
            last = rows[-1]
            self._after = (last.stored_ms, last.attempt_id)
            self._rows += len(rows)
            self._before += sum(row.cost_nano_usd for row in rows)
            changes = await self._changes(rows)
            if changes and not self._dry:
                changes = await self._write(changes)
            self._changed += len(changes)
            self._more += sum(one.cost_nano_usd - one.row.cost_nano_usd for one in changes)
        after = self._before + self._more
        return Repriced(self._rows, self._changed, self._skipped, self._before, after)

    async def _read(self) -> Sequence[Any]:
        at_ms, attempt_id = self._after
        later = or_(
            attempts.c.stored_ms > at_ms,
            and_(attempts.c.stored_ms == at_ms, attempts.c.attempt_id > attempt_id),
        )
        joined = attempts.outerjoin(prices, prices.c.price_id == attempts.c.price_id)
        query = select(attempts, prices.c.price).select_from(joined).where(later)
        if self._model:
            named = or_(attempts.c.model == self._model, attempts.c.asked_model == self._model)
            query = query.where(named)
        query = query.order_by(attempts.c.stored_ms, attempts.c.attempt_id).limit(BITE_ROWS)
        async with self._database.reading() as connection:
            return (await connection.execute(query)).all()

    async def _changes(self, rows: Sequence[Any]) -> list[Change]:
        numbers = {} if self._dry else await self._costs.of(rows)
        found = []
        for row in rows:
            before = decode_price(row.price) if row.price else None
            price = self._price_of(row.provider, row.model, row.began_ns)
            if price == before:
                continue
            cost = min(price.cost_nano_usd(_usage(row)), MAX_COST_NANO_USD)
            was_unpriced = before is not None and before.source == UNPRICED
            sign = (price.source == UNPRICED) - was_unpriced
            number = row.price_id if self._dry else numbers[key(row)][1]
            tokens = row.input_tokens + row.output_tokens
            found.append(Change(row, cost, number, sign * tokens))
        return found

    async def _write(self, changes: list[Change]) -> list[Change]:
        """Writes those whose rows are as they were read; returns them."""
        async with self._database.writing() as connection:
            await _lock(connection)
            ids = [one.row.attempt_id for one in changes]
            columns = (attempts.c.attempt_id, attempts.c.price_id, attempts.c.cost_nano_usd)
            query = select(*columns).where(attempts.c.attempt_id.in_(ids))
            there = {tuple(row) for row in await connection.execute(query)}
            same = [
                one
                for one in changes
                if (one.row.attempt_id, one.row.price_id, one.row.cost_nano_usd) in there
            ]
            if same:
                await connection.execute(_CHANGE_ROW, [*map(_row_values, same)])
                await connection.execute(_CHANGE_HOUR, _hour_values(same))
        self._skipped += len(changes) - len(same)
        return same


async def _lock(connection: AsyncConnection) -> None:
    """Nobody counts until the transaction ends; whoever waits finds the position as it was."""
    ours = positions.c.stream == USAGE
    await connection.execute(update(positions).where(ours).values(sequence=positions.c.sequence))


_CHANGE_ROW = (
    update(attempts)
    .where(attempts.c.attempt_id == bindparam("of_attempt"))
    .values(cost_nano_usd=bindparam("new_cost"), price_id=bindparam("new_price"))
)
_CHANGE_HOUR = (
    update(attempt_hours)
    .where(
        attempt_hours.c.hour == bindparam("of_hour"),
        attempt_hours.c.tenant == bindparam("of_tenant"),
        attempt_hours.c.key_id == bindparam("of_key_id"),
        attempt_hours.c.provider == bindparam("of_provider"),
        attempt_hours.c.model == bindparam("of_asked_model"),
        attempt_hours.c.target == bindparam("of_model"),
        attempt_hours.c.stream == bindparam("of_stream"),
    )
    .values(
        cost_nano_usd=attempt_hours.c.cost_nano_usd + bindparam("more_cost"),
        unpriced_tokens=attempt_hours.c.unpriced_tokens + bindparam("more_unpriced"),
    )
)


def _row_values(change: Change) -> dict[str, Any]:
    return {
        "of_attempt": change.row.attempt_id,
        "new_cost": change.cost_nano_usd,
        "new_price": change.price_id,
    }


def _hour_values(changes: list[Change]) -> list[dict[str, Any]]:
    costs: Counter[tuple[Any, ...]] = Counter()
    unpriced: Counter[tuple[Any, ...]] = Counter()
    for change in changes:
        row = change.row
        hour = (row.stored_ms // HOUR_MS, *(getattr(row, one) for one in _HOUR))
        costs[hour] += change.cost_nano_usd - row.cost_nano_usd
        unpriced[hour] += change.unpriced_tokens
    names = ("of_hour", *(f"of_{one}" for one in _HOUR))
    return [
        dict(zip(names, hour, strict=True)) | {"more_cost": cost, "more_unpriced": unpriced[hour]}
        for hour, cost in sorted(costs.items())
    ]


def _usage(row: Any) -> Usage:
    return Usage(
        row.input_tokens, row.output_tokens, row.cache_read_tokens, row.cache_write_tokens,
        row.reasoning_tokens, row.estimated, row.cache_write_1h_tokens,
    )  # fmt: skip
