"""`droveway keys import`: keys that clients have already, by SHA-256; never the keys themselves.

CSV with a heading (`sha256` and any of `id`, `tenant`, `state`, `expires`, `models`, `addresses`,
of which the last two are split at blanks), or JSON: a list of entries as in the configuration file.
"""

import asyncio
import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from droveway.cli.admin_session import run, say
from droveway.cli.in_force import in_file
from droveway.contracts.access import Key
from droveway.contracts.audit import Author
from droveway.contracts.envelope import MALFORMED
from droveway.runtime.access_checks import key_findings
from droveway.runtime.access_errors import EntryInvalid
from droveway.runtime.access_store import AccessStore, keys_store
from droveway.runtime.api_key import new_id
from droveway.runtime.audit_trail import local_author
from droveway.runtime.bus import Bus
from droveway.runtime.errors import DrovewayError, SettingsError

MAX_IMPORT_BYTES = 64 * 1024 * 1024
MAX_FINDINGS = 20
AT_ONCE = 16
"""Keys that are written at the same time."""
_LISTS = ("models", "addresses")
_HOW = 'of the whole key: printf %s "$KEY" | sha256sum'


class Imported(NamedTuple):
    """What became of the rows."""

    made: int
    known: int
    """Their hashes were there already."""
    failed: tuple[str, ...]


def command(data: Path, source: str, tenant: str) -> None:
    """Imports a file, or standard input for `-`; a second run makes nothing twice.

    Raises:
        SettingsError: The file can't be read, or rows in it are wrong; then nothing is imported.
        DrovewayError: Some keys couldn't be stored.
    """
    keys = read(_text(source), tenant)
    hidden = {key.sha256 for key in in_file(data).keys.values()}
    done = run(data, lambda bus: store_all(bus, keys, hidden, local_author()))
    say(f"{done.made} imported, {done.known} were there already, {len(done.failed)} failed")
    if done.failed:
        raise DrovewayError("not imported: " + "; ".join(done.failed[:MAX_FINDINGS]))


def read(text: bytes, tenant: str) -> list[Key]:
    """The keys of a file, each checked.

    Raises:
        EntryInvalid: Rows are wrong; all of them, up to a bound.
    """
    keys: list[Key] = []
    findings: list[str] = []
    for number, row in enumerate(_rows(text), start=1):
        if len(findings) == MAX_FINDINGS:
            break
        try:
            keys.append(_key(row, tenant))
        except EntryInvalid as error:
            findings.append(f"row {number}: {error}")
    for field in ("id", "sha256"):
        values = [getattr(key, field) for key in keys]
        if len(set(values)) < len(values):
            findings.append(f"an {field} stands twice; each must be unique")
    if findings:
        raise EntryInvalid("; ".join(findings))
    return keys


async def store_all(bus: Bus, keys: list[Key], hidden: set[str], author: Author) -> Imported:
    """Stores those whose hash isn't there yet.

    Raises:
        StoreUnavailable: The bucket can't be read.
    """
    store = keys_store(bus)
    known = hidden | {entry.value.sha256 for entry in await store.all()}
    wanted = [key for key in keys if key.sha256 not in known]
    failed: list[str] = []
    gate = asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as tasks:
        for key in wanted:
            await gate.acquire()
            tasks.create_task(_store(store, key, author, failed, gate))
    return Imported(len(wanted) - len(failed), len(keys) - len(wanted), tuple(failed))


async def _store(
    store: AccessStore[Key], key: Key, author: Author, failed: list[str], gate: asyncio.Semaphore
) -> None:
    try:
        await store.create(key, author)
    except DrovewayError as error:
        failed.append(f"{key.id}: {error}")
    finally:
        gate.release()


def _text(source: str) -> bytes:
    if source == "-":
        text = sys.stdin.buffer.read(MAX_IMPORT_BYTES + 1)
    else:
        try:
            with Path(source).open("rb") as file:
                text = file.read(MAX_IMPORT_BYTES + 1)
        except OSError as error:
            raise SettingsError(f"{source}: {error.strerror}") from None
    if len(text) > MAX_IMPORT_BYTES:
        raise SettingsError(f"{source}: over {MAX_IMPORT_BYTES} bytes")
    return text


def _rows(text: bytes) -> Iterator[dict[str, Any]]:
    if text.lstrip()[:1] in (b"[", b"{"):
        try:
            rows = msgspec.json.decode(text, type=list[dict[str, Any]])
        except MALFORMED as error:
            raise EntryInvalid(f"no JSON list of entries: {error}") from None
        yield from rows
        return
    try:
        reader = csv.DictReader(io.StringIO(text.decode("utf-8-sig"), newline=""), strict=True)
        for row in reader:
            if None in row or None in row.values():
                raise EntryInvalid(f"line {reader.line_num}: not as many fields as the heading has")
            yield {
                name.strip(): value.split() if name.strip() in _LISTS else value.strip()
                for name, value in row.items()
                if value.strip()
            }
    except (csv.Error, UnicodeDecodeError) as error:
        raise EntryInvalid(f"neither JSON nor CSV: {type(error).__name__}") from None


def _key(row: dict[str, Any], tenant: str) -> Key:
    """Messages never repeat a value: where a hash is expected, a key may stand by mistake."""
    if "sha256" not in row:
        raise EntryInvalid(f"no `sha256` ({_HOW}); a key itself is never imported")
    if isinstance(row["sha256"], str):
        row["sha256"] = row["sha256"].lower()
    try:
        key = msgspec.convert({"id": new_id(), "tenant": tenant, **row}, Key)
    except msgspec.ValidationError as error:
        reason = str(error)
        if "sha256" in reason:
            reason = f"sha256: expected 64 hex digits {_HOW}"
        raise EntryInvalid(reason) from None
    for finding in key_findings(key):
        raise EntryInvalid(finding)
    return key
