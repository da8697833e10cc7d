"""What the tables have already of a page: looked up only when an insert has found something."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from droveway.metrics.ledger.costs import decode_price
from droveway.metrics.ledger.rows import ATTEMPT_COLUMNS, AttemptValues
from droveway.metrics.ledger.tables import attempts, prices, requests

_WITNESS = ATTEMPT_COLUMNS.index("witness")
_AT_ONCE = 500
"""Ids per question."""

T = TypeVar("T")


class Present(NamedTuple):
    """An attempt that is in the ledger."""

    attempt_id: bytes
    witness: str
    values: AttemptValues
    source: str
    """Of its price."""


async def present_attempts(connection: AsyncConnection, ids: Sequence[bytes]) -> list[Present]:
    """Those of `ids` that are there."""
    found = []
    joined = attempts.outerjoin(prices, attempts.c.price_id == prices.c.price_id)
    for some in _bites(ids):
        statement = (
            select(prices.c.price, attempts)
            .select_from(joined)
            .where(attempts.c.attempt_id.in_(some))
        )
        for price, *row in await connection.execute(statement):
            source = decode_price(price).source if price else ""
            found.append(Present(row[0], row[_WITNESS], (*row,), source))
    return found


async def present_requests(connection: AsyncConnection, ids: Sequence[str]) -> list[str]:
    """Those of `ids` that are there."""
    found: list[str] = []
    for some in _bites(ids):
        statement = select(requests.c.request_id).where(requests.c.request_id.in_(some))
        found += (await connection.execute(statement)).scalars()
    return found


async def drop(connection: AsyncConnection, attempt_id: bytes) -> None:
    """Removes one attempt's row."""
    await connection.execute(delete(attempts).where(attempts.c.attempt_id == attempt_id))


def _bites(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
