"""`droveway report` and `droveway stats` over a real broker: what is printed, what is refused."""

import asyncio
import csv
import io
import re
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from droveway.cli import report, stats
from droveway.cli.report_formats import csv_text
from droveway.contracts.envelope import new_request_id
from droveway.contracts.reports import ReportLine, ReportMade, StatsMade
from droveway.metrics.ledger.database import Database
from droveway.metrics.reports.desk import ReportDesk
from droveway.metrics.reports.rates import LiveRates
from droveway.metrics.streams import StreamWatch
from droveway.runtime.consumer import Consumer
from droveway.runtime.dashboard import dashboard_of
from droveway.runtime.errors import DrovewayError
from tests.support.commands import Commands
from tests.support.ledger_tables import HOUR_MS, NOON_MS, attempt, fill, new_database, request
from tests.support.nats import NatsServer, droveway_config, serving

REQUEST = new_request_id()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[NatsServer]:
    with serving(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def type_(broker: NatsServer, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(broker.folder.path, capsys)


@pytest.fixture
async def ledger(broker: NatsServer, tmp_path: Path) -> AsyncIterator[Database]:
    """A ledger with three attempts, and a desk that answers of it."""
    database = await new_database(tmp_path)
    now_ms = time.time_ns() // 1_000_000
    failed = attempt(
        request_id=REQUEST, stored_ms=now_ms, outcome="failed", code="provider_timeout",
        status=504, output_tokens=0, input_tokens=0, cost_nano_usd=0, first_token_us=None,
    )  # fmt: skip
    second = attempt(
        request_id=REQUEST, attempt=2, stored_ms=now_ms, cache_read_tokens=333, input_tokens=1_001,
    )  # fmt: skip
    other = attempt(
        tenant="other", key_id="k2", asked_model="=cmd|'/c calc'!A0", stored_ms=now_ms,
        outcome="interrupted", code="stream_stalled", status=200, stream=False,
    )  # fmt: skip
    await fill(database, [failed, second, other], [request(second), request(other)])
    async with broker.bus("metrics") as bus, asyncio.TaskGroup() as tasks:
        served = droveway_config("http://127.0.0.1:9/v1")
        desk = ReportDesk(
            bus, database, StreamWatch(bus), LiveRates(served), Consumer("report", tasks, 4), 5.0,
            1_000,
        )  # fmt: skip
        desk.configure(served)
        await desk.listen()
        yield database
    await database.close()


async def test_a_table_has_a_line_per_group_and_a_total(ledger: Database, type_: Commands) -> None:
    shown = await type_("report", "--by", "tenant,mode")
    assert shown.code == 0
    acme, other = "acme    streaming         1       0         2", "other   whole             1"
    assert acme in shown.stdout
    assert other in shown.stdout
    assert "total                     2       1         3  2,001     200   16.6%" in shown.stdout
    assert "901/901/901" in shown.stdout
    assert "whole hours" in shown.stdout


async def test_json_has_every_sum(ledger: Database, type_: Commands) -> None:
    told = (await type_("report", "--by", "key", "--format", "json", "--key", "k1")).json
    (line,) = told["lines"]
    assert (line["key"], line["requests"], line["attempts"]) == ("k1", 1, 2)
    assert line["cache_hit_rate"] == pytest.approx(333 / 1_001, abs=1e-6)
    assert Decimal(line["cost_usd"]) == Decimal(told["total"]["cost_usd"])
    assert Decimal(line["cost_cny"]) == pytest.approx(Decimal(line["cost_usd"]) * Decimal("7.3"))
    assert (line["p50_us"], line["hits"]) == (901_000, 1)
    assert told["complete"] is True


async def test_csv_is_safe_in_a_spreadsheet(ledger: Database, type_: Commands) -> None:
    shown = await type_("report", "--by", "model,day", "--format", "csv", "--quick")
    rows = [*csv.DictReader(io.StringIO(shown.stdout))]
    assert {row["model"] for row in rows} == {"gpt-4.1", "'=cmd|'/c calc'!A0"}
    assert all(row["p50_us"] == "" for row in rows)
    assert [*rows[0]][:4] == ["model", "day", "requests", "completed"]


def test_csv_of_nothing_is_its_heading() -> None:
    made = ReportMade(by=("tenant",), since_ms=0, until_ms=0, lines=(), total=ReportLine())
    (heading,) = csv_text(made).splitlines()
    assert heading.startswith("tenant,requests,completed,")


async def test_lines_that_are_left_out_are_told(ledger: Database, type_: Commands) -> None:
    found = ReportMade(
        by=("key",), since_ms=0, until_ms=1, lines=(), total=ReportLine(), complete=False
    )
    assert "narrow" not in "".join(report._notes(found))
    shown = await type_("report", "--by", "provider", "--since", "1h")
    assert "narrow it" not in shown.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--by", "colour"), "--by 'colour': expected some of tenant, key, provider"),
        (("--since", "soon"), "--since or --until: 'soon': expected 2026-11-01"),
        (("--since", "1d", "--until", "2d"), "--until is before --since"),
        (("--tenant", "A B"), "matching regex"),
        (("--mode", "fast"), "Invalid enum value 'fast'"),
        (("--format", "xml"), "--format 'xml': expected table, csv or json"),
    ],
)
async def test_a_wrong_question_is_told(type_: Commands, words: tuple[str, ...], told: str) -> None:
    shown = await type_("report", *words)
    assert shown.code == 78
    assert told in shown.stderr
    assert shown.stdout == ""


