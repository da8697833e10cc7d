"""TCP ports of this machine."""

import secrets
import socket
import time
from collections.abc import Iterator

from droveway.runtime.errors import SettingsError

_NEXT_PORTS = 100
_POLL_S = 0.01

_TRIES = 1_000
_SERVERS = range(20_000, 32_000)
"""Below those that Linux gives to connections, which begin at 32,768."""
_given: set[int] = set()


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((host, port))
        except OSError:
            return False
    return True


def free(wanted: int = 0, host: str = "127.0.0.1") -> int:
    """`wanted` when it is free, else any that is; never the same one twice.

    Raises:
        SettingsError: None was found.
    """
    if wanted and is_free(wanted, host):
        port = wanted
    else:
        port = next((one for one in _drawn() if is_free(one, host)), 0)
    if not port:
        raise SettingsError(f"no free port on {host} among {_TRIES} tried; name one")
    _given.add(port)
    return port


def _drawn() -> Iterator[int]:
    """Ports that no client's connection gets before a server listens there."""
    for _ in range(_TRIES):
        port = secrets.choice(_SERVERS)
        if port not in _given:
            yield port


def next_free(first: int, host: str) -> int:
    """The first free port from `first` on.

    Raises:
        SettingsError: There is none among the next hundred.
    """
    for port in range(first, min(first + _NEXT_PORTS, 65_536)):
        if is_free(port, host):
            return port
    raise SettingsError(f"no free port on {host} from {first} on; name one with --port")


def wait_for_nats(host: str, port: int, limit_s: float) -> None:
    """Waits until a NATS server greets there.

    Raises:
        SettingsError: Nothing or something else answers for `limit_s`.
    """
    until_s = time.monotonic() + limit_s
    seen = "nothing listens"
    while time.monotonic() < until_s:
        try:
            with socket.create_connection((host, port), timeout=limit_s) as client:
                greeting = client.recv(5)
        except OSError as error:
            seen = str(error)
        else:
            if greeting == b"INFO ":
                return
            seen = "what listens there is no NATS server"
        time.sleep(_POLL_S)  # another program's start can't be awaited otherwise
    raise SettingsError(f"no NATS server at {host}:{port} within {limit_s:.0f} s: {seen}")
