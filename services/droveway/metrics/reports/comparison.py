"""A route's channels side by side, from the rows of the last days."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Table, case, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from droveway.contracts.comparison import (
    MAX_ERRORS,
    MAX_MODELS,
    MAX_ROWS,
    ChannelLine,
    ComparisonAsked,
    ComparisonMade,
    ErrorCount,
    Spread,
)
from droveway.dialects.route_names import RouteNames
from droveway.metrics.ledger.tables import attempts, requests
from droveway.metrics.reports.rates import Rates
from droveway.metrics.reports.report import at_pace

CHANNELS = ("stable", "canary")
"""In the order in which they are told."""
_COMPLETED = "completed"
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cost_nano_usd")
_SHORTEST_MS = 60_000
"""Of less a month isn't told."""


async def make_comparison(
    connection: AsyncConnection,
    asked: ComparisonAsked,
    names: RouteNames,
    rates: Rates,
    now_ms: int,
) -> ComparisonMade:
    """Answers it."""
    models = await _models(connection, asked, names)
    tried = _where(attempts, attempts.c.asked_model, asked, models)
    told = _where(requests, requests.c.model, asked, models)
    oldest = select(func.min(attempts.c.stored_ms), func.count()).where(*tried)
    since_ms, number = (await connection.execute(oldest)).one()
    lines = await _attempts(connection, tried)
    for channel, fields in (await _requests(connection, told)).items():
        lines[channel] |= fields
    if number <= MAX_ROWS:
        for channel, times in (await _times(connection, tried)).items():
            lines[channel] |= times
    begun_ms = asked.since_ms if since_ms is None else since_ms
    found = [ChannelLine(channel=one, **lines[one]) for one in CHANNELS if one in lines]
    return ComparisonMade(
        route=asked.route,
        since_ms=begun_ms,
        until_ms=asked.until_ms,
        channels=projected(found, begun_ms, min(asked.until_ms, now_ms)),
        cny_per_usd=rates.default,
    )


def projected(lines: Sequence[ChannelLine], since_ms: int, end_ms: int) -> tuple[ChannelLine, ...]:
    """The lines with what a month costs if one channel had all that both had."""
    together = sum(line.requests for line in lines)
    if end_ms - since_ms < _SHORTEST_MS:
        return (*lines,)
    return tuple(
        msgspec.structs.replace(
            line,
            projected_nano_usd=at_pace(
                line.cost_nano_usd * together // line.requests, since_ms, end_ms
            ),
        )
        if line.requests
        else line
        for line in lines
    )


async def _models(
    connection: AsyncConnection, asked: ComparisonAsked, names: RouteNames
) -> list[str]:
    """Clients' names that the route serves, as far as there are rows of them."""
    found: set[str] = set()
    for table, column in ((attempts, attempts.c.asked_model), (requests, requests.c.model)):
        query = select(column).where(*_between(table, asked)).distinct().limit(MAX_MODELS)
        found.update((await connection.execute(query)).scalars())
    routes = ((one, names.route(names.served(one))) for one in found)
    return [one for one, route in routes if route is not None and route.model == asked.route]


def _between(table: Table, asked: ComparisonAsked) -> list[ColumnElement[bool]]:
    return [
        table.c.channel.in_(CHANNELS),
        table.c.channel != literal_column("''"),  # so that the index of channels serves
        table.c.stored_ms >= asked.since_ms,
        table.c.stored_ms < asked.until_ms,
    ]


def _where(
    table: Table, column: ColumnElement[str], asked: ComparisonAsked, models: Sequence[str]
) -> list[ColumnElement[bool]]:
    return [*_between(table, asked), column.in_(models)]


async def _attempts(
    connection: AsyncConnection, where: Sequence[ColumnElement[bool]]
) -> dict[str, dict[str, Any]]:
    table = attempts.c
    sums = [func.coalesce(func.sum(table[name]), 0) for name in _TOKENS]
    guessed = case((table.estimated.is_(True), table.input_tokens + table.output_tokens), else_=0)
    sums.append(func.coalesce(func.sum(guessed), 0))
    query = (
        select(table.channel, table.outcome, table.code, func.count(), *sums)
        .where(*where)
        .group_by(table.channel, table.outcome, table.code)
    )
    lines: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    errors: dict[str, Counter[str]] = defaultdict(Counter)
    for channel, outcome, code, number, *added in await connection.execute(query):
        line = lines[channel]
        line["attempts"] += number
        if outcome in (_COMPLETED, "cancelled"):
            line[f"attempts_{outcome}"] += number
        else:
            errors[channel][code or outcome] += number
        for name, amount in zip((*_TOKENS, "estimated_tokens"), added, strict=True):
            line[name] += int(amount)
    for channel, counted in errors.items():
        lines[channel]["errors"] = tuple(
            ErrorCount(code, number) for code, number in counted.most_common(MAX_ERRORS)
        )
    return lines


async def _requests(
    connection: AsyncConnection, where: Sequence[ColumnElement[bool]]
) -> dict[str, dict[str, Any]]:
    table = requests.c
    query = (
        select(table.channel, table.outcome, func.count())
        .where(*where)
        .group_by(table.channel, table.outcome)
    )
    lines: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for channel, outcome, number in await connection.execute(query):
        lines[channel]["requests"] += number
        if outcome in ("completed", "failed", "interrupted", "cancelled"):
            lines[channel][outcome] += number
    return lines


async def _times(
    connection: AsyncConnection, where: Sequence[ColumnElement[bool]]
) -> dict[str, dict[str, Spread]]:
    done = (*where, attempts.c.outcome == _COMPLETED)
    streamed = (*done, attempts.c.stream.is_(True), attempts.c.first_token_us.is_not(None))
    found: dict[str, dict[str, Spread]] = defaultdict(dict)
    for field, column, of in (
        ("total", attempts.c.ended_us, done),
        ("first_token", attempts.c.first_token_us, streamed),
    ):
        for channel, spread in (await _spreads(connection, column, of)).items():
            found[channel][field] = spread
    return found


async def _spreads(
    connection: AsyncConnection,
    column: ColumnElement[Any],
    where: Sequence[ColumnElement[bool]],
) -> dict[str, Spread]:
    channel = attempts.c.channel
    ranked = (
        select(
            channel,
            column.label("us"),
            func.row_number().over(partition_by=channel, order_by=column).label("place"),
            func.count().over(partition_by=channel).label("number"),
        )
        .where(*where)
        .subquery()
    )
    picked = [
        func.max(case((ranked.c.place == (ranked.c.number * percent + 99) // 100, ranked.c.us)))
        for percent in (50, 95, 99)
    ]
    query = select(ranked.c.channel, func.avg(ranked.c.us), *picked).group_by(ranked.c.channel)
    return {
        name: Spread(int(mean), *ranks) for name, mean, *ranks in await connection.execute(query)
    }
