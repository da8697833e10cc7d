"""A real nats-server with the generated users and permissions, on a free port.

A test module gets it by importing the fixture:
`from tests.support.nats import nats  # noqa: F401`.
"""

import asyncio
import base64
import json
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import nkeys
import pytest

from droveway.cli import nats_server, ports, setup
from droveway.cli.config import to_yaml
from droveway.cli.data_folder import DataFolder
from droveway.cli.nats_config import NatsServerSettings
from droveway.cli.nats_users import ensure_key_user
from droveway.contracts.access import Key, Limit
from droveway.contracts.config import Config, Price, Provider, Route, RouteTarget, Tier, Timeouts
from droveway.contracts.envelope import new_instance
from droveway.runtime.api_key import hash_key, parse_key
from droveway.runtime.bus import Bus, BusSettings, connect
from tests.support.steady_port import steady_port

START_LIMIT_S = 10


class NatsServer:
    """One running server; its data folder is like that of `droveway up`."""

    def __init__(self, folder: DataFolder, port: int) -> None:
        self.folder = folder
        self.url = f"nats://127.0.0.1:{port}"
        self.key_users: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def add_key_user(self, key_id: str) -> Path:
        """Gives a client key a NATS user, known at once; returns its seed's path."""
        if key_id in self.key_users:  # while a server reads its file anew it may refuse users
            return self.folder.key_seed_file(key_id)
        self.key_users[key_id] = ensure_key_user(self.folder, key_id)
        if self._process is not None and self._process.poll() is None:
            self._write_config()
            self._process.send_signal(signal.SIGHUP)
            until_s = time.monotonic() + START_LIMIT_S
            while not _is_known(self._port, self.folder.key_seed_file(key_id)):
                assert time.monotonic() < until_s, "the server doesn't take the new user"
        return self.folder.key_seed_file(key_id)

    def settings(self, user: str) -> BusSettings:
        """How `user` connects."""
        return BusSettings(servers=(self.url,), nkey_file=str(self.folder.seed_file(user)))

    @asynccontextmanager
    async def bus(self, user: str) -> AsyncIterator[Bus]:
        """A connected bus of `user`, which watches itself as a service's does."""
        async with connect(self.settings(user), user, new_instance(user)) as bus:
            yield bus

    def environment(self, *users: str) -> dict[str, str]:
        """What services are told about this server."""
        seeds = {
            f"DROVEWAY_{user.upper()}_NATS_NKEY_FILE": str(self.folder.seed_file(user))
            for user in users
        }
        return {"DROVEWAY_NATS_URL": self.url, **seeds}

    def start(self) -> None:
        """Starts the server on its port and its files."""
        config = self._write_config()
        binary = nats_server.find(NatsServerSettings())
        self._process = subprocess.Popen([binary, "-c", config], stderr=subprocess.DEVNULL)
        ports.wait_for_nats("127.0.0.1", self._port, START_LIMIT_S)
        self.folder.remember_server(self.url)

    def kill(self) -> None:
        """Ends the server as a power cut would end the process."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def _port(self) -> int:
        return urlsplit(self.url).port or 0

    def _write_config(self) -> Path:
        return nats_server.write_config(
            self.folder, self._port, NatsServerSettings(), self.key_users
        )

    def pause(self, number: int) -> None:
        """Sends a signal: SIGSTOP makes it a black hole, SIGCONT brings it back."""
        assert self._process is not None
        self._process.send_signal(number)


def _is_known(port: int, seed: Path) -> bool:
    """Whether the server takes a user, in plain protocol: blocks for a millisecond."""
    pair = nkeys.from_seed(seed.read_bytes().strip())
    with socket.create_connection(("127.0.0.1", port), START_LIMIT_S) as connection:
        info = json.loads(connection.recv(65_536).removeprefix(b"INFO ").partition(b"\r\n")[0])
        signature = base64.urlsafe_b64encode(pair.sign(info["nonce"].encode())).rstrip(b"=")
        about = {"verbose": False, "nkey": pair.public_key.decode(), "sig": signature.decode()}
        try:
            connection.sendall(b"CONNECT " + json.dumps(about).encode() + b"\r\nPING\r\n")
            return connection.recv(65_536).startswith(b"PONG")
        except ConnectionError:
            return False  # it is just reading its configuration anew


@contextmanager
def serving(path: Path, *, set_up: bool = True) -> Iterator[NatsServer]:
    """A server below `path` for the length of a block, with streams unless told otherwise."""
    server = NatsServer(DataFolder(path), steady_port())
    server.start()
    try:
        if set_up:
            asyncio.run(setup.run(server.settings("setup"), setup.SetupSettings()))
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One server for the whole test session, with all streams."""
    with serving(tmp_path_factory.mktemp("nats")) as server:
        yield server


def droveway_config(
    *upstreams: str,
    key: str = "",
    requests: int = 1000,
    window_s: float = 60.0,
    timeouts: Timeouts | None = None,
    prices: dict[str, Price] | None = None,
) -> Config:
    """A configuration whose route `*` tries the upstream base URLs one after the other."""
    names = [f"upstream-{number}" for number in range(1, len(upstreams) + 1)]
    providers = tuple(
        Provider(id=name, base_url=url, timeouts=timeouts or Timeouts(), prices=prices or {})
        for name, url in zip(names, upstreams, strict=True)
    )
    tiers = tuple(Tier(targets=(RouteTarget(provider=name),)) for name in names)
    limits = (Limit(requests=requests, window_s=window_s),)
    keys = (Key(id=parse_key(key).id, sha256=hash_key(key), limits=limits),) if key else ()
    return Config(providers=providers, routes=(Route(model="*", tiers=tiers),), keys=keys)


def write_droveway_config(path: Path, config: Config) -> Path:
    """Writes a configuration where a service can read it."""
    path.write_text(to_yaml(config), encoding="utf-8")
    return path
