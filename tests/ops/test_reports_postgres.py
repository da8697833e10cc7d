"""Reports, bills and the ledger's upkeep in PostgreSQL: all that holds in SQLite."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.migrate import latest, migrate
from droveway.metrics.upkeep.status import read_status
from tests.metrics.test_reports import (
    test_a_line_has_the_sums_of_its_group,
    test_a_target_is_the_providers_name_and_a_model_the_clients,
    test_a_time_is_widened_to_whole_hours,
    test_first_tokens_of_hits_are_set_against_those_of_misses,
    test_lines_are_told_apart_by_each_dimension_and_filtered_likewise,
    test_more_rows_than_may_be_looked_at_leave_measures_out,
    test_nothing_is_a_report_without_lines,
    test_percentiles_are_latencies_that_somebody_had,
    test_the_most_expensive_lines_are_kept_and_the_rest_is_told_of,
    test_what_is_no_longer_told_apart_is_in_no_report,
    test_yuan_are_counted_at_each_accounts_rate,
)
from tests.metrics.test_stats_and_bills import (
    test_a_bill_has_the_lines_of_every_attempt,
    test_a_bill_without_the_requests_own_row_says_so,
    test_a_cost_that_is_no_sum_of_its_lines_shows,
    test_a_dashboard_has_totals_latencies_and_errors_of_its_key,
    test_a_request_that_nobody_knows_has_an_empty_bill,
    test_an_empty_ledger_has_an_empty_dashboard,
    test_the_newest_count,
)
from tests.metrics.test_upkeep import (
    World,
    test_a_ledger_made_again_is_the_same,
    test_a_ledger_that_is_right_is_found_right,
    test_a_row_that_the_stream_has_not_is_found,
    test_a_writer_that_counts_meanwhile_goes_on_from_the_beginning,
    test_hours_that_the_stream_has_no_longer_whole_stay,
    test_new_prices_change_rows_and_sums_alike,
    test_only_the_rows_that_are_meant_are_re_priced,
    test_re_pricing_while_rows_are_counted_and_replaced_is_exact,
    test_tokens_get_a_price_and_lose_it_again,
    test_what_is_wrong_is_found,
)
from tests.support.nats import NatsServer, serving
from tests.support.postgres import Postgres
from tests.support.postgres import serving as serving_postgres

pytestmark = pytest.mark.ops

SAME_AS_IN_SQLITE = (
    test_a_line_has_the_sums_of_its_group,
    test_a_target_is_the_providers_name_and_a_model_the_clients,
    test_a_time_is_widened_to_whole_hours,
    test_first_tokens_of_hits_are_set_against_those_of_misses,
    test_lines_are_told_apart_by_each_dimension_and_filtered_likewise,
    test_more_rows_than_may_be_looked_at_leave_measures_out,
    test_nothing_is_a_report_without_lines,
    test_percentiles_are_latencies_that_somebody_had,
    test_the_most_expensive_lines_are_kept_and_the_rest_is_told_of,
    test_what_is_no_longer_told_apart_is_in_no_report,
    test_yuan_are_counted_at_each_accounts_rate,
    test_a_bill_has_the_lines_of_every_attempt,
    test_a_bill_without_the_requests_own_row_says_so,
    test_a_cost_that_is_no_sum_of_its_lines_shows,
    test_a_dashboard_has_totals_latencies_and_errors_of_its_key,
    test_a_request_that_nobody_knows_has_an_empty_bill,
    test_an_empty_ledger_has_an_empty_dashboard,
    test_the_newest_count,
    test_a_ledger_made_again_is_the_same,
    test_a_ledger_that_is_right_is_found_right,
    test_a_row_that_the_stream_has_not_is_found,
    test_a_writer_that_counts_meanwhile_goes_on_from_the_beginning,
    test_hours_that_the_stream_has_no_longer_whole_stay,
    test_new_prices_change_rows_and_sums_alike,
    test_only_the_rows_that_are_meant_are_re_priced,
    test_re_pricing_while_rows_are_counted_and_replaced_is_exact,
    test_tokens_get_a_price_and_lose_it_again,
    test_what_is_wrong_is_found,
)
"""They find this module's `ledger` and `world` instead of their own."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with serving_postgres() as server:
        yield server


@pytest.fixture
async def ledger(postgres: Postgres) -> AsyncIterator[Database]:
    database = Database(await postgres.new_database())
    await migrate(database)
    yield database
    await database.close()


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[NatsServer]:
    with serving(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def world(own_nats: NatsServer, ledger: Database) -> AsyncIterator[World]:
    async with own_nats.bus("metrics") as bus, own_nats.bus("operator") as operator:
        yield World(ledger, bus, operator)


async def test_a_status_has_the_size_and_no_password(ledger: Database) -> None:
    found = await read_status(ledger)
    assert (found.schema, found.position) == (latest(), None)
    assert found.bytes > 10_000
    assert "***" in found.database
