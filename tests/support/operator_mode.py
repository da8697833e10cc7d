"""A nats-server in operator mode, whose users come with a signed JWT: what `.creds` files are for.

Source: nats-server documentation, "JWT authentication"; JWT claims of version 2.
"""

import base64
import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nkeys

from droveway.cli import nats_server, ports
from droveway.cli.nats_config import NatsServerSettings
from droveway.contracts.permissions import USERS
from droveway.runtime.bus import BusSettings

_UNLIMITED = {"subs": -1, "data": -1, "payload": -1}
_ACCOUNT_LIMITS = {
    **_UNLIMITED, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1,
}  # fmt: skip
START_LIMIT_S = 10


class Identity:
    """An NKey of an operator, account or user."""

    def __init__(self, prefix: int) -> None:
        self.seed: bytes = nkeys.encode_seed(secrets.token_bytes(32), prefix)
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.public: str = self._pair.public_key.decode()

    def sign(self, subject: "Identity", kind: str, claims: dict[str, Any]) -> str:
        """A JWT about `subject`."""
        head = _base64(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
        body = {
            "jti": secrets.token_hex(16),
            "iat": int(time.time()),
            "iss": self.public,
            "name": kind,
            "sub": subject.public,
            "nats": {"type": kind, "version": 2, **claims},
        }
        signed = f"{head}.{_base64(json.dumps(body).encode())}"
        return f"{signed}.{_base64(self._pair.sign(signed.encode()))}"


class OperatorModeServer:
    """A running server and the `.creds` files of its users."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"nats://127.0.0.1:{ports.free()}"
        self._account = Identity(nkeys.PREFIX_BYTE_ACCOUNT)
        operator = Identity(nkeys.PREFIX_BYTE_OPERATOR)
        account = operator.sign(self._account, "account", {"limits": _ACCOUNT_LIMITS})
        config = folder / "server.conf"
        config.write_text(
            f"listen: 127.0.0.1:{self.url.rpartition(':')[2]}\n"
            f"operator: {operator.sign(operator, 'operator', {})}\n"
            "resolver: MEMORY\n"
            f"resolver_preload: {{ {self._account.public}: {account} }}\n"
        )
        self.command = (nats_server.find(NatsServerSettings()), "-c", str(config))

    def creds(self, name: str) -> Path:
        """A file for the user of the permission table: its allow-lists are in the JWT."""
        (allowed,) = (user for user in USERS if user.name == name)
        user = Identity(nkeys.PREFIX_BYTE_USER)
        jwt = self._account.sign(
            user,
            "user",
            {
                **_UNLIMITED,
                "pub": {"allow": list(allowed.publish)},
                "sub": {"allow": list(allowed.subscribe)},
            },
        )
        path = self.folder / f"{name}.creds"
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n"
            "------END USER NKEY SEED------\n"
        )
        return path

    def settings(self, name: str) -> BusSettings:
        """How a user of the table connects."""
        return BusSettings(servers=(self.url,), credentials_file=str(self.creds(name)))


@contextmanager
def serving(folder: Path) -> Iterator[OperatorModeServer]:
    """A server for the length of a block."""
    server = OperatorModeServer(folder)
    process = subprocess.Popen(server.command, stderr=subprocess.DEVNULL)
    try:
        ports.wait_for_nats("127.0.0.1", int(server.url.rpartition(":")[2]), START_LIMIT_S)
        yield server
    finally:
        process.kill()
        process.wait()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
