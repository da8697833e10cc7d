"""`droveway config show` and `diff`: files and revisions as a person would write them."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.text import Text

from droveway.cli.admin_session import printable, run, say
from droveway.cli.config import own_file, to_yaml
from droveway.cli.data_folder import DataFolder
from droveway.contracts.config import Config
from droveway.contracts.configuration import AppliedConfig, version_of
from droveway.runtime.access_errors import EntryMissing, StoreUnavailable
from droveway.runtime.bus import Bus
from droveway.runtime.config.file import load
from droveway.runtime.config.store import ConfigStore

EX_DIFFERENT = 1
_STYLES = {"+": "green", "-": "red", "@": "cyan"}
_AROUND = 3
"""Unchanged lines that stand around each change."""
_MAX_DIGITS = 18


class _Side(NamedTuple):
    name: str
    config: Config


def show(data: Path, revision: int | None, console: Console) -> None:
    """Prints a revision as YAML; without one what is in force.

    Raises:
        DrovewayError: There is none, or it can't be read.
    """

    async def look(bus: Bus) -> tuple[int, AppliedConfig] | None:
        store = ConfigStore(bus)
        if revision is not None:
            return revision, await store.at(revision)
        return await _in_force(store)

    found = run(data, look)
    if found is None:
        path = _own(data)
        config = load(path)
        say(f"nothing is applied: each service holds what its file says; this is {path}")
        header = f"version {version_of(config)}"
    else:
        number, applied = found
        config = applied.config
        header = f"revision {number}, version {applied.version}, {applied.at}, {applied.by}"
    console.file.write(to_yaml(config, printable(header)))


def diff(data: Path, first: str, second: str, console: Console) -> int:
    """Prints in what two files or revisions differ; the exit code is that of `diff`.

    Args:
        data: The folder of `droveway up`.
        first: A file or a revision's number; empty: what is in force.
        second: The same; empty: this machine's file. One alone stands against what is in force.
        console: Where to.

    Raises:
        DrovewayError: One of them is bad, isn't there, or can't be read.
    """
    words = ("", first) if first and not second else (first, second or _own(data))
    stored = {word for word in words if not word or _is_revision(word)}
    found = run(data, lambda bus: _sides(bus, stored)) if stored else {}
    old, new = (found.get(word) or _Side(word, load(word)) for word in words)
    for line in lines(old.config, new.config, old.name, new.name):
        console.print(Text(line, _STYLES.get(line[:1], "")))
    return EX_DIFFERENT if version_of(old.config) != version_of(new.config) else 0


def lines(old: Config, new: Config, old_name: str, new_name: str) -> Iterator[str]:
    """A unified diff of both as YAML in one form, whatever their own is."""
    first, second = (to_yaml(_in_order(one)).splitlines() for one in (old, new))
    return difflib.unified_diff(first, second, old_name, new_name, lineterm="", n=_AROUND)


async def _sides(bus: Bus, words: set[str]) -> dict[str, _Side]:
    store = ConfigStore(bus)
    found = {}
    for word in words:
        if word:
            found[word] = _Side(f"revision {word}", (await store.at(int(word))).config)
            continue
        present = await _in_force(store)
        if present is None:
            raise EntryMissing(
                "nothing is applied: each service holds what its file says; name two files"
            )
        found[word] = _Side(f"revision {present[0]} (in force)", present[1].config)
    return found


async def _in_force(store: ConfigStore) -> tuple[int, AppliedConfig] | None:
    """The entry with its revision; None where files hold.

    Raises:
        StoreUnavailable: It can't be read.
    """
    standing = await store.current()
    if standing.unreadable:
        raise StoreUnavailable(standing.unreadable)
    return None if standing.applied is None else (standing.revision, standing.applied)


def _is_revision(word: str) -> bool:
    """A file called `3` is named by `./3`."""
    return word.isascii() and word.isdecimal() and len(word) <= _MAX_DIGITS


def _own(data: Path) -> str:
    """This machine's file; an empty one was just made by the shell, for this very output."""
    path = own_file()
    if path is None or (path.is_file() and not path.stat().st_size):
        path = DataFolder(data).config
    return str(path)


def _in_order(config: Config) -> Config:
    """Names of mappings sorted, since their order says nothing."""
    aliases = dict(sorted(config.aliases.items()))
    providers = tuple(
        msgspec.structs.replace(one, prices=dict(sorted(one.prices.items())))
        for one in config.providers
    )
    return msgspec.structs.replace(config, aliases=aliases, providers=providers)
