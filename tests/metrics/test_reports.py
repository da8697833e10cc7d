"""Reports from the ledger's tables: what lines say, what is left out, what a month will cost."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from droveway.contracts.envelope import encode
from droveway.contracts.reports import (
    MAX_ANSWER_BYTES,
    MAX_LINES,
    Measures,
    Only,
    ReportAsked,
    ReportLine,
    ReportMade,
)
from droveway.metrics.ledger.database import Database
from droveway.metrics.reports.rates import Rates
from droveway.metrics.reports.report import fitting, make_report, projected
from droveway.metrics.reports.sources import Span
from tests.support.ledger_tables import HOUR_MS, NOON_MS, attempt, fill, new_database, request

RATES = Rates(7.3, {})
DAY_MS = 24 * HOUR_MS


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Database]:
    database = await new_database(tmp_path)
    yield database
    await database.close()


async def made(
    ledger: Database, *by: Any, rates: Rates = RATES, max_rows: int = 1_000, **asked: Any
) -> ReportMade:
    span: dict[str, Any] = {"since_ms": NOON_MS - DAY_MS, "until_ms": NOON_MS + DAY_MS}
    question = ReportAsked(by=by, **span | asked)
    async with ledger.reading() as connection:
        return await make_report(connection, question, rates, NOON_MS + HOUR_MS, max_rows)


def ms(year: int, month: int, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000)


async def test_nothing_is_a_report_without_lines(ledger: Database) -> None:
    found = await made(ledger, "tenant", "model")
    assert found.lines == ()
    assert (found.total.requests, found.total.attempts, found.total.cost_nano_usd) == (0, 0, 0)
    assert (found.complete, found.measured_since_ms, found.projected_nano_usd) == (True, None, 0)
    assert found.total.cache_hit_rate is None


async def test_a_line_has_the_sums_of_its_group(ledger: Database) -> None:
    tried = [
        attempt(),
        attempt(cache_read_tokens=600, cache_write_tokens=100, reasoning_tokens=30),
        attempt(outcome="failed", first_token_us=None, input_tokens=0, output_tokens=0, code="x"),
        attempt(tenant="other", stream=False, estimated=True),
    ]
    asked = [request(tried[0]), request(tried[1], attempts=2), request(tried[3])]
    asked.append(request(attempt(outcome="cancelled", provider="")))
    await fill(ledger, tried, asked)
    found = await made(ledger, "tenant")
    assert [line.group for line in found.lines] == [("acme",), ("other",)]
    acme, other = found.lines
    assert (acme.requests, acme.completed, acme.cancelled) == (3, 2, 1)
    assert (acme.attempts, acme.attempts_completed, acme.estimated) == (3, 2, 0)
    assert (acme.input_tokens, acme.output_tokens, acme.reasoning_tokens) == (2_000, 200, 30)
    assert acme.cache_hit_rate == pytest.approx(0.3)
    assert acme.cost_nano_usd == tried[0]["cost_nano_usd"] + tried[1]["cost_nano_usd"]
    assert acme.first_token_us == 200_000
    assert (other.requests, other.attempts, other.estimated) == (1, 1, 1)
    assert found.total.requests == 4
    assert found.total.cost_nano_usd == acme.cost_nano_usd + other.cost_nano_usd


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("tenant", {"acme", "other"}),
        ("key", {"k1", "k2"}),
        ("provider", {"openai", "anthropic"}),
        ("model", {"gpt-4.1", "fast"}),
        ("target", {"gpt-4.1-2025", "claude"}),
        ("mode", {"streaming", "whole"}),
        ("day", {"2026-11-23", "2026-11-24"}),
        ("hour", {"2026-11-23T12", "2026-11-24T11"}),
    ],
)
async def test_lines_are_told_apart_by_each_dimension_and_filtered_likewise(
    ledger: Database, by: Any, groups: set[str]
) -> None:
    one = attempt()
    two = attempt(
        tenant="other", key_id="k2", provider="anthropic", model="claude", asked_model="fast",
        stream=False, stored_ms=NOON_MS + DAY_MS - 1,
    )  # fmt: skip
    await fill(ledger, [one, two], [request(one), request(two)])
    found = await made(ledger, by)
    assert {line.group[0] for line in found.lines} == groups
    for line in found.lines:
        assert (line.attempts, line.requests) == (1, None if by == "target" else 1)
        assert line.measures.p50_us == (900_000 if by == "target" else 901_000)
        if by not in ("day", "hour"):
            wanted: dict[str, Any] = {{"key": "key_id"}.get(by, by): line.group[0]}
            alone = await made(ledger, only=Only(**wanted))
            assert alone.total.attempts == 1
            assert alone.lines[0].cost_nano_usd == line.cost_nano_usd


async def test_a_target_is_the_providers_name_and_a_model_the_clients(ledger: Database) -> None:
    tried = [attempt(), attempt(model="gpt-4.1-eu")]
    await fill(ledger, tried, [request(one) for one in tried])
    by_model = await made(ledger, "model")
    by_target = await made(ledger, "model", "target")
    assert [(one.group, one.requests) for one in by_model.lines] == [(("gpt-4.1",), 2)]
    assert {one.group for one in by_target.lines} == {
        ("gpt-4.1", "gpt-4.1-2025"), ("gpt-4.1", "gpt-4.1-eu"),
    }  # fmt: skip
    assert all(one.requests is None for one in by_target.lines)
    assert by_target.total.requests is None or by_target.total.requests == 2


async def test_yuan_are_counted_at_each_accounts_rate(ledger: Database) -> None:
    tried = [attempt(cost_nano_usd=10**9), attempt(tenant="other", cost_nano_usd=10**9)]
    await fill(ledger, tried, [])
    rates = Rates(7.3, {"other": 1.0})
    by_model = await made(ledger, "model", rates=rates)
    assert by_model.lines[0].cost_nano_cny == by_model.total.cost_nano_cny == 8_300_000_000
    by_tenant = await made(ledger, "tenant", rates=rates)
    assert [(one.group, one.cost_nano_cny) for one in by_tenant.lines] == [
        (("acme",), 7_300_000_000), (("other",), 1_000_000_000),
    ]  # fmt: skip


async def test_a_time_is_widened_to_whole_hours(ledger: Database) -> None:
    tried = [attempt(stored_ms=NOON_MS + number * HOUR_MS) for number in (-1, 0, 1)]
    await fill(ledger, tried, [])
    found = await made(ledger, since_ms=NOON_MS + 1, until_ms=NOON_MS + 2)
    assert (found.since_ms, found.until_ms) == (NOON_MS, NOON_MS + HOUR_MS)
    assert found.total.attempts == 1


async def test_what_is_no_longer_told_apart_is_in_no_report(ledger: Database) -> None:
    await fill(ledger, [attempt(), attempt(stored_ms=5)], [])
    assert (await made(ledger, since_ms=0)).total.attempts == 1


async def test_percentiles_are_latencies_that_somebody_had(ledger: Database) -> None:
    tried = [attempt(ended_us=number * 1_000) for number in range(1, 101)]
    failed = attempt(outcome="failed", ended_us=10**9)
    await fill(ledger, tried, [request(one) for one in (*tried, failed)])
    total = (await made(ledger)).total.measures
    assert (total.p50_us, total.p95_us, total.p99_us) == (51_000, 96_000, 100_000)
    by_model = (await made(ledger, "model", "mode")).lines[0].measures
    assert by_model == total


async def test_first_tokens_of_hits_are_set_against_those_of_misses(ledger: Database) -> None:
    tried = [
        attempt(cache_read_tokens=500, first_token_us=100_000),
        attempt(cache_read_tokens=500, first_token_us=200_000),
        attempt(first_token_us=600_000),
        attempt(first_token_us=None),
    ]
    await fill(ledger, tried, [])
    measures = (await made(ledger, "model")).lines[0].measures
    assert (measures.hit_first_token_us, measures.miss_first_token_us) == (150_000, 600_000)
    assert (measures.hits, measures.misses) == (2, 1)


async def test_more_rows_than_may_be_looked_at_leave_measures_out(ledger: Database) -> None:
    tried = [attempt() for _ in range(11)]
    await fill(ledger, tried, [])
    assert (await made(ledger, max_rows=11)).measured_since_ms == NOON_MS
    found = await made(ledger, max_rows=10)
    assert (found.measured_since_ms, found.total.measures) == (None, Measures())
    assert found.total.attempts == 11


async def test_the_most_expensive_lines_are_kept_and_the_rest_is_told_of(ledger: Database) -> None:
    tried = [attempt(key_id=f"k{number}", cost_nano_usd=number) for number in range(20)]
    await fill(ledger, tried, [])
    found = await made(ledger, "key", max_lines=3)
    assert [line.group[0] for line in found.lines] == ["k19", "k18", "k17"]
    assert not found.complete
    assert found.total.cost_nano_usd == sum(range(20))
    by_hour = await made(ledger, "hour", "key", max_lines=3)
    assert [line.group[1] for line in by_hour.lines] == ["k17", "k18", "k19"]


def test_lines_fit_one_message() -> None:
    lines = [ReportLine(group=(f"{'m' * 250}{number}",)) for number in range(40)]
    size = len(encode(lines[0]))
    assert fitting(lines, 40, 10 * size + 20) == lines[:10]
    assert fitting(lines, 40) == lines
    full = [ReportLine(group=("g" * 64,) * 3) for _ in range(MAX_LINES)]
    assert len(b"".join(map(encode, fitting(full, MAX_LINES)))) <= MAX_ANSWER_BYTES


@pytest.mark.parametrize(
    ("since_ms", "until_ms", "now_ms", "month"),
    [
        (ms(2026, 11), ms(2026, 12), ms(2026, 11, 16), 2_000),
        (ms(2026, 11), ms(2026, 12), ms(2027, 1), 1_000),
        (ms(2026, 12), ms(2027, 1), ms(2026, 12, 2), 31_000),
        (ms(2026, 11, 3), ms(2026, 11, 4), ms(2027, 1), 30_000),
        (ms(2026, 11), ms(2026, 12), ms(2026, 11) + HOUR_MS - 1, None),
        (ms(2027, 11), ms(2027, 12), ms(2026, 11), None),
    ],
    ids=["half a month", "a past month", "december", "one day", "too early", "the future"],
)
def test_a_month_is_projected_at_the_pace_so_far(
    since_ms: int, until_ms: int, now_ms: int, month: int | None
) -> None:
    span = Span(since_ms // HOUR_MS, until_ms // HOUR_MS)
    assert projected(1_000, span, now_ms) == month
