"""The dashboard's numbers, and bills whose lines add up to what the row says."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts.envelope import new_request_id
from droveway.contracts.prices import ModelPrice, Rates
from droveway.contracts.relay import Usage
from droveway.contracts.reports import BillAsked, BillMade, Only, StatsAsked, StatsMade
from droveway.metrics.ledger.database import Database
from droveway.metrics.reports import rates
from droveway.metrics.reports.bill import FEMTO, lines_of, make_bill
from droveway.metrics.reports.stats import latencies_of, make_stats
from tests.support.ledger_tables import (
    HOUR_MS,
    NOON_MS,
    PRICE,
    attempt,
    fill,
    new_database,
    request,
)

YUAN = rates.Rates(7.0, {})
RATE = st.integers(0, 10**12)
TOKENS = st.integers(0, 10**7)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Database]:
    database = await new_database(tmp_path)
    yield database
    await database.close()


async def stats(ledger: Database, max_rows: int = 10_000, **only: Any) -> StatsMade:
    asked = StatsAsked(since_ms=NOON_MS, until_ms=NOON_MS + HOUR_MS, only=Only(**only))
    async with ledger.reading() as connection:
        return await make_stats(connection, asked, YUAN, max_rows)


async def bill(ledger: Database, request_id: str) -> BillMade:
    async with ledger.reading() as connection:
        return await make_bill(connection, BillAsked(request_id=request_id), YUAN)


async def test_an_empty_ledger_has_an_empty_dashboard(ledger: Database) -> None:
    found = await stats(ledger)
    assert (found.total.requests, found.latencies, found.errors) == (0, None, ())


async def test_a_dashboard_has_totals_latencies_and_errors_of_its_key(ledger: Database) -> None:
    mine = [attempt(stored_ms=NOON_MS + number, ended_us=number * 1_000) for number in range(1, 5)]
    failed = attempt(stored_ms=NOON_MS + 9, outcome="failed", status=504, code="provider_timeout")
    left = attempt(outcome="cancelled", ended_us=10**9, status=499)
    theirs = attempt(key_id="k2", outcome="interrupted", ended_us=10**9)
    every = [*mine, failed, left, theirs]
    await fill(ledger, every, [request(one) for one in every])
    found = await stats(ledger, key_id="k1")
    assert (found.total.requests, found.total.completed, found.total.failed) == (6, 4, 1)
    assert found.latencies is not None
    assert (found.latencies.min_us, found.latencies.max_us) == (2_000, 901_000)
    assert [(one.at_ms, one.status, one.code) for one in found.errors] == [
        (NOON_MS + 9, 504, "provider_timeout")
    ]
    assert (await stats(ledger)).total.requests == 7


async def test_the_newest_count(ledger: Database) -> None:
    every = [
        attempt(stored_ms=NOON_MS + number, ended_us=number, outcome="failed", code=f"c{number}")
        for number in range(1_200)
    ]
    await fill(ledger, [], [request(one) for one in every])
    found = await stats(ledger)
    assert found.latencies is not None
    assert found.latencies.min_us == 200 + 1_000
    assert [one.code for one in found.errors] == [f"c{number}" for number in range(1_190, 1_200)]
    few = await stats(ledger, max_rows=5)
    assert len(few.errors) == 5


@pytest.mark.parametrize(
    ("durations_us", "expected"),
    [([], None), ([7], (7, 7, 7, 7, 7, 7)), ([*range(100, 0, -1)], (50, 95, 99, 50, 1, 100))],
    ids=["none", "one", "hundred"],
)
def test_percentiles_are_by_nearest_rank(durations_us: list[int], expected: Any) -> None:
    found = latencies_of(durations_us)
    assert (
        found is None if expected is None else expected == (
            found.p50_us, found.p95_us, found.p99_us, found.mean_us, found.min_us, found.max_us
        )
        if found
        else False
    )  # fmt: skip


@given(
    numbers=st.tuples(RATE, RATE, RATE, RATE, RATE),
    tokens=st.tuples(TOKENS, TOKENS, TOKENS, TOKENS, TOKENS),
)
def test_lines_and_rounding_are_the_price(
    numbers: tuple[int, int, int, int, int], tokens: tuple[int, int, int, int, int]
) -> None:
    price = ModelPrice(rates=(Rates(0, *numbers), Rates(200_000, 1, 2, 3, 4, 5)), source="config")
    plain, read, written, kept, output = tokens
    usage = Usage(plain + read + written, output, read, written, cache_write_1h_tokens=kept)
    lines = lines_of(price, usage)
    rest = price.cost_nano_usd(usage) * FEMTO - sum(line.femto_usd for line in lines)
    assert 0 <= rest < FEMTO
    assert sum(line.tokens for line in lines) == plain + read + written + output


async def test_a_bill_has_the_lines_of_every_attempt(ledger: Database) -> None:
    request_id = new_request_id()
    first = attempt(request_id=request_id, outcome="failed", code="x", output_tokens=0)
    second = attempt(
        request_id=request_id, attempt=2, cache_read_tokens=333, cache_write_tokens=100,
        cache_write_1h_tokens=40, provider="openai", input_tokens=1_001,
    )  # fmt: skip
    await fill(ledger, [second, first, attempt()], [request(second)])
    found = await bill(ledger, request_id)
    assert (found.tenant, found.model, found.outcome) == ("acme", "gpt-4.1", "completed")
    assert [one.attempt for one in found.attempts] == [1, 2]
    assert found.cost_nano_usd == first["cost_nano_usd"] + second["cost_nano_usd"]
    assert found.cost_nano_cny == found.cost_nano_usd * 7
    last = found.attempts[1]
    assert [(one.kind, one.tokens, one.rate) for one in last.lines] == [
        ("input", 568, 2_500_000_000),
        ("cache_read", 333, 250_000_000),
        ("cache_write", 60, 3_125_000_000),
        ("cache_write_1h", 40, 5_000_000_000),
        ("output", 100, 10_000_000_000),
    ]
    assert last.source == PRICE.source
    told = sum(line.femto_usd for line in last.lines) + last.rounding_femto_usd
    assert told == last.cost_nano_usd * FEMTO == second["cost_nano_usd"] * FEMTO


async def test_a_bill_without_the_requests_own_row_says_so(ledger: Database) -> None:
    one = attempt(witness="router-1", estimated=True)
    await fill(ledger, [one], [])
    found = await bill(ledger, one["request_id"])
    assert (found.outcome, found.model) == ("", "gpt-4.1")
    assert (found.attempts[0].witness, found.attempts[0].estimated) == ("router-1", True)


async def test_a_request_that_nobody_knows_has_an_empty_bill(ledger: Database) -> None:
    found = await bill(ledger, "req_unknown")
    assert (found.attempts, found.tenant, found.cost_nano_usd) == ((), "", 0)


async def test_a_cost_that_is_no_sum_of_its_lines_shows(ledger: Database) -> None:
    one = attempt(cost_nano_usd=2**60, input_tokens=0, output_tokens=0)
    await fill(ledger, [one], [])
    found = await bill(ledger, one["request_id"])
    assert found.attempts[0].lines == ()
    assert found.attempts[0].rounding_femto_usd == 2**62
