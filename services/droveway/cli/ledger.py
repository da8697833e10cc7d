"""`droveway ledger`: looks after the database of the metrics service, also while that counts."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console

from droveway.cli import terminal
from droveway.cli.admin_session import print_json, printable, run, say, table
from droveway.cli.data_folder import DataFolder
from droveway.cli.in_force import surely_in_force
from droveway.contracts.jetstream import USAGE
from droveway.metrics.ledger.database import Database
from droveway.metrics.ledger.migrate import latest, migrate
from droveway.metrics.settings import MetricsSettings
from droveway.metrics.upkeep.check import Checked, Checking
from droveway.metrics.upkeep.rebuild import beginning, rebuild
from droveway.metrics.upkeep.reprice import Repriced, Repricing
from droveway.metrics.upkeep.status import LedgerStatus, read_status
from droveway.metrics.usage_stream import PATTERN
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import reading
from droveway.runtime.dashboard import moment_text
from droveway.runtime.errors import BusError, SettingsError
from droveway.runtime.price_resolver import PriceResolver
from droveway.runtime.reports import moment_ms
from droveway.runtime.settings import read

READ_WITHIN_S = 5.0
EX_DIFFERENT = 1
_VARIABLE = "DROVEWAY_METRICS_DATABASE"
_FILE = "ledger.db"
_HOUR_S = 3_600
_DAY_MS = 86_400_000
_NANO = 1e9

T = TypeVar("T")


def status(data: Path, console: Console | None) -> None:
    """Prints how the ledger is; as JSON where there is no console.

    Raises:
        SettingsError: The database is unknown, or no place for one.
        LedgerAway: It doesn't answer.
    """
    found = _with_database(data, read_status)
    last = _last_sequence(data)
    if console is None:
        standing = None if found.position is None else found.position._asdict()
        print_json({**found._asdict(), "position": standing, "stream_sequence": last})
    else:
        console.print(table(("what", "value"), _status_rows(found, last)))


def rebuild_all(data: Path, *, sure: bool) -> None:
    """Empties what the stream still has; the running service counts it again.

    Raises:
        SettingsError: Nobody has said that it is meant.
        NothingToRebuildFrom: There is nothing.
        LedgerAway: The database doesn't answer.
        BusError: The stream doesn't.
    """
    if not sure:
        raise SettingsError(
            "rows and sums are emptied until the service has counted them again; say --yes"
        )

    async def work(bus: Bus, database: Database) -> None:
        async with reading(bus, USAGE, READ_WITHIN_S) as reader:
            begins = await beginning(reader)
        done = await rebuild(database, begins)
        hour = datetime.fromtimestamp(done.from_hour * _HOUR_S, UTC)
        say(
            f"{done.rows} rows are emptied, and sums from {hour:%Y-%m-%dT%HZ} on; the metrics "
            f"service counts the stream again behind {done.sequence}"
        )

    _with_both(data, work)


def reprice(data: Path, since: str, model: str, *, dry: bool, console: Console | None) -> None:
    """Counts the cost of stored rows anew, by the prices of the configuration in force.

    Raises:
        SettingsError: There is no configuration, no connection, or `since` is no time.
        StoreUnavailable: Whether a configuration is applied isn't known.
        LedgerAway: What was changed before stays changed; the same again does the rest.
    """
    now_ms = time.time_ns() // 1_000_000
    try:
        since_ms = moment_ms(since, now_ms) if since else 0
    except ValueError as error:
        raise SettingsError(f"--since {error}") from None
    _settings(data)  # without a ledger nobody is asked
    prices = PriceResolver(surely_in_force(data))
    prices.load()

    async def work(database: Database) -> Repriced:
        return await Repricing(database, prices.price, since_ms, model, dry=dry).run()

    done = _with_database(data, work)
    if console is None:
        print_json({**done._asdict(), "dry_run": dry})
        return
    verb = "would change" if dry else "are changed"
    more = done.after_nano_usd - done.before_nano_usd
    console.print(
        f"{done.changed} of {done.rows} attempts {verb}: ${done.before_nano_usd / _NANO:,.9f} "
        f"to ${done.after_nano_usd / _NANO:,.9f}, {more / _NANO:+,.9f}"
    )
    if done.skipped:
        console.print(f"{done.skipped} were counted anew meanwhile, and are left as they are")


def check(data: Path, console: Console | None) -> None:
    """Compares the ledger with the stream; exits 1 when something differs.

    Raises:
        LedgerAway: The database doesn't answer.
        BusError: The stream doesn't.
    """
    own = _settings(data)
    now_ms = time.time_ns() // 1_000_000

    async def work(bus: Bus, database: Database) -> Checked:
        async with reading(bus, USAGE, READ_WITHIN_S) as reader:
            kept_ms = own.rows_kept_days * _DAY_MS
            return await Checking(database, reader, now_ms, kept_ms).run()

    found = _with_both(data, work)
    if console is None:
        print_json({**found._asdict(), "findings": [one._asdict() for one in found.findings]})
    else:
        for one in found.findings:
            console.print(f"{one.what}: {printable(one.where)}", markup=False)
        wrong = ", ".join(f"{number} {what}" for what, number in sorted(found.wrong.items()))
        console.print(
            f"{found.rows} rows up to {found.sequence} and the sums of {found.hours} hours: "
            f"{wrong or 'all as in the stream'}"
        )
    if found.wrong:
        sys.exit(EX_DIFFERENT)


def migrate_schema(data: Path) -> None:
    """Brings the tables up to this program's; the service does the same when it starts.

    Raises:
        SettingsError: A newer program has been there.
        LedgerAway: The database doesn't answer.
    """
    revision = _with_database(data, migrate)
    say(f"the schema is {revision}")


def _settings(data: Path) -> MetricsSettings:
    own = read(MetricsSettings, "metrics")
    file = DataFolder(data).path / _FILE
    if _VARIABLE in os.environ:
        return own
    if not file.exists():
        raise SettingsError(
            f"no ledger known: set {_VARIABLE} as the metrics service has it, or start "
            f"`droveway up --data {data}`, which keeps it in {file}"
        )
    return msgspec.structs.replace(own, database=f"sqlite:///{file}")


def _with_database(data: Path, work: Callable[[Database], Awaitable[T]]) -> T:
    terminal.quiet()
    own = _settings(data)

    async def inside() -> T:
        database = _opened(own)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(inside())


def _with_both(data: Path, work: Callable[[Bus, Database], Awaitable[T]]) -> T:
    own = _settings(data)

    async def inside(bus: Bus) -> T:
        database = _opened(own)
        try:
            return await work(bus, database)
        finally:
            await database.close()

    return run(data, inside)


def _opened(own: MetricsSettings) -> Database:
    database = Database(own.database)
    database.check()
    return database


def _last_sequence(data: Path) -> int | None:
    """Of the stream; None where it can't be asked: the database is worth a look without."""

    async def last(bus: Bus) -> int:
        async with reading(bus, USAGE, READ_WITHIN_S) as reader:
            found = await reader.last(PATTERN)
        return 0 if found is None else found.sequence

    try:
        return run(data, last)
    except (BusError, SettingsError) as error:
        say(f"droveway: how far the stream is isn't known: {error}")
        return None


def _status_rows(found: LedgerStatus, last: int | None) -> Iterator[tuple[str, str]]:
    yield ("database", found.database)
    schema = found.schema or "none yet"
    behind = "" if found.schema == found.latest_schema else f", this program's is {latest()}"
    yield ("schema", schema + behind)
    standing = found.position
    if standing is not None:
        at = moment_text(standing.stored_ms) if standing.stored_ms else "unknown"
        yield ("counted up to", f"{standing.sequence}, stored {at}")
        yield ("counted by", standing.writer or "nobody")
    if standing is not None and last is not None:
        yield ("lag", f"{max(0, last - standing.sequence)} rows of the stream's {last}")
    for name, number in found.rows.items():
        yield (name, f"{number:,}")
    if found.oldest_ms is not None:
        yield ("oldest row", moment_text(found.oldest_ms))
    yield ("size", f"{found.bytes / 2**20:,.1f} MiB")