async def test_without_metrics_it_ends_with_69(type_: Commands) -> None:
    for words in (("report",), ("stats",), ("report", "request", REQUEST)):
        shown = await type_(*words)
        assert shown.code == 69
        assert "no metrics service answers: nobody listens" in shown.stderr


async def test_a_request_is_explained_line_by_line(ledger: Database, type_: Commands) -> None:
    shown = await type_("report", "request", REQUEST)
    assert shown.code == 0, shown.stderr
    assert "attempt 1: openai/gpt-4.1-2025 failed provider_timeout; price of genai-prices" in (
        shown.stdout
    )
    assert re.search(r"input read from a cache +333 +0\.25 +0\.000083250000000", shown.stdout)
    assert "-90.0%, saves $0.000749250" in shown.stdout
    assert "nothing else is counted" in shown.stdout
    told = (await type_("report", "request", REQUEST, "--json")).json
    last = told["attempts"][1]
    lines = sum(Decimal(line["cost_usd"]) for line in last["lines"])
    rest = Decimal(last["rounding_femto_usd"]) / 10**15
    assert lines + rest == Decimal(last["cost_usd"]) == Decimal(told["cost_usd"])


@pytest.mark.parametrize(
    ("request_id", "code", "told"),
    [("nonsense", 78, "is no request id"), (new_request_id(), 69, "the ledger has no row of")],
    ids=["no id", "an unknown one"],
)
async def test_a_request_without_rows_is_told(
    ledger: Database, type_: Commands, request_id: str, code: int, told: str
) -> None:
    shown = await type_("report", "request", request_id)
    assert (shown.code, shown.stdout) == (code, "")
    assert told in shown.stderr


async def test_the_dashboard_is_printed(ledger: Database, type_: Commands) -> None:
    shown = await type_("stats")
    for line in (
        "Requests: 2", "Completed: 1 (50.00%)", "Failed: 1 (50.00%)", "P50: 901.00",
        "200  stream_stalled",
    ):  # fmt: skip
        assert line in shown.stdout
    mine = (await type_("stats", "--key", "k1", "--json")).json
    assert (mine["total_requests"], mine["recent_errors"]) == (1, [])
    assert "error" not in mine
    none = await type_("stats", "--key", "k9")
    assert "No data available" in none.stdout
    assert "0.00" not in none.stdout
    assert (await type_("stats", "--since", "soon")).code == 78
    assert (await type_("stats", "--key", "A/B")).code == 78


def test_an_empty_dashboard_divides_by_nothing() -> None:
    made = StatsMade(since_ms=NOON_MS, until_ms=NOON_MS + HOUR_MS, total=ReportLine())
    found = dashboard_of(made, NOON_MS)
    assert found.error == "No data available"
    assert (found.success_rate, found.tokens.avg_per_request, found.latency.max) == (0, 0, 0)
    assert any("No data available" in line for line in stats.lines(found))


def test_a_question_says_what_was_typed() -> None:
    wanted = report.Wanted("tenant, model,tenant", "2026-11-01", "2026-11-02T12:00:00+02:00")
    asked = report.question(wanted, NOON_MS)
    assert asked.by == ("tenant", "model")
    assert asked.until_ms - asked.since_ms == (24 + 10) * HOUR_MS
    assert report.question(report.Wanted(""), NOON_MS).by == ()
    with pytest.raises(DrovewayError):
        report.question(report.Wanted("hour", since="99999d", until="1969-01-01"), NOON_MS)
