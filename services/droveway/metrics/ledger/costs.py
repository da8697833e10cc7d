"""By what price each attempt is counted: the price itself is kept, so that a cost is explained."""

from collections.abc import Callable, Iterable

import msgspec
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from droveway.contracts.prices import ModelPrice
from droveway.contracts.usage import AttemptRecorded
from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.tables import prices

PriceOf = Callable[[str, str, int], ModelPrice]
"""(provider, its model, Unix nanoseconds): what a token costs there and then."""
Priced = tuple[ModelPrice, int]
"""A price and its `price_id`."""
_MINUTE_NS = 60 * 10**9
MAX_KNOWN = 65_536
"""Prices whose number is remembered; then they are looked up again."""


class Costs:
    """Prices of attempts, with the numbers under which they are kept."""

    def __init__(self, database: Database, price_of: PriceOf) -> None:
        self._database = database
        self._price_of = price_of
        self._ids: dict[ModelPrice, int] = {}

    async def of(self, rows: Iterable[AttemptRecorded]) -> dict[tuple[str, str, int], Priced]:
        """The prices of a page, by `key`.

        Raises:
            LedgerAway: A new price can't be stored now.
        """
        found: dict[tuple[str, str, int], Priced] = {}
        for row in rows:
            asked = key(row)
            if asked not in found:
                price = self._price_of(row.provider, row.model, row.began_ns)
                number = self._ids.get(price)
                found[asked] = (price, await self._number(price) if number is None else number)
        return found

    async def _number(self, price: ModelPrice) -> int:
        """Found or stored, in a transaction of its own: a price that no row names does no harm."""
        if len(self._ids) >= MAX_KNOWN:
            self._ids.clear()
        text = encode_price(price)
        number = await self._find(text)
        if number is None:
            try:
                async with self._database.writing() as connection:
                    await connection.execute(insert(prices).values(price=text))
            except IntegrityError:
                pass  # by another process, a moment ago
            number = await self._find(text)
        assert number is not None
        self._ids[price] = number
        return number

    async def _find(self, text: str) -> int | None:
        async with self._database.reading() as connection:
            statement = select(prices.c.price_id).where(prices.c.price == text)
            return (await connection.execute(statement)).scalar_one_or_none()


def key(row: AttemptRecorded) -> tuple[str, str, int]:
    """What a price depends on: lists know prices by the minute."""
    return (row.provider, row.model, row.began_ns // _MINUTE_NS)


def encode_price(price: ModelPrice) -> str:
    """As it stands in `prices`."""
    return msgspec.json.encode(price).decode()


def decode_price(text: str) -> ModelPrice:
    """As it was."""
    return msgspec.json.decode(text, type=ModelPrice)
