"""Brings the database's schema up to this program's; two that start at once wait for each other."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import Connection

from droveway.metrics.ledger.database import Database
from droveway.runtime.errors import SettingsError

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x64726F76
"""PostgreSQL's advisory lock; SQLite's transaction is one by itself."""


async def migrate(database: Database) -> str:
    """Applies what is missing, all of it or nothing; returns the revision.

    Raises:
        SettingsError: A newer program has been here.
        LedgerAway: The database is away.
    """
    database.check()
    async with database.writing() as connection:
        if not database.is_sqlite:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        return await connection.run_sync(_upgrade, database.name)


def latest() -> str:
    """The revision that this program knows last."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _upgrade(connection: Connection, name: str) -> str:
    present = MigrationContext.configure(connection).get_current_revision()
    head = latest()
    if present != head:
        _refuse_newer(present, name)
        command.upgrade(_config(connection=connection), "head")
    return head


def _refuse_newer(present: str | None, name: str) -> None:
    known = {one.revision for one in ScriptDirectory.from_config(_config()).walk_revisions()}
    if present is not None and present not in known:
        raise SettingsError(
            f"the ledger's database {name} has schema {present}, and this program knows schemas "
            f"up to {latest()}: run the newer program that has made it, or another database"
        )


def _config(**attributes: Any) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(attributes)
    return config
