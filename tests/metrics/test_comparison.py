"""A route's channels side by side, against rows whose numbers are known."""

import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.contracts.comparison import ChannelLine, ComparisonAsked, ComparisonMade, Spread
from droveway.contracts.config import Config, Route, RouteTarget, Tier
from droveway.dialects.models import ModelTable
from droveway.dialects.route_names import RouteNames
from droveway.metrics.ledger.database import Database
from droveway.metrics.reports.comparison import make_comparison, projected
from droveway.metrics.reports.rates import Rates
from tests.support.ledger_tables import HOUR_MS, NOON_MS, attempt, fill, new_database, request
from tests.support.nats import droveway_config

RATES = Rates(7.3, {})
ASKED = ComparisonAsked(route="gpt-*", since_ms=NOON_MS - HOUR_MS, until_ms=NOON_MS + HOUR_MS)
_TIER = Tier(targets=(RouteTarget(provider="upstream-1"),))
_BASE = droveway_config("https://p.test/v1")
CONFIG = msgspec.structs.replace(
    _BASE,
    routes=(Route(model="gpt-*", tiers=(_TIER,)), Route(model="other", tiers=(_TIER,))),
    aliases={"fast": "gpt-4.1"},
)


async def compared(folder: Path, rows: list[Any], asked: list[Any]) -> ComparisonMade:
    database = await new_database(folder)
    try:
        await fill(database, rows, asked)
        return await compare(database, CONFIG)
    finally:
        await database.close()


async def compare(database: Database, config: Config) -> ComparisonMade:
    names = RouteNames(config.routes, ModelTable(config.models, config.aliases))
    async with database.reading() as connection:
        return await make_comparison(connection, ASKED, names, RATES, NOON_MS + HOUR_MS)


def rank(values: list[int], percent: int) -> int:
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def spread(values: list[int]) -> Spread:
    return Spread(
        int(sum(values) / len(values)), *(rank(values, percent) for percent in (50, 95, 99))
    )


@pytest.mark.parametrize("number", [1, 7, 300])
async def test_times_are_those_of_completed_attempts_to_the_microsecond(
    tmp_path: Path, number: int
) -> None:
    dice = random.Random(number)
    rows = [
        attempt(
            channel=dice.choice(("stable", "canary")) if number > 1 else "stable",
            ended_us=dice.randrange(1_000, 9_000_000),
            first_token_us=dice.randrange(1, 900) if dice.random() < 0.9 else None,
            stream=dice.random() < 0.8,
        )
        for _ in range(number)
    ]
    rows.append(attempt(channel="stable", outcome="failed", code="overloaded", ended_us=1))
    made = await compared(tmp_path, rows, [])
    for line in made.channels:
        own = [one for one in rows if one["channel"] == line.channel]
        done = [one for one in own if one["outcome"] == "completed"]
        assert line.total == spread([one["ended_us"] for one in done])
        firsts = [one["first_token_us"] for one in done if one["stream"] and one["first_token_us"]]
        assert line.first_token == (spread(firsts) if firsts else None)


async def test_each_channel_has_its_own_outcomes_tokens_and_cost(tmp_path: Path) -> None:
    stable = [attempt(channel="stable") for _ in range(6)]
    codes = ("provider_timeout", "provider_timeout", "overloaded")
    failed = [
        attempt(channel="canary", outcome="failed", code=code, estimated=True, output_tokens=0)
        for code in codes
    ]
    left = attempt(channel="canary", outcome="cancelled", code="client_closed_request")
    good = attempt(channel="canary", asked_model="fast")
    told = [request(one) for one in (*stable, left, good)]
    first, second = (await compared(tmp_path, [*stable, *failed, left, good], told)).channels
    assert (first.channel, first.requests, first.completed, first.attempts) == ("stable", 6, 6, 6)
    assert (first.success_rate, first.errors) == (1.0, ())
    assert (first.input_tokens, first.output_tokens) == (6_000, 600)
    assert (first.estimated_tokens, second.estimated_tokens) == (0, 3_000)
    assert first.cost_nano_usd == sum(one["cost_nano_usd"] for one in stable)
    assert (second.requests, second.completed, second.cancelled) == (2, 1, 1)
    assert (second.attempts, second.attempts_cancelled, second.success_rate) == (5, 1, 0.25)
    assert {one.code: one.count for one in second.errors} == Counter(codes)
    assert second.errors[0].code == "provider_timeout", "the most frequent one first"


async def test_only_the_routes_own_rows_of_that_time_count(tmp_path: Path) -> None:
    rows = [
        attempt(channel="canary"),
        attempt(channel="canary", asked_model="other"),
        attempt(channel="", asked_model="gpt-5"),
        attempt(channel="canary", stored_ms=ASKED.since_ms - 1),
        attempt(channel="canary", stored_ms=ASKED.until_ms),
    ]
    made = await compared(tmp_path, rows, [request(one) for one in rows])
    assert [(one.channel, one.attempts, one.requests) for one in made.channels] == [
        ("canary", 1, 1)
    ]
    assert (made.since_ms, made.until_ms) == (NOON_MS, ASKED.until_ms)


async def test_without_rows_there_are_no_lines(tmp_path: Path) -> None:
    made = await compared(tmp_path, [], [])
    assert (made.channels, made.since_ms) == ((), ASKED.since_ms)


def test_a_month_is_told_as_if_one_channel_had_all_requests() -> None:
    """A twentieth of the requests costs a twentieth: so it couldn't be compared."""
    lines = [
        ChannelLine(channel="stable", requests=95, cost_nano_usd=95_000),
        ChannelLine(channel="canary", requests=5, cost_nano_usd=10_000),
    ]
    day_ms = 86_400_000
    november_ms = NOON_MS - 23 * day_ms
    stable, canary = projected(lines, november_ms, november_ms + day_ms)
    assert (stable.projected_nano_usd, canary.projected_nano_usd) == (3_000_000, 6_000_000)
    for line in projected(lines, NOON_MS, NOON_MS + 59_999):
        assert line.projected_nano_usd is None, "of less than a minute"
