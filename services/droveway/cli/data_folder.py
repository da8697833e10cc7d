"""The data folder of `droveway up`: private files, written whole or not at all.

.droveway/
├── key              the first client key
├── droveway.yaml    generated from the environment at each start
├── ledger.db        what was used and what it cost (SQLite, with its two files beside it)
├── lock             held by the running `droveway up`
└── nats/            one NKey seed per user (of client keys in keys/), server.conf, server.json,
                     log, JetStream's files
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from droveway.runtime.api_key import KeyFormatError, make_key, parse_key
from droveway.runtime.errors import SettingsError

DEFAULT = Path(".droveway")


class ServerAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where the embedded nats-server listens; kept so that the next start and `trace` find it."""

    url: str


class DataFolder:
    """Paths and private files below one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.nats = self.path / "nats"
        self.config = self.path / "droveway.yaml"
        self.ledger = self.path / "ledger.db"
        self._server = self.nats / "server.json"

    def seed_file(self, user: str) -> Path:
        """Where the NKey seed of a NATS user is."""
        return self.nats / f"{user}.nk"

    def key_seed_file(self, key_id: str) -> Path:
        """Where the NKey seed of a client key's NATS user is."""
        return self.nats / "keys" / f"{key_id}.nk"

    def server_address(self) -> ServerAddress | None:
        """The embedded server's last address."""
        try:
            return msgspec.json.decode(self._server.read_bytes(), type=ServerAddress)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def remember_server(self, url: str) -> None:
        """Keeps the address of the nats-server that the services use."""
        text = msgspec.json.encode(ServerAddress(url=url)).decode()
        write_private(self._server, text + "\n")

    def first_key(self) -> str:
        """The client key made at the first start, the same ever after.

        Raises:
            SettingsError: The file holds something else.
        """
        path = self.path / "key"
        if not path.exists():
            write_private(path, make_key("local") + "\n")
        key = path.read_text(encoding="utf-8").strip()
        try:
            parse_key(key)
        except KeyFormatError as error:
            raise SettingsError(f"{path}: {error}; delete the file to get a new key") from None
        return key

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder for one `droveway up`; two on the same files would ruin them.

        Raises:
            SettingsError: Another one is running.
        """
        private_folder(self.path)
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SettingsError(
                    f"{self.path} is in use by another `droveway up`; stop it, or choose --data"
                ) from None
            yield


def private_folder(path: Path) -> None:
    """A folder that only its owner enters, made when it isn't there.

    Raises:
        SettingsError: It can't be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; choose another --data folder") from None


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner reads; a reader finds the old one or the new, whole."""
    private_folder(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
