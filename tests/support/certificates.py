"""Authorities and the certificates of servers on loopback, made by openssl for one test run."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

OPENSSL = shutil.which("openssl")
NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:provider.test"
_DAYS = ("-days", "2")


class Authority:
    """An authority of its own, and servers that it vouches for.

    Attributes:
        file: Its certificate, as PEM.
    """

    def __init__(self, folder: Path) -> None:
        if OPENSSL is None:
            pytest.skip("needs openssl")
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self.file = folder / "ca.pem"
        _request(
            folder, "ca", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip

    def server(self, names: str = NAMES) -> ssl.SSLContext:
        """The context of a server with these names."""
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", names)
        _request(self._folder, "server", "-addext", "basicConstraints=CA:FALSE", *signed)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "server.pem", self._folder / "server.key")
        return context


def _request(folder: Path, name: str, *extra: str) -> None:
    assert OPENSSL is not None
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    files = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={folder.name} {name}")
    command = (OPENSSL, "req", "-x509", *new_key, *files, *_DAYS, *extra)
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=10)
