"""One connection to the bus as a client of the gateway, for any number of requests at once."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from opentelemetry import trace

from droveway.client.errors import Interrupted, NotConnected
from droveway.client.exchange import Exchange
from droveway.client.request import Request
from droveway.client.stream import Stream, interrupted, read_answer
from droveway.contracts import client, relay
from droveway.contracts.envelope import new_instance
from droveway.runtime import bus as bus_module
from droveway.runtime.bus import Bus, BusSettings
from droveway.runtime.errors import SettingsError
from droveway.runtime.nats_context import overridden, read_context

CHAT = "chat-completions"
CHECK_EVERY_S = 0.25
"""How often silent gateways are looked for."""
RECONNECT_BASE_S = 1.25
"""A broker has many clients, which come back together: they spread over more than a second."""
CONNECT_WITHIN_S = 10.0
"""How long `connect` looks for a broker."""
DEAF_AFTER_S = 2.5
"""The broker answers no PING for so long: the connection is made anew, in time for its streams."""
BUSY_S = 1.0
"""An application that kept the loop this much longer than asked: what came lies unread."""
_SERVICE = "client"


class Client:
    """Asks the gateway over one connection. Made by `connect`."""

    def __init__(self, bus: Bus, key_id: str, tracer: trace.Tracer) -> None:
        self._bus = bus
        self._key_id = key_id
        self._tracer = tracer
        self._watch = _Watch(bus)

    def stream(
        self,
        request: Mapping[str, Any],
        *,
        timeout_s: float | None = None,
        idempotency_key: str = "",
    ) -> Stream:
        """A streamed answer, to be entered by `async with`; leaving the block cancels it.

        Args:
            request: As one would POST it to `/v1/chat/completions`; `stream` is set here.
            timeout_s: The longest that the request may take; the gateway has a bound of its own.
            idempotency_key: Makes a repeat of the request safe: it is refused, never run twice.

        Raises:
            Failed: The request is too large for one message.
        """
        body = {**request, "stream": True}
        return Stream(self._request(body, timeout_s, idempotency_key))

    async def call(
        self,
        request: Mapping[str, Any],
        *,
        timeout_s: float | None = None,
        idempotency_key: str = "",
    ) -> dict[str, Any]:
        """A whole answer, of any size.

        Args:
            request: As one would POST it to `/v1/chat/completions`; `stream` is left out here.
            timeout_s: As for `stream`.
            idempotency_key: As for `stream`.

        Raises:
            NotConnected: Nothing was sent.
            NoGateway: No gateway was there to take it.
            Failed: An error in place of an answer.
            Interrupted: The gateway is gone, or the answer was cut on its way.
        """
        body = {name: value for name, value in request.items() if name != "stream"}
        published = self._request(body, timeout_s, idempotency_key).publish()
        try:
            answer = await _whole(published.exchange)
        except BaseException as error:
            published.close(error)
            raise
        published.close(None)
        return answer

    def close(self) -> None:
        """Ends what is still open: who waits for an answer is told so at once."""
        self._watch.close()

    def _request(
        self, body: Mapping[str, Any], timeout_s: float | None, idempotency_key: str
    ) -> Request:
        headers = {client.FLOW: "credit"}
        if timeout_s is not None:
            headers["x-request-timeout"] = f"{timeout_s:g}"
        if idempotency_key:
            if not (idempotency_key.isascii() and idempotency_key.isprintable()):
                raise ValueError("idempotency_key: expected printable ASCII, such as a UUID")
            headers["idempotency-key"] = idempotency_key
        return Request(
            self._bus,
            self._watch,
            self._tracer,
            subject=client.request_subject(self._key_id, CHAT),
            body=body,
            headers=headers,
        )


@asynccontextmanager
async def connect(
    server: str = "",
    *,
    key_id: str,
    seed_file: str | Path = "",
    credentials_file: str | Path = "",
    context: str = "",
    tracer_provider: trace.TracerProvider | None = None,
) -> AsyncIterator[Client]:
    """A connected client, closed on leaving.

    Args:
        server: `nats://host:port`, several with commas; empty: the context's.
        key_id: The id of the client key whose requests these are.
        seed_file: NKey seed of the key's NATS user.
        credentials_file: Its `.creds` file, for a server in operator mode.
        context: Name or path of a context of the `nats` command line.
        tracer_provider: Of OpenTelemetry; by default the global one.

    Raises:
        NotConnected: There is no broker, it refuses the user, or a file can't be read.
    """
    async with AsyncExitStack() as stack:
        try:
            settings = _settings(server, key_id, str(seed_file), str(credentials_file), context)
            connection = bus_module.connect(settings, _SERVICE, new_instance(_SERVICE))
            bus = await stack.enter_async_context(connection)
            await stack.enter_async_context(_watched(bus))
        except SettingsError as error:
            raise NotConnected(str(error)) from None
        tracer = trace.get_tracer("droveway.client", tracer_provider=tracer_provider)
        opened = Client(bus, key_id, tracer)
        stack.callback(opened.close)
        yield opened


def _settings(
    server: str, key_id: str, seed_file: str, credentials_file: str, context: str
) -> BusSettings:
    if not (server or context):
        raise SettingsError("expected a server such as nats://127.0.0.1:4222, or a context")
    base = read_context(context) if context else BusSettings(servers=())
    told = overridden(base, url=server, nkey_file=seed_file, credentials_file=credentials_file)
    return msgspec.structs.replace(
        told,
        inbox_prefix=client.inbox_prefix(key_id),
        connect_within_s=CONNECT_WITHIN_S,
        reconnect_base_s=RECONNECT_BASE_S,
        echoes=False,  # a tenant's inboxes are the gateway's to publish to
        deaf_after_s=DEAF_AFTER_S,
        give_up_after_s=math.inf,
    )


@asynccontextmanager
async def _watched(bus: Bus) -> AsyncIterator[None]:
    """Leaves a deaf connection while inside; no task group, which would wrap others' errors."""
    watching = asyncio.ensure_future(bus.watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def _whole(exchange: Exchange) -> dict[str, Any]:
    pieces: list[bytes] = []
    while True:
        match await exchange.take():
            case relay.Chunk() as chunk:
                pieces.extend(chunk.events)
            case relay.Interrupted() as cut:
                raise interrupted(exchange, cut, "")
            case relay.Completed() as completed:
                break
    answer = read_answer(b"".join(pieces) + completed.body)
    if answer is None:
        raise Interrupted(
            "bad_upstream", "the answer is no JSON", text="", usage=None,
            request_id=exchange.request_id,
        )  # fmt: skip
    return answer


class _Watch:
    """Looks after all open exchanges of one connection by one timer, while there are any."""

    def __init__(self, bus: Bus) -> None:
        self._exchanges: set[Exchange] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._forget = bus.on_reconnected(self._on_reconnected)

    def follow(self, exchange: Exchange) -> None:
        self._exchanges.add(exchange)
        if self._timer is None:
            self._arm()

    def leave(self, exchange: Exchange) -> None:
        self._exchanges.discard(exchange)

    def close(self) -> None:
        self._forget()
        if self._timer is not None:
            self._timer.cancel()
        for exchange in list(self._exchanges):
            exchange.lose("the block of `connect` was left")

    def _tick(self) -> None:
        self._timer = None
        now_s = time.monotonic()
        if now_s - self._due_s < BUSY_S:
            for exchange in list(self._exchanges):
                exchange.check(now_s)
        if self._exchanges:
            self._arm()

    def _arm(self) -> None:
        self._due_s = time.monotonic() + CHECK_EVERY_S
        self._timer = asyncio.get_running_loop().call_later(CHECK_EVERY_S, self._tick)

    def _on_reconnected(self) -> None:
        now_s = time.monotonic()
        for exchange in list(self._exchanges):
            exchange.forgive(now_s)
