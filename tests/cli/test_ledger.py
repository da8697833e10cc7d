"""`droveway ledger`: what an operator types, over a real stream and a real database."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import update

from droveway.cli.config import to_yaml
from droveway.contracts.config import Price
from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.tables import attempts
from droveway.runtime.config.store import SUBJECT
from droveway.runtime.price_resolver import PriceResolver
from tests.support.access import delete_stream
from tests.support.commands import Commands
from tests.support.counting import count, pair, publish
from tests.support.ledger_tables import new_database
from tests.support.nats import NatsServer, droveway_config, serving, write_droveway_config

CHEAP, DEAR = {"gpt-4.1": Price(input=1, output=1)}, {"gpt-4.1": Price(input=2, output=2)}


def config(prices: dict[str, Price]) -> Any:
    base = droveway_config("http://127.0.0.1:9/v1", prices=prices)
    provider = msgspec.structs.replace(base.providers[0], id="openai")
    route = base.routes[0]
    target = msgspec.structs.replace(route.tiers[0].targets[0], provider="openai")
    tier = msgspec.structs.replace(route.tiers[0], targets=(target,))
    routes = (msgspec.structs.replace(route, tiers=(tier,)),)
    return msgspec.structs.replace(base, providers=(provider,), routes=routes)


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NatsServer]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DROVEWAY_CONFIG", raising=False)
    monkeypatch.delenv("DROVEWAY_METRICS_DATABASE", raising=False)
    with serving(tmp_path / ".droveway") as server:
        write_droveway_config(server.folder.config, config(DEAR))
        yield server


@pytest.fixture
def type_(broker: NatsServer, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(broker.folder.path, capsys)


@asynccontextmanager
async def counted(broker: NatsServer, pairs: int) -> AsyncIterator[Database]:
    """A ledger in the data folder with rows that were counted at the cheap price."""
    database = await new_database(broker.folder.path)
    try:
        async with broker.bus("metrics") as bus:
            await publish(bus, *(row for _ in range(pairs) for row in pair()))
            await count(bus, database, PriceResolver(config(CHEAP)).price)
        yield database
    finally:
        await database.close()


async def test_without_a_ledger_it_says_where_one_would_be(type_: Commands) -> None:
    for words in (("status",), ("check",), ("rebuild", "--yes"), ("reprice",), ("migrate",)):
        shown = await type_("ledger", *words)
        assert shown.code == 78
        assert "no ledger known: set DROVEWAY_METRICS_DATABASE" in shown.stderr


async def test_status_check_and_rebuild(broker: NatsServer, type_: Commands) -> None:
    async with counted(broker, 3) as database:
        told = (await type_("ledger", "status", "--json")).json
        assert (told["position"]["sequence"], told["stream_sequence"]) == (6, 6)
        assert (told["rows"]["attempts"], told["schema"]) == (3, told["latest_schema"])
        shown = await type_("ledger", "status")
        assert "0 rows of the stream's 6" in shown.stdout
        good = await type_("ledger", "check")
        assert (good.code, good.stderr) == (0, "")
        assert "6 rows up to 6 and the sums of 1 hours: all as in the stream" in good.stdout
        async with database.writing() as connection:
            await connection.execute(update(attempts).values(output_tokens=1))
        bad = await type_("ledger", "check")
        assert bad.code == 1
        assert "3 different, 1 sum" in bad.stdout
        assert (await type_("ledger", "check", "--json")).json["wrong"] == {
            "different": 3,
            "sum": 1,
        }
        unsure = await type_("ledger", "rebuild")
        assert (unsure.code, "say --yes" in unsure.stderr) == (78, True)
        assert "6 rows are emptied" in (await type_("ledger", "rebuild", "--yes")).stderr
        assert "6 rows of the stream's 6" in (await type_("ledger", "status")).stdout
        async with broker.bus("metrics") as bus:
            assert await count(bus, database, PriceResolver(config(CHEAP)).price) == 6
        assert (await type_("ledger", "check")).code == 0


async def test_re_pricing_goes_by_what_is_applied_and_refuses_where_nobody_knows(
    broker: NatsServer, type_: Commands
) -> None:
    async with counted(broker, 1):
        write_droveway_config(broker.folder.config, config(CHEAP))
        assert "0 of 1 attempts would" in (await type_("ledger", "reprice", "--dry-run")).stdout
        new = write_droveway_config(broker.folder.path / "new.yaml", config(DEAR))
        await type_("config", "apply", str(new))
        assert "1 of 1 attempts would" in (await type_("ledger", "reprice", "--dry-run")).stdout
        async with broker.bus("operator") as bus:
            await bus.request(SUBJECT, b'{"config": 1, "by": "a later version"}', 2.0)
        later = await type_("ledger", "reprice")
        assert (later.code, "revision 2 can't be read" in later.stderr) == (69, True)
        await delete_stream(broker, "KV_config")
        gone = await type_("ledger", "reprice")
        assert (gone.code, "`droveway setup` makes it" in gone.stderr) == (69, True)


async def test_re_pricing_goes_by_the_file_here_where_nothing_is_applied(
    broker: NatsServer, type_: Commands
) -> None:
    async with counted(broker, 4):
        dry = await type_("ledger", "reprice", "--dry-run")
        assert (
            "4 of 4 attempts would change: $0.004400000 to $0.008800000, +0.004400000" in dry.stdout
        )
        done = (await type_("ledger", "reprice", "--since", "1d", "--model", "m", "--json")).json
        assert (done["changed"], done["after_nano_usd"], done["dry_run"]) == (4, 8_800_000, False)
        assert (await type_("ledger", "check")).code == 0
        assert "0 of 4 attempts are changed" in (await type_("ledger", "reprice")).stdout
        assert (await type_("ledger", "reprice", "--since", "soon")).code == 78


async def test_the_database_may_be_told(
    broker: NatsServer, type_: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DROVEWAY_METRICS_DATABASE", f"sqlite:///{tmp_path / 'other.db'}")
    assert "none yet" in (await type_("ledger", "status")).stdout
    assert "the schema is" in (await type_("ledger", "migrate")).stderr
    assert (await type_("ledger", "status", "--json")).json["rows"]["attempts"] == 0
    empty = await type_("ledger", "rebuild", "--yes")
    assert (empty.code, "has no row" in empty.stderr) == (69, True)
    monkeypatch.setenv("DROVEWAY_METRICS_DATABASE", f"sqlite:///{tmp_path / 'gone' / 'x.db'}")
    assert (await type_("ledger", "status")).code == 78
    assert (await type_("ledger", "check")).code == 78


def test_a_configuration_is_written_as_it_is_read() -> None:
    assert "input: 2" in to_yaml(config(DEAR))
