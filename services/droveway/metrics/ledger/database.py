"""Where the ledger is: a SQLite file, or PostgreSQL by URL; its connections and its errors.

SQLite commits without waiting for the disk (WAL, `synchronous=NORMAL`): after a power cut its last
transactions may be gone, and the position in the stream with them, so their rows are read again.
Source: sqlite.org, "Write-Ahead Logging", "PRAGMA synchronous"
"""

import asyncio
import errno
import os
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from droveway.runtime.errors import DrovewayError, SettingsError

EXAMPLES = "sqlite:////var/lib/droveway/ledger.db or postgresql://user:password@host/ledger"
BUSY_S = 10.0
"""How long a transaction waits for another one of the same SQLite file."""
CONNECT_S = 5.0
CLOSED_WITHIN_S = 5.0
"""How long a statement that nobody waits for any more is given at the end."""
STATEMENT_S = 60.0
"""PostgreSQL: a statement that takes longer is given up, as if the server were gone."""
_CONNECTIONS = 4
_FILE = "file:"
_WRITES = "writes"
_ROW_CLASSES = ("22", "23")
"""SQLSTATE classes of what a row has wrong. Source: PostgreSQL documentation, appendix A."""
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "journal_size_limit=67108864")


class LedgerAway(DrovewayError):
    """The database is away, full or locked: nothing was written, and trying again is right."""


class RowRefused(DrovewayError):
    """The database can't take a value; trying again won't help."""


class Database:
    """One database; `told` is a URL, or `file:` and the path of a file that holds it.

    Raises:
        SettingsError: It is no such URL, or its file can't be read.
    """

    def __init__(self, told: str) -> None:
        url = _url(told)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.name = url.render_as_string(hide_password=True)
        """For people: without the password."""
        self._path = Path(url.database or "") if self.is_sqlite else None
        self._threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        """Where SQLite's connections work."""
        self.engine = _sqlite(url, self._threads) if self.is_sqlite else _postgresql(url)

    def check(self) -> None:
        """Whether a SQLite file could be there, made private if it isn't yet.

        Raises:
            SettingsError: Its folder isn't there, or can't be written to.
        """
        if self._path is not None and (problem := _problem(self._path.resolve())):
            raise SettingsError(
                f"the ledger's database {self._path}: {problem}; set "
                f"DROVEWAY_METRICS_DATABASE to a place that can be written to: {EXAMPLES}"
            )

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads.

        Raises:
            LedgerAway: The database is away.
        """
        async with _told(), self.engine.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed on leaving; an error takes all of it back.

        Raises:
            IntegrityError: A key is there already.
            RowRefused: A value doesn't fit.
            LedgerAway: The database is away, full or locked.
        """
        async with _told(), self.engine.connect() as connection:
            await connection.execution_options(**{_WRITES: True})
            async with connection.begin():
                yield connection

    async def close(self) -> None:
        """Gives all connections back, once what was under way in them is done.

        A connection whose user was cancelled still answers, which needs the loop to be there.
        """
        await self.engine.dispose()
        for thread in list(self._threads):
            if thread.is_alive():
                await asyncio.to_thread(thread.join, CLOSED_WITHIN_S)


def _problem(path: Path) -> str:
    """Why a file can't be a database, made if there is none; empty: it can.

    One that is there isn't opened: closing it would give up the locks that this process's
    connections hold, and whoever closes the file next would take their WAL away under them.
    Source: sqlite.org, "How To Corrupt An SQLite Database File", 2.2
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        code = errno.EISDIR if path.is_dir() else errno.EACCES
        usable = path.is_file() and os.access(path, os.R_OK | os.W_OK)
        return "" if usable else os.strerror(code)
    except OSError as error:
        return str(error.strerror)
    return ""


def _url(told: str) -> URL:
    if told.startswith(_FILE):
        path = Path(told.removeprefix(_FILE))
        try:
            told = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"DROVEWAY_METRICS_DATABASE: {path}: {error.strerror}") from None
    try:
        url = make_url(told)
        kind = url.get_backend_name()
    except (ArgumentError, ValueError):
        kind = ""
    if kind == "sqlite" and url.database not in (None, "", ":memory:"):
        return url.set(drivername="sqlite+aiosqlite")
    if kind in ("postgresql", "postgres") and url.database:
        return _with_ssl(url.set(drivername="postgresql+asyncpg"))
    raise SettingsError(f"DROVEWAY_METRICS_DATABASE: expected a URL: {EXAMPLES}")


def _with_ssl(url: URL) -> URL:
    """What libpq calls `sslmode` is `ssl` here."""
    mode = url.query.get("sslmode")
    if mode is None:
        return url
    return url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})


def _sqlite(url: URL, threads: weakref.WeakSet[threading.Thread]) -> AsyncEngine:
    def _connect(*told: Any, **options: Any) -> aiosqlite.Connection:
        connection = aiosqlite.connect(*told, **options)
        thread = connection._thread  # noqa: SLF001 - nothing else tells when its work is done
        thread.daemon = True
        threads.add(thread)
        return connection

    engine = create_async_engine(
        url,
        connect_args={
            "isolation_level": None,
            "timeout": BUSY_S,
            "async_creator_fn": _connect,
        },
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_use_lifo=True,  # a connection forgets the pages that another one has changed
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        # A reader that begins to write late can't wait for another writer: it fails at once.
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: URL) -> AsyncEngine:
    return create_async_engine(
        url,
        connect_args={"timeout": CONNECT_S, "command_timeout": STATEMENT_S},
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,
    )


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """A driver's errors as ours; `IntegrityError` stays."""
    try:
        yield
    except IntegrityError:
        raise
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        kind = RowRefused if _is_about_a_row(error) else LedgerAway
        raise kind(reason_of(error)) from error


def _is_about_a_row(error: Exception) -> bool:
    if isinstance(error, DataError):
        return True
    if not isinstance(error, DBAPIError):
        return isinstance(error, StatementError)
    state = getattr(error.orig, "sqlstate", None) or ""
    return state[:2] in _ROW_CLASSES or "invalid input for query argument" in str(error.orig)


def reason_of(error: Exception) -> str:
    """One line without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    return (str(cause) or type(cause).__name__).partition("\n")[0][:200]
