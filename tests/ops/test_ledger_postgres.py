"""The ledger in PostgreSQL: all that holds in SQLite, a server that crashes, and two that count."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from droveway.cli import ports
from droveway.metrics.ledger import tables
from droveway.metrics.ledger.database import Database, LedgerAway
from tests.metrics.test_ledger_retention import (
    test_hours_go_and_their_totals_stay,
    test_only_who_counts_lets_go,
    test_rows_go_and_their_sums_stay,
)
from tests.metrics.test_ledger_writer import (
    rows,
    test_a_cost_is_its_price_times_its_tokens,
    test_a_hostile_request_is_cut_to_what_fits,
    test_a_hostile_row_is_cut_to_what_fits,
    test_a_witness_s_row_never_takes_the_place_of_another,
    test_an_exact_row_takes_the_place_of_a_witness_s,
    test_hours_that_have_their_sums_get_rows_only,
    test_in_one_page_the_exact_row_counts_whichever_comes_first,
    test_no_sum_grows_beyond_what_every_language_reads,
    test_of_two_writers_one_counts_and_the_other_notices,
    test_rows_that_come_again_count_once,
    test_sums_are_what_the_rows_add_up_to,
)
from tests.support.accounts import attempts_of, requests_of, stored_rows
from tests.support.flows import ask, samples
from tests.support.ledgers import Ledger, all_of, disagreements, opened, taken
from tests.support.nats import NatsServer, serving
from tests.support.postgres import Postgres
from tests.support.postgres import serving as serving_postgres
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.ops

SAME_AS_IN_SQLITE = (
    test_hours_go_and_their_totals_stay,
    test_only_who_counts_lets_go,
    test_rows_go_and_their_sums_stay,
    test_a_cost_is_its_price_times_its_tokens,
    test_a_hostile_request_is_cut_to_what_fits,
    test_a_hostile_row_is_cut_to_what_fits,
    test_a_witness_s_row_never_takes_the_place_of_another,
    test_an_exact_row_takes_the_place_of_a_witness_s,
    test_hours_that_have_their_sums_get_rows_only,
    test_in_one_page_the_exact_row_counts_whichever_comes_first,
    test_no_sum_grows_beyond_what_every_language_reads,
    test_of_two_writers_one_counts_and_the_other_notices,
    test_rows_that_come_again_count_once,
    test_sums_are_what_the_rows_add_up_to,
)
"""They find this module's `book` instead of their own."""

COUNTED_WITHIN_S = 30.0
T = TypeVar("T")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with serving_postgres() as server:
        yield server


@pytest.fixture
async def book(postgres: Postgres) -> AsyncIterator[Ledger]:
    async with opened(await postgres.new_database()) as database:
        yield Ledger(database, await taken(database, "metrics-0"))


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[NatsServer]:
    with serving(tmp_path / "nats") as server:
        yield server


async def test_a_server_that_crashes_takes_nothing_and_loses_nothing(
    postgres: Postgres, book: Ledger
) -> None:
    await book.write(*rows(20))
    await asyncio.to_thread(postgres.kill)
    page = rows(21)
    with pytest.raises(LedgerAway):
        await book.write(*page)
    await asyncio.to_thread(postgres.start)
    await book.write(*page)
    assert len(await book.all(tables.requests)) == 41
    assert await disagreements(book.database) == []


async def test_of_two_that_serve_one_database_one_counts_and_the_other_takes_over(
    postgres: Postgres, own_nats: NatsServer, tmp_path: Path
) -> None:
    url = await postgres.new_database()
    environment = {"DROVEWAY_METRICS_DATABASE": url, "DROVEWAY_METRICS_TAKE_OVER_S": "3"}
    async with running_stack(
        own_nats, tmp_path, replicas={"metrics": 2}, environment=environment
    ) as stack:
        await _ask(stack, 20)
        await _counted(own_nats, url)
        await asyncio.to_thread(postgres.kill)
        await _ask(stack, 20)  # nobody's answer waits for the ledger
        await asyncio.to_thread(postgres.start)
        await _counted(own_nats, url)
        await stack.services["metrics"][0].end()
        await _ask(stack, 20)
        await _counted(own_nats, url)
        database = Database(url)
        assert await disagreements(database) == []
        await database.close()


async def test_counters_are_shown_by_the_one_that_counts_and_continue_where_it_ended(
    postgres: Postgres, own_nats: NatsServer, tmp_path: Path
) -> None:
    url = await postgres.new_database()
    shown: list[float] = []
    for _ in range(2):
        port = ports.free()
        environment = {
            "DROVEWAY_METRICS_DATABASE": url,
            "DROVEWAY_METRICS_ADMIN_PORT": str(port),
        }
        folder = tmp_path / str(len(shown))
        folder.mkdir()
        async with running_stack(own_nats, folder, environment=environment) as stack:
            await _ask(stack, 10)
            await _counted(own_nats, url)
            rows_now = attempts_of(await stored_rows(own_nats))
            wanted = float(sum(row.usage.input_tokens for row in rows_now))
            await _until(functools.partial(_input_tokens, port), wanted)
            shown.append(wanted)
    assert shown[1] == 2 * shown[0] > 0


async def _ask(stack: Stack, count: int) -> None:
    async with stack.client() as client:
        got = await asyncio.gather(
            *(ask(client, chat_body("numbered-3", stream=n % 2 == 0)) for n in range(count))
        )
    assert {one.status for one in got} == {200}


async def _counted(nats: NatsServer, url: str) -> None:
    """Waits until the database has what the stream has; the last rows may be on their way."""
    async with opened(url) as database:

        async def lacking() -> tuple[int, int]:
            found = await stored_rows(nats)
            attempts, requests = await _sizes(database)
            return len(attempts_of(found)) - attempts, len(requests_of(found)) - requests

        await _until(lacking, (0, 0))


async def _until(look: Callable[[], Awaitable[T]], wanted: T) -> None:
    until_s = time.monotonic() + COUNTED_WITHIN_S
    while (found := await look()) != wanted:
        assert time.monotonic() < until_s, f"{found} instead of {wanted}"
        await asyncio.sleep(0.1)


async def _input_tokens(port: int) -> float:
    return (await samples(port))("ai_api_tokens_total", type="input")


async def _sizes(database: Database) -> tuple[int, int]:
    attempts = await all_of(database, tables.attempts)
    return (len(attempts), len(await all_of(database, tables.requests)))
