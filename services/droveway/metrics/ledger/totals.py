"""What the hours add up to since the ledger began: where Prometheus' counters go on from."""

from typing import NamedTuple

from sqlalchemy import Column, Float, Table, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from droveway.metrics.ledger.rows import OUTCOMES
from droveway.metrics.ledger.tables import attempt_hours, outcome_hours, request_hours


class Spent(NamedTuple):
    """Of one tenant, destination and model."""

    tenant: str
    destination: str
    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_nano_usd: int
    unpriced_tokens: int


class Totals(NamedTuple):
    """Everything that is counted; the oldest groups first."""

    spent: list[Spent]
    outcomes: dict[tuple[str, str, int], tuple[int, int]]
    """Attempts, and those that weren't their request's first, by destination, outcome, status."""
    requests: dict[str, int]
    """By outcome."""


async def totals(connection: AsyncConnection) -> Totals:
    """Within the transaction in which the position is read: both tell of the same rows."""
    return Totals(
        await _spent(connection), await _outcomes(connection), await _requests(connection)
    )


async def _spent(connection: AsyncConnection) -> list[Spent]:
    hours = attempt_hours.c
    group = (hours.tenant, hours.provider, hours.model)
    summed = [_sum(attempt_hours, name) for name in Spent._fields[3:]]
    statement = select(*group, *summed).group_by(*group).order_by(func.min(hours.hour), *group)
    found = []
    for tenant, destination, model, *sums in await connection.execute(statement):
        found.append(Spent(tenant, destination, model, *map(round, sums)))
    return found


async def _outcomes(connection: AsyncConnection) -> dict[tuple[str, str, int], tuple[int, int]]:
    hours = outcome_hours.c
    group = (hours.provider, hours.outcome, hours.status)
    summed = (_sum(outcome_hours, "attempts"), _sum(outcome_hours, "further"))
    rows = await connection.execute(select(*group, *summed).group_by(*group))
    return {
        (provider, outcome, status): (round(attempts), round(further))
        for provider, outcome, status, attempts, further in rows
    }


async def _requests(connection: AsyncConnection) -> dict[str, int]:
    names = ("requests", *OUTCOMES)
    statement = select(*(_sum(request_hours, name) for name in names))
    every, *ends = (round(one or 0) for one in (await connection.execute(statement)).one())
    found = dict(zip(OUTCOMES, ends, strict=True))
    return {**found, "other": every - sum(ends)}


def _sum(table: Table, name: str) -> Column[float]:
    """As a float, which a counter is anyway: integers of many hours could overflow."""
    return func.sum(cast(table.c[name], Float(53)))  # type: ignore[return-value]
