"""A PostgreSQL server of a test's own; where the test is root, the package's own user runs it."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]

from droveway.cli import ports

OWNER = "postgres"
USER = "droveway"
READY_WITHIN_S = 20.0
_BINARIES = Path("/usr/lib/postgresql")


class Postgres:
    """One server with a cluster of its own; `kill` and `start` as often as a test likes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._password = secrets.token_hex(16)
        self._port = ports.free()
        self._process: subprocess.Popen[bytes] | None = None
        told = folder / "password"
        told.write_text(self._password)
        self._own(told)
        self._run("initdb", "-D", f"{folder}/data", "-U", USER, "--auth=scram-sha-256",
                  f"--pwfile={told}", "--no-sync", "--encoding=UTF8", "--locale=C")  # fmt: skip

    def url(self, database: str) -> str:
        """Where a database is, with its password."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self._port}/{database}"

    async def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"ledger_{secrets.token_hex(4)}"
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return self.url(name)

    def start(self) -> None:
        """Starts it and waits until it takes connections."""
        options = ["-p", str(self._port), "-c", "listen_addresses=127.0.0.1",
                   "-c", "unix_socket_directories=", "-c", "fsync=off"]  # fmt: skip
        self._process = subprocess.Popen(
            [_binary("postgres"), "-D", f"{self._folder}/data", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **_as_owner(),  # type: ignore[call-overload]
        )
        until_s = time.monotonic() + READY_WITHIN_S
        ready = [_binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        while subprocess.run(ready, check=False).returncode:
            assert self._process.poll() is None, "PostgreSQL has ended"
            assert time.monotonic() < until_s, "PostgreSQL isn't ready"
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGQUIT: it and all its children end at once, as in a crash."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(10)
            self._process = None

    def _own(self, path: Path) -> None:
        if os.getuid() == 0:
            shutil.chown(path, OWNER)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [_binary(program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            **_as_owner(),  # type: ignore[call-overload]
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def serving() -> Iterator[Postgres]:
    """A running server; its cluster is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="droveway-pg-") as name:
        folder = Path(name)
        if os.getuid() == 0:
            shutil.chown(folder, OWNER)
        server = Postgres(folder)
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.kill()


def _binary(name: str) -> str:
    found = sorted(_BINARIES.glob(f"*/bin/{name}"))
    path = str(found[-1]) if found else shutil.which(name)
    assert path, f"{name} isn't installed: Debian's package postgresql has it"
    return path


def _as_owner() -> dict[str, object]:
    """PostgreSQL refuses to be run by root."""
    if os.getuid() != 0:
        return {}
    owner = pwd.getpwnam(OWNER)
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": [], "cwd": "/"}
