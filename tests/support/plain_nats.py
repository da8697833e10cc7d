"""A real nats-server with a configuration of the test's own, and without users unless told."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from droveway.cli import nats_server, ports
from droveway.cli.nats_config import NatsServerSettings
from droveway.runtime.bus import Bus, BusSettings
from tests.support.steady_port import steady_port

START_LIMIT_S = 10


class PlainNats:
    """One server on a free port; `config` is added to its configuration."""

    def __init__(self, folder: Path, config: str = "", *, jetstream: bool = True) -> None:
        self.port = steady_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.settings = BusSettings(servers=(self.url,))
        self._folder = folder
        self._jetstream = jetstream
        self._process: subprocess.Popen[bytes] | None = None
        self._write(config)

    def start(self) -> None:
        """Starts the server, again on the same port and files after `kill`."""
        binary = nats_server.find(NatsServerSettings())
        self._process = subprocess.Popen([binary, "-c", self._path], stderr=subprocess.DEVNULL)
        ports.wait_for_nats("127.0.0.1", self.port, START_LIMIT_S)

    def kill(self) -> None:
        """Ends the server as a power cut would end the process."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def signal(self, number: int) -> None:
        """SIGSTOP makes it a black hole, from the return on; SIGCONT brings it back."""
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitpid(self._process.pid, os.WUNTRACED)

    def reload(self, config: str) -> None:
        """Gives a running server another configuration."""
        self._write(config)
        self.signal(signal.SIGHUP)

    @property
    def _path(self) -> Path:
        return self._folder / "server.conf"

    def _write(self, config: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        store = json.dumps(str(self._folder / "jetstream"))
        jetstream = f"jetstream {{ store_dir: {store} }}\n" if self._jetstream else ""
        self._path.write_text(f"listen: 127.0.0.1:{self.port}\n{jetstream}{config}\n")


@contextmanager
def serving_plain(folder: Path, config: str = "", *, jetstream: bool = True) -> Iterator[PlainNats]:
    """A running server for the length of a block."""
    server = PlainNats(folder, config, jetstream=jetstream)
    server.start()
    try:
        yield server
    finally:
        server.kill()


async def make_bucket(bus: Bus, bucket: str, **fields: object) -> None:
    """Creates the stream behind a KV bucket, as the set-up job does."""
    definition = {
        "name": f"KV_{bucket}",
        "subjects": [f"$KV.{bucket}.>"],
        "max_msgs_per_subject": 1,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "storage": "file",
    }
    await bus.jetstream(f"STREAM.CREATE.KV_{bucket}", definition | fields)
