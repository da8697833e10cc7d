"""Counters that mirror the ledger."""

from pathlib import Path

from prometheus_client import CollectorRegistry

from droveway.contracts.relay import Usage
from droveway.contracts.usage import AttemptTimes, Row
from droveway.metrics.exposition import UsageMetrics
from droveway.metrics.ledger.totals import totals
from tests.support.ledgers import NOW_MS, Ledger, ledger
from tests.support.rows import attempt_row, request_row

YUAN = 8.0
PAIR = {"destination": "openai", "model": "gpt-4.1"}


class Shown:
    """One process's counters over a ledger."""

    def __init__(self, max_labels: int = 100) -> None:
        self._registry = CollectorRegistry()
        self.metrics = UsageMetrics(self._registry, lambda _tenant: YUAN, max_labels)

    async def begin(self, book: Ledger) -> None:
        async with book.database.reading() as connection:
            self.metrics.begin(await totals(connection))

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(name, labels)


async def test_they_grow_by_what_is_newly_counted(tmp_path: Path) -> None:
    async with ledger(tmp_path) as book:
        shown = Shown()
        await shown.begin(book)
        attempt = attempt_row(
            usage=Usage(1_000, 100, 400, 50), attempt=2, times=AttemptTimes(ended_us=1_200_000)
        )
        for _ in range(2):
            shown.metrics.count(await book.write(attempt, request_row(request_id="req_1")))
        cost = (550 * 1_000 + 400 * 100 + 50 * 1_000 + 100 * 2_000) / 1e9
        tokens = {"input": 1_000, "output": 100, "cache_read": 400, "cache_write": 50}
        for kind, count in tokens.items():
            assert shown("ai_api_tokens_total", type=kind, **PAIR) == count
        assert shown("ai_api_cost_total", **PAIR) == cost
        assert shown("ai_api_cost_cny_total", **PAIR) == cost * YUAN
        assert shown("droveway_tenant_cost_usd_total", tenant="default") == cost
        assert shown("ai_api_failovers_total", destination="openai") == 1
        ended = {"destination": "openai", "outcome": "completed", "status": "200"}
        assert shown("ai_api_upstream_requests_total", **ended) == 1
        assert shown("droveway_recorded_requests_total", outcome="completed") == 1
        assert shown("ai_api_upstream_duration_seconds_bucket", le="1.0", **PAIR) == 0
        assert shown("ai_api_upstream_duration_seconds_bucket", le="1.5", **PAIR) == 1
        assert shown("ai_api_upstream_duration_seconds_sum", **PAIR) == 1.2


async def test_another_process_goes_on_from_the_same_values(tmp_path: Path) -> None:
    async with ledger(tmp_path) as book:
        first = Shown()
        await first.begin(book)
        for number in range(3):
            rows: list[Row] = [
                attempt_row(model="unknown", attempt=number + 1),
                attempt_row(outcome="failed"),
                request_row(),
            ]
            first.metrics.count(await book.write(*rows, stored_ms=NOW_MS + number * 3_600_000))
        second = Shown()
        await second.begin(book)
        assert _counters(second) == _counters(first)


async def test_they_never_fall_while_the_ledger_is_made_again(tmp_path: Path) -> None:
    async with ledger(tmp_path) as book:
        shown = Shown()
        await shown.begin(book)
        rows = [attempt_row() for _ in range(4)]
        shown.metrics.count(await book.write(*rows))
        before = _counters(shown)
        await _empty(book)
        await shown.begin(book)
        for row in rows:
            shown.metrics.count(await book.write(row))
            assert _counters(shown) == before
        shown.metrics.count(await book.write(attempt_row()))
        assert shown("ai_api_tokens_total", type="input", **PAIR) == 50


async def test_there_are_none_where_another_replica_counts(tmp_path: Path) -> None:
    async with ledger(tmp_path) as book:
        shown = Shown()
        assert _counters(shown) == {}
        await shown.begin(book)
        shown.metrics.count(await book.write(attempt_row()))
        shown.metrics.end()
        assert _counters(shown) == {}
        await shown.begin(book)
        assert shown("ai_api_tokens_total", type="input", **PAIR) == 10


async def test_an_exact_row_in_place_of_a_witness_s_counts_once(tmp_path: Path) -> None:
    async with ledger(tmp_path) as book:
        shown = Shown()
        await shown.begin(book)
        exact = attempt_row(usage=Usage(10, 5))
        witness = attempt_row(
            attempt_id=exact.attempt_id, witness="router-0", usage=Usage(10, 0), outcome="failed"
        )
        shown.metrics.count(await book.write(witness))
        shown.metrics.count(await book.write(exact))
        assert shown("ai_api_tokens_total", type="input", **PAIR) == 10
        assert shown("ai_api_tokens_total", type="output", **PAIR) == 5


async def test_names_beyond_the_bound_are_other(tmp_path: Path) -> None:
    async with ledger(tmp_path) as book:
        shown = Shown(max_labels=2)
        await shown.begin(book)
        rows = [attempt_row(asked_model=f"m{number}") for number in range(5)]
        shown.metrics.count(await book.write(*rows))
        found = {"destination": "other", "model": "other"}
        assert shown("ai_api_tokens_total", type="input", **found) == 30
        assert shown("ai_api_upstream_duration_seconds_count", **found) == 3


def _counters(shown: Shown) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in shown.metrics.collect()
        if family.type == "counter"
        for sample in family.samples
    }


async def _empty(book: Ledger) -> None:
    async with book.database.writing() as connection:
        for table in ("attempts", "attempt_hours", "outcome_hours"):
            await connection.exec_driver_sql(f"DELETE FROM {table}")
