"""The first connection of a process, its credentials, and what it says when one fails."""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from droveway.otel.logs import log_event
from droveway.runtime.bus.bus import Bus
from droveway.runtime.bus.client import NO_JWT, NO_TLS, DirectClient, picker
from droveway.runtime.bus.settings import BusSettings
from droveway.runtime.errors import SettingsError

log = logging.getLogger(__name__)

REPEAT_AFTER_S = 60.0
"""An error that stays is logged once per this long, however often it is met."""
_MAX_TEXTS = 64
_REFUSALS = (
    *("authorization violation", "authentication revoked", "authentication expired"),
    *(NO_JWT.lower(), NO_TLS.lower()),
)
"""What won't get better by trying again at once."""


@asynccontextmanager
async def connect(settings: BusSettings, service: str, instance: str) -> AsyncIterator[Bus]:
    """A connected bus, closed on leaving.

    Raises:
        SettingsError: The broker refuses the credentials, or none is there.
    """
    where = ", ".join(urlsplit(server).netloc.rpartition("@")[2] for server in settings.servers)
    tls = _tls(settings)
    client = DirectClient(settings.max_unsent_bytes, tls)
    bus = Bus(client, settings, service, instance)
    try:
        if tls is not None:
            tls()
        async with asyncio.timeout(settings.connect_within_s):
            await _first_connection(client, bus, settings)
    except Exception as error:
        client.abort()
        reason = client.last_error or error
        raise SettingsError(f"can't connect to NATS at {where}: {reason}") from error
    try:
        await bus.listen_to_inboxes()
        yield bus
    finally:
        await client.close_within(settings.close_within_s)
        await bus.link.on_disconnect()


async def _first_connection(client: DirectClient, bus: Bus, settings: BusSettings) -> None:
    """Tries until a broker takes us; refused credentials won't get better by trying."""
    connected = False
    complaints = _Complaints()

    async def on_error(error: Exception) -> None:
        complaints.tell(error)
        if not connected and _is_final(error):
            raise error

    _check_files(settings)
    await client.connect(
        list(settings.servers),
        name=f"droveway-{bus.instance}",
        nkeys_seed=settings.nkey_file or None,
        user_credentials=settings.credentials_file or None,
        user=settings.user or None,
        password=settings.password or None,
        token=settings.token or None,
        connect_timeout=settings.connect_timeout_s,
        allow_reconnect=True,
        max_reconnect_attempts=-1,
        ping_interval=5,
        max_outstanding_pings=2,
        pending_size=settings.max_unsent_bytes,
        error_cb=on_error,
        disconnected_cb=bus.link.on_disconnect,
        reconnected_cb=bus.link.on_reconnect,
        closed_cb=bus.link.on_closed,
        reconnect_to_server_handler=picker(settings.reconnect_base_s, settings.reconnect_cap_s),
    )
    connected = True


class _Complaints:
    """Logs each error text once a minute: a broker that stays away is met each second."""

    def __init__(self) -> None:
        self._told_s: dict[str, float] = {}

    def tell(self, error: Exception) -> None:
        text = (str(error) or type(error).__name__)[:300]
        now_s = time.monotonic()
        told_s = self._told_s.get(text)
        if told_s is not None and now_s - told_s < REPEAT_AFTER_S:
            return
        if len(self._told_s) >= _MAX_TEXTS:
            self._told_s.clear()
        self._told_s[text] = now_s
        if _is_final(error):
            advice = "is the user of this process known to the server, with this key?"
            log_event(log, "bus_refused", level=logging.ERROR, error=text, advice=advice)
        else:
            log_event(log, "bus_error", level=logging.WARNING, error=text)


def _is_final(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, ssl.SSLCertVerificationError) or any(
        refusal in text for refusal in _REFUSALS
    )


def _check_files(settings: BusSettings) -> None:
    for path in (settings.nkey_file, settings.credentials_file):
        if path:
            Path(path).read_bytes()  # a missing file is no reason to go on trying


def _tls(settings: BusSettings) -> Callable[[], ssl.SSLContext] | None:
    """How to make the TLS context of one connection; None when no TLS file is set."""
    if not (settings.tls_ca_file or settings.tls_cert_file):
        return None

    def make() -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=settings.tls_ca_file or None)
        if settings.tls_cert_file:
            context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file or None)
        return context

    return make
