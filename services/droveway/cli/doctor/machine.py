"""What this machine itself tells: the configuration file, the data folder, files with secrets."""

import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from droveway.cli.config import own_file
from droveway.cli.data_folder import DataFolder
from droveway.cli.doctor.evidence import LocalFile, Machine
from droveway.runtime.config.file import load
from droveway.runtime.errors import SettingsError

MOST_FILES = 1_000
"""Seeds that are looked at."""


def local_file(data: Path) -> LocalFile:
    """The file that commands of this machine go by, if there is one."""
    named = own_file()
    path = named or DataFolder(data).config
    if named is None and not path.exists():
        return LocalFile()
    try:
        return LocalFile(str(path), load(str(path)))
    except SettingsError as error:
        return LocalFile(str(path), None, str(error))


def data_folder(data: Path) -> Machine:
    """The folder of `droveway up`, where there is one."""
    folder = DataFolder(data)
    try:
        usage = shutil.disk_usage(folder.path)
        secrets = [folder.path / "key", *_seeds(folder.nats)]
    except OSError:
        return Machine()
    private = (str(path) for path in secrets if _mode(path) & (stat.S_IRWXG | stat.S_IRWXO))
    return Machine(str(folder.path), usage.free, usage.total, tuple(private))


def exposed(files: Iterable[str]) -> tuple[str, ...]:
    """Those that everybody can read; a group may, as files that Kubernetes mounts have one."""
    return tuple(path for path in files if path and _mode(Path(path)) & stat.S_IRWXO)


def _seeds(nats: Path) -> Iterator[Path]:
    for number, path in enumerate(nats.rglob("*.nk")):
        if number >= MOST_FILES:
            return
        yield path


def _mode(path: Path) -> int:
    """0: it isn't there."""
    try:
        return path.stat().st_mode
    except OSError:
        return 0
