"""Where the ledger is, and what its schema is."""

import asyncio
import stat
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from droveway.metrics.ledger.database import Database, LedgerAway
from droveway.metrics.ledger.migrate import latest, migrate
from droveway.metrics.ledger.tables import metadata
from droveway.runtime.errors import SettingsError
from tests.support.ledgers import opened, sqlite_url


async def test_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    async with opened(sqlite_url(tmp_path)) as database, database.reading() as connection:
        differences = await connection.run_sync(
            lambda own: compare_metadata(MigrationContext.configure(own), metadata)
        )
    assert differences == []


async def test_migrating_again_changes_nothing(tmp_path: Path) -> None:
    async with opened(sqlite_url(tmp_path)) as database:
        assert [await migrate(database) for _ in range(2)] == [latest(), latest()]


async def test_two_that_start_at_once_make_one_schema(tmp_path: Path) -> None:
    databases = [Database(sqlite_url(tmp_path)) for _ in range(4)]
    try:
        found = await asyncio.gather(*(migrate(database) for database in databases))
    finally:
        for database in databases:
            await database.close()
    assert found == [latest()] * 4


async def test_one_that_starts_again_keeps_its_locks_on_the_file(tmp_path: Path) -> None:
    """Else another process that closes the file takes the WAL away: what follows is corruption."""
    async with opened(sqlite_url(tmp_path)) as database:
        await migrate(database)
        stranger = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(sys.argv[2])"
        words = (str(tmp_path / "ledger.db"), "SELECT 1 FROM requests")
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", stranger, *words)
        assert await process.wait() == 0
        assert (tmp_path / "ledger.db-wal").exists()


async def test_an_older_program_refuses_a_newer_schema(tmp_path: Path) -> None:
    async with opened(sqlite_url(tmp_path)) as database:
        async with database.writing() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(SettingsError, match="schema 9999, and this program knows"):
            await migrate(database)


async def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    async with Held(tmp_path) as database:
        async with database.writing() as connection:
            await connection.execute(text("CREATE TABLE requests (x integer)"))
        with pytest.raises(LedgerAway, match="already exists"):
            await migrate(database)
        async with database.reading() as connection:
            names = await connection.execute(text("SELECT name FROM sqlite_master"))
            assert [*names.scalars()] == ["requests"]


class Held:
    """A database without tables for the length of a block."""

    def __init__(self, path: Path) -> None:
        self._database = Database(sqlite_url(path))

    async def __aenter__(self) -> Database:
        self._database.check()
        return self._database

    async def __aexit__(self, *_error: object) -> None:
        await self._database.close()


@pytest.mark.parametrize(
    "told", ["", "ledger.db", "sqlite://", "sqlite:///:memory:", "mysql://h/d", "postgresql://h"]
)
def test_what_is_no_place_is_refused(told: str) -> None:
    with pytest.raises(SettingsError, match="DROVEWAY_METRICS_DATABASE: expected a URL"):
        Database(told)


async def test_a_url_may_stand_in_a_file_and_its_password_is_told_to_nobody(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://user:hunter2@localhost:1/ledger?sslmode=disable\n")
    database = Database(f"file:{secret}")
    assert not database.is_sqlite
    assert "hunter2" not in database.name
    with pytest.raises(LedgerAway) as caught:
        await migrate(database)
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"
    await database.close()
    with pytest.raises(SettingsError, match="No such file"):
        Database(f"file:{tmp_path}/none")


async def test_a_file_that_cannot_be_there_is_told_by_name(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"none/ledger\.db: No such file"):
        await migrate(database)
    await database.close()


async def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    async with opened(sqlite_url(tmp_path)):
        modes = {stat.S_IMODE(file.stat().st_mode) for file in _files(tmp_path)}
    assert modes == {0o600}


def _files(folder: Path) -> list[Path]:
    return [*folder.glob("ledger.db*")]


async def test_an_error_takes_back_all_of_a_transaction(tmp_path: Path) -> None:
    async with opened(sqlite_url(tmp_path)) as database:
        with pytest.raises(LedgerAway, match="no such table"):
            await _insert_and(database, "SELECT * FROM absent")
        with pytest.raises(LedgerAway, match="syntax error"):
            await _insert_and(database, "SELECT FROM")
        async with database.reading() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM prices"))).scalar() == 0


async def _insert_and(database: Database, statement: str) -> None:
    async with database.writing() as connection:
        await connection.execute(text("INSERT INTO prices (price) VALUES ('x')"))
        await connection.execute(text(statement))


async def test_readers_and_a_writer_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async with opened(sqlite_url(tmp_path)) as database, database.reading() as reader:
        assert (await reader.execute(text("SELECT count(*) FROM prices"))).scalar() == 0
        async with database.writing() as writer:
            await writer.execute(text("INSERT INTO prices (price) VALUES ('x')"))
        assert (await reader.execute(text("SELECT count(*) FROM prices"))).scalar() == 0


async def test_closing_waits_for_what_a_cancelled_user_left_under_way(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path))
    begun = asyncio.Event()

    async def slow() -> None:
        async with database.reading() as connection:
            begun.set()
            count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000000)"
            await connection.execute(text(f"{count} SELECT COUNT(*) FROM n"))

    user = asyncio.ensure_future(slow())
    await begun.wait()
    await asyncio.sleep(0)
    user.cancel()
    await asyncio.gather(user, return_exceptions=True)
    before = set(threading.enumerate())
    await database.close()
    assert not [one for one in before if "connection_worker" in one.name and one.is_alive()]
