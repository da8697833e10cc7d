"""One running gateway with everything behind it, and a client of it that behaves badly."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from droveway.contracts.access import Key, Limit
from droveway.contracts.config import Config, Route, RouteTarget, Tier
from droveway.otel.logs import JsonFormatter
from droveway.runtime.api_key import checksum, hash_key, make_key, parse_key
from tests.support.nats import NatsServer
from tests.support.raw_http import RawAnswer, RawConnection, raw_connection
from tests.support.stack import PROVIDER_KEY, Stack, running_stack
from tests.support.upstream import Peer, ScriptedUpstream, answer

CANARY = "canary-51c9"
MAX_BODY_BYTES = 200_000
ENVIRONMENT = {
    "DROVEWAY_GATEWAY_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
    "DROVEWAY_GATEWAY_CONNECT_IDLE_S": "0.4",
    "DROVEWAY_GATEWAY_HEADER_TIMEOUT_S": "0.4",
    "DROVEWAY_GATEWAY_BODY_BASE_S": "0.4",
    "DROVEWAY_GATEWAY_WRITE_STALL_S": "0.5",
    "DROVEWAY_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS": "50",
}
_LINES = ("request", "http_refused")


class Line(NamedTuple):
    """What one request left in the log."""

    event: str
    request_id: str
    status: int
    fields: dict[str, Any]


class RecordedLog(logging.Handler):
    """Every record of every logger, as it is written and as it was before masking."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter("gateway"))
        self.texts: list[str] = []
        self.lines: list[Line] = []
        self.failures: list[str] = []
        self._changed = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        unmasked = f"{record.getMessage()} {record.exc_text} {getattr(record, 'fields', '')}"
        self.texts.append(f"{self.format(record)} {unmasked}")
        fields = getattr(record, "fields", {})
        if record.getMessage() in _LINES:
            where = str(fields.get("request_id", "")), int(fields.get("status", 0))
            self.lines.append(Line(record.getMessage(), *where, fields))
            self._changed.set()
        if record.levelno >= logging.ERROR:
            self.failures.append(self.texts[-1])

    async def line_of(self, request_id: str, within_s: float = 2.0) -> Line:
        """The one line of a request, which may come a moment after its answer."""
        async with asyncio.timeout(within_s):
            while True:
                found = [line for line in self.lines if line.request_id == request_id]
                if found:
                    assert len(found) == 1
                    return found[0]
                self._changed.clear()
                await self._changed.wait()


class World:
    """The stack, its log, and the keys that stand for `<name>` in a request's bytes."""

    def __init__(self, stack: Stack, log: RecordedLog, scripted: "Scripted") -> None:
        self.stack = stack
        self.log = log
        self.scripted = scripted
        self.keys = scripted.keys | {"key": stack.key, **_wrong_keys(stack.key)}

    @property
    def upstream_requests(self) -> int:
        """How many requests reached a provider."""
        return self.stack.simulator.book.totals.requests + len(self.scripted.bodies)

    def filled(self, data: bytes) -> bytes:
        """The bytes with keys in the place of their names."""
        for name, key in self.keys.items():
            data = data.replace(f"<{name}>".encode(), key.encode())
        return data

    def secrets(self) -> list[str]:
        """What may stand in no log, metric or answer."""
        return [CANARY, PROVIDER_KEY, *self.keys.values()]

    async def ask(self, data: bytes, address: str = "127.0.0.1") -> RawAnswer:
        """Send bytes on a connection of their own and read one answer."""
        async with self.connection(address) as client:
            await client.send(self.filled(data))
            return await client.read_answer()

    @asynccontextmanager
    async def connection(self, address: str = "127.0.0.1") -> AsyncIterator[RawConnection]:
        """A connection from one of loopback's addresses."""
        if address == "127.0.0.1":
            async with raw_connection(self.stack.port) as client:
                yield client
            return
        with socket.socket() as peer:
            peer.setblocking(False)
            peer.bind((address, 0))
            target = ("127.0.0.1", self.stack.port)
            await asyncio.get_running_loop().sock_connect(peer, target)
            yield RawConnection(peer)

    def upstream_body(self) -> dict[str, Any]:
        """The last request body that the simulator has seen."""
        book = self.stack.simulator.book
        body: dict[str, Any] = msgspec.json.decode(book.body(book.entries[-1].id) or b"")
        return body


class Scripted:
    """A provider that answers with bytes of the test's own."""

    def __init__(self) -> None:
        self.reply = answer()
        self.bodies: list[bytes] = []
        self.keys = {name: make_key("test") for name in ("off", "new", "old", "other", "narrow")}

    async def __call__(self, peer: Peer) -> None:
        while True:
            self.bodies.append((await peer.request()).body)
            await peer.send(self.reply)

    def says(self, body: bytes, *, stream: bool) -> None:
        """Makes every further answer this one."""
        kind = "text/event-stream" if stream else "application/json"
        self.reply = answer(body, headers={"content-type": kind})

    def configure(self, config: Config, url: str) -> Config:
        """Adds this provider, its model `scripted` and keys in every state.

        The model `translated` is the simulator's too, as a provider of Anthropic's dialect.
        """
        provider = msgspec.structs.replace(
            config.providers[0], id="scripted", base_url=f"{url}/v1", models=("gpt-a", "other")
        )
        messages = msgspec.structs.replace(config.providers[0], id="messages", dialect="anthropic")
        targets = (RouteTarget(provider="scripted"),)
        route = Route(model="scripted", tiers=(Tier(targets=targets),))
        numbered = (RouteTarget(provider="messages", model="numbered-3"),)
        translated = Route(model="translated", tiers=(Tier(targets=numbered),))
        few = (Limit(requests=1, window_s=60),)
        keys = (
            self._key("off", state="disabled"),
            self._key("new", state="not_activated"),
            self._key("old", expires="2026-01-01T00:00:00Z"),
            self._key("other", tenant="other"),
            self._key("narrow", models=("gpt-*",), limits=few),
        )
        return msgspec.structs.replace(
            config,
            providers=(*config.providers, provider, messages),
            routes=(*config.routes, route, translated),
            keys=(*config.keys, *keys),
        )

    def _key(self, name: str, **fields: Any) -> Key:
        key = self.keys[name]
        return Key(id=parse_key(key).id, sha256=hash_key(key), **fields)


def _wrong_keys(key: str) -> dict[str, str]:
    mistyped = key[:-1] + ("0" if key[-1] != "0" else "1")
    body = f"dw_test_{parse_key(key).id}_{'A' * 43}"
    return {
        "mistyped": mistyped,
        "wrong_secret": f"{body}_{checksum(body)}",
        "unknown": make_key("test"),
    }


@asynccontextmanager
async def running_world(nats: NatsServer, folder: Path) -> AsyncIterator[World]:
    """Everything up; at the end nothing may have failed behind a request's back."""
    log, scripted = RecordedLog(), Scripted()
    root = logging.getLogger()
    level = root.level
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(ScriptedUpstream(scripted))
        root.addHandler(log)
        root.setLevel(logging.INFO)
        stack.callback(root.setLevel, level)
        stack.callback(root.removeHandler, log)
        started = await stack.enter_async_context(
            running_stack(
                nats,
                folder,
                configure=lambda config: scripted.configure(config, upstream.url),
                environment=ENVIRONMENT,
                keep_bodies=True,
            )
        )
        yield World(started, log, scripted)
    assert log.failures == []
