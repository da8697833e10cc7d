"""The configuration in force, as far as this machine knows it: the applied one, else its file."""

from pathlib import Path
from typing import NamedTuple

from droveway.cli.admin_session import run, say
from droveway.cli.config import own_file
from droveway.cli.data_folder import DataFolder
from droveway.contracts.access import Key, Tenant
from droveway.contracts.config import Config
from droveway.runtime.access_errors import EntryExists, StoreUnavailable
from droveway.runtime.config.entries import Standing
from droveway.runtime.config.file import load
from droveway.runtime.config.store import ConfigStore
from droveway.runtime.errors import SettingsError


class InFile(NamedTuple):
    """Keys and tenants of the configuration in force, as far as this machine knows it."""

    path: str
    keys: dict[str, Key]
    tenants: dict[str, Tenant]

    def refuse(self, kind: str, entry_id: str) -> None:
        """Refuses to change what stands in the file, which would go on winning.

        Raises:
            EntryExists: It stands there.
        """
        if entry_id in (self.keys if kind == "key" else self.tenants):
            raise EntryExists(f"the {kind} {entry_id!r} stands in {self.path}; change it there")


def in_file(data: Path) -> InFile:
    """The entries of what is in force; none where nothing is at hand or readable, which is told."""
    path, config = _file_of(data), None
    applied = _applied(data)
    if applied is not None:
        path, config = applied
    elif Path(path).exists():
        try:
            config = load(path)
        except SettingsError as error:
            say(f"droveway: entries of the file aren't known here: {error}")
    keys = {key.id: key for key in config.keys} if config else {}
    tenants = {tenant.id: tenant for tenant in config.tenants} if config else {}
    return InFile(path, keys, tenants)


def config_in_force(data: Path) -> Config:
    """What is applied, else the file of this machine, which has to be the services'.

    Raises:
        SettingsError: The file is bad, or the server can't be reached.
    """
    applied = _applied(data)
    return load(_file_of(data)) if applied is None else applied[1]


def surely_in_force(data: Path) -> Config:
    """The same for what can't be undone: no file stands in for what nobody can say.

    Raises:
        SettingsError: As `config_in_force`.
        StoreUnavailable: Whether a configuration is applied isn't known, or it can't be read.
    """
    standing = _standing(data)
    if standing.unreadable:
        raise StoreUnavailable(f"the applied configuration isn't known: {standing.unreadable}")
    return load(_file_of(data)) if standing.applied is None else standing.applied.config


def _standing(data: Path) -> Standing:
    return run(data, lambda bus: ConfigStore(bus).current())


def _applied(data: Path) -> tuple[str, Config] | None:
    """What is applied, and what it is called; None too where the bucket doesn't say."""
    try:
        standing = _standing(data)
    except StoreUnavailable as error:
        say(f"droveway: whether a configuration is applied isn't known: {error}")
        return None
    if standing.applied is None:
        return None
    return f"revision {standing.revision} of the configuration", standing.applied.config


def _file_of(data: Path) -> str:
    return str(own_file() or DataFolder(data).config)
