"""The bus: publish, ask, answer and listen over NATS core, one inbox for the whole process."""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from droveway.contracts import envelope
from droveway.otel.logs import log_event
from droveway.runtime.errors import (
    BusError,
    Disconnected,
    JetStreamRefused,
    NoAnswer,
    NoResponders,
    SettingsError,
)
from droveway.runtime.nats_client import DirectClient, Receive, pick_server

log = logging.getLogger(__name__)

OnPayload = Callable[[bytes], None]
OnMessage = Callable[[bytes, str], None]
"""(payload, reply subject)."""
OnDelivery = Callable[[bytes, str, int], None]
"""(payload, acknowledgement subject, status: 0, or JetStream's 404, 408, 409)."""

_NO_RESPONDERS = b"NATS/1.0 503"


class BusSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a process meets the broker."""

    servers: tuple[str, ...]
    nkey_file: str = ""
    max_unsent_bytes: int = 8 * 1024 * 1024
    """Bytes that may wait for the broker; beyond it publishing fails as `Overflow`."""
    connect_timeout_s: int = 2
    connect_within_s: float = 30.0
    """How long a starting process looks for a broker; then it ends."""
    beat_every_s: float = 1.0
    """The process sends itself a message this often."""
    deaf_after_s: float = 3.0
    """Connected and no beat for this long: the connection is made anew."""
    give_up_after_s: float = 60.0
    """No beat for this long: `watch` raises, and the process ends."""


class BusStatistics(NamedTuple):
    """A snapshot for gauges."""

    connected: bool
    last_beat_s: float
    """Seconds since the process last heard itself through the broker."""
    unsent_bytes: int
    waiting_answers: int
    open_inboxes: int
    reconnects: int
    malformed: int


class Inbox:
    """One reply subject of this process, until closed."""

    __slots__ = ("_close", "subject")

    def __init__(self, subject: str, close: Callable[[], None]) -> None:
        self.subject = subject
        self._close = close

    def close(self) -> None:
        """Stops listening; late messages are dropped."""
        self._close()


class Subscription:
    """One subject that this process listens on, until closed."""

    __slots__ = ("_client", "_sid")

    def __init__(self, client: DirectClient, sid: int) -> None:
        self._client = client
        self._sid = sid

    def close(self) -> None:
        """Leaves the subject (and its queue group); what is on its way is still handled."""
        self._client.unsubscribe_direct(self._sid)


class Bus:
    """One process's connection. Made by `connect`."""

    def __init__(
        self, client: DirectClient, settings: BusSettings, service: str, instance: str
    ) -> None:
        self._client = client
        self._settings = settings
        self.service = service
        self.instance = instance
        self._inboxes: dict[bytes, tuple[OnPayload, Callable[[], None]]] = {}
        self._waiting: set[asyncio.Future[bytes]] = set()
        self._token_prefix = envelope.token()
        self._tokens = itertools.count()
        self._beat_at = time.monotonic()
        self._connected_at = self._beat_at
        self._gone = asyncio.Event()

    # What services use

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Sends now or raises; nothing is buffered for a broker that isn't there.

        Raises:
            Disconnected: There is no connection.
            Overflow: The broker doesn't take what was sent already.
        """
        self._client.publish_now(subject, payload, reply)

    def open_inbox(self, on_payload: OnPayload, on_no_responders: Callable[[], None]) -> Inbox:
        """A new reply subject; the callbacks run in the read loop and must not raise."""
        token = f"{self._token_prefix}{next(self._tokens):x}"
        key = token.encode()
        self._inboxes[key] = (on_payload, on_no_responders)

        def close() -> None:
            self._inboxes.pop(key, None)

        return Inbox(envelope.inbox(self.service, self.instance, token), close)

    async def open_feed(self, on_delivery: OnDelivery) -> str:
        """A reply subject for deliveries of a pull consumer, for the life of the process.

        It has a subscription of its own: a delivery arrives under the subject that it was
        published to, so the process's wildcard inbox couldn't tell whose it is.
        """

        def receive(_subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
            try:
                on_delivery(data, reply.decode("ascii", "replace"), _status(headers))
            except Exception:
                log.exception("delivery_handler_failed")

        subject = envelope.inbox(self.service, self.instance, f"feed.{envelope.token()}")
        await self._client.subscribe_direct(subject, "", receive)
        return subject

    async def request(
        self,
        subject: str,
        payload: bytes,
        timeout_s: float,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        """One question, one answer; `headers` are for JetStream's `Nats-*` only.

        Raises:
            NoResponders: Nobody listens.
            NoAnswer: Nothing came within `timeout_s`, or the connection was lost meanwhile.
            Disconnected: There is no connection; nothing was sent.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()

        alarm: asyncio.TimerHandle

        def late(due_s: float) -> None:
            nonlocal alarm
            if future.done():
                return
            now_s = loop.time()
            if now_s - due_s > timeout_s / 4:
                # This loop was busy for so long that the answer may lie unread: it gets its time.
                alarm = loop.call_later(timeout_s, late, now_s + timeout_s)
                return
            future.set_exception(NoAnswer(f"no answer on {subject} within {timeout_s} s"))

        def answer(data: bytes) -> None:
            if not future.done():
                future.set_result(data)

        def nobody() -> None:
            if not future.done():
                future.set_exception(NoResponders(f"nobody listens on {subject}"))

        inbox = self.open_inbox(answer, nobody)
        self._waiting.add(future)
        alarm = loop.call_later(timeout_s, late, loop.time() + timeout_s)
        try:
            self._client.publish_now(subject, payload, inbox.subject, headers)
            return await future
        finally:
            alarm.cancel()
            inbox.close()
            self._waiting.discard(future)

    async def subscribe(self, subject: str, on_message: OnMessage, queue: str = "") -> Subscription:
        """Listens until closed, from the return on; `on_message` runs in the read loop."""

        def receive(_subject: bytes, reply: bytes, data: bytes, _headers: bytes | None) -> None:
            try:
                on_message(data, reply.decode("ascii", "replace"))
            except Exception:
                log.exception("handler_failed on %s", subject)

        sid = await self._client.subscribe_direct(subject, queue, receive)
        await self.settle()
        return Subscription(self._client, sid)

    async def jetstream(self, subject: str, body: dict[str, Any], timeout_s: float = 5.0) -> Any:
        """One call of the JetStream API.

        Raises:
            JetStreamRefused: JetStream's refusal.
        """
        data = await self.request(f"$JS.API.{subject}", msgspec.json.encode(body), timeout_s)
        return read_jetstream(data)

    @property
    def ready(self) -> bool:
        """Connected, and heard itself through the broker a moment ago."""
        return self._client.is_connected and self._silence_s() < self._settings.deaf_after_s

    @property
    def max_payload_bytes(self) -> int:
        """The broker's `max_payload`."""
        return self._client.max_payload

    def statistics(self) -> BusStatistics:
        """A snapshot for gauges."""
        return BusStatistics(
            connected=self._client.is_connected,
            last_beat_s=self._silence_s(),
            unsent_bytes=self._client.unsent_bytes(),
            waiting_answers=len(self._waiting),
            open_inboxes=len(self._inboxes),
            reconnects=self._client.stats["reconnects"],
            malformed=self._client.malformed,
        )

    async def watch(self) -> None:
        """Beats through the broker each second; reconnects when deaf, gives up after a minute.

        Raises:
            Disconnected: There was no way back; the process should end and be restarted.
        """
        while True:
            self._beat()
            try:
                async with asyncio.timeout(self._settings.beat_every_s):
                    await self._gone.wait()
                raise Disconnected("the NATS client has closed")
            except TimeoutError:
                silence_s = self._silence_s()
            if silence_s > self._settings.give_up_after_s:
                raise Disconnected(f"nothing heard from NATS for {silence_s:.0f} s")
            # A connection that has just come back had no time for a beat yet.
            deaf_s = min(silence_s, time.monotonic() - self._connected_at)
            if deaf_s > self._settings.deaf_after_s and self._client.is_connected:
                log_event(log, "bus_deaf", level=logging.WARNING, silence_s=round(silence_s, 1))
                await self._client.force_reconnect()

    # What nats-py tells

    def on_inbox(self, subject: bytes, _reply: bytes, data: bytes, headers: bytes | None) -> None:
        """Hands a reply to whoever opened its inbox."""
        token = subject[subject.rfind(b".") + 1 :]
        if token == b"watchdog":
            self._beat_at = time.monotonic()
            return
        entry = self._inboxes.get(token)
        if entry is None:
            return
        on_payload, on_no_responders = entry
        try:
            if headers is not None and headers.startswith(_NO_RESPONDERS):
                on_no_responders()
            else:
                on_payload(data)
        except Exception:
            log.exception("inbox_handler_failed")

    async def on_disconnect(self) -> None:
        """Fails what waits for an answer: it will not come."""
        if not self._client.is_closed:
            log_event(log, "bus_disconnected", level=logging.WARNING)
        for future in list(self._waiting):
            if not future.done():
                future.set_exception(NoAnswer("the connection to NATS was lost"))

    async def on_reconnect(self) -> None:
        """Is ready again as soon as it hears itself."""
        self._connected_at = time.monotonic()
        log_event(log, "bus_reconnected")
        self._beat()

    async def on_closed(self) -> None:
        """The client won't come back by itself."""
        self._gone.set()

    async def settle(self) -> None:
        """Waits until the broker has seen what was sent so far, unless it isn't there."""
        seen = asyncio.Event()
        inbox = self.open_inbox(lambda _payload: seen.set(), lambda: None)
        try:
            self.publish(inbox.subject, b"")
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await seen.wait()
        except (BusError, TimeoutError):
            log_event(log, "subscription_unconfirmed", level=logging.DEBUG)
        finally:
            inbox.close()

    def _beat(self) -> None:
        try:
            self.publish(envelope.inbox(self.service, self.instance, "watchdog"), b"")
        except BusError:
            log_event(log, "watchdog_unsent", level=logging.DEBUG)

    def _silence_s(self) -> float:
        return time.monotonic() - self._beat_at


def _status(headers: bytes | None) -> int:
    """The status of a message's header line; 0 when it has none."""
    digits = headers[9:12] if headers is not None else b""
    return int(digits) if digits.isdigit() else 0


def read_jetstream(data: bytes) -> Any:
    """A JetStream API answer or publish acknowledgement.

    Raises:
        JetStreamRefused: It is an error.
    """
    answer = msgspec.json.decode(data)
    if error := answer.get("error"):
        raise JetStreamRefused(error.get("description", "refused"), error.get("err_code", 0))
    return answer


@asynccontextmanager
async def connect(settings: BusSettings, service: str, instance: str) -> AsyncIterator[Bus]:
    """A connected bus, closed on leaving.

    Raises:
        SettingsError: The broker refuses the credentials, or none is there.
    """
    client = DirectClient(settings.max_unsent_bytes)
    bus = Bus(client, settings, service, instance)

    try:
        async with asyncio.timeout(settings.connect_within_s):
            await _first_connection(client, bus, settings)
    except Exception as error:
        client.abort()
        where = ", ".join(urlsplit(server).netloc.rpartition("@")[2] for server in settings.servers)
        reason = client.last_error or error
        raise SettingsError(f"can't connect to NATS at {where}: {reason}") from error
    receive: Receive = bus.on_inbox
    try:
        await client.subscribe_direct(f"_INBOX.{service}.{instance}.*", "", receive)
        yield bus
    finally:
        await client.close()


async def _first_connection(client: DirectClient, bus: Bus, settings: BusSettings) -> None:
    """Tries until a broker takes us; refused credentials won't get better by trying."""
    connected = False

    async def on_error(error: Exception) -> None:
        log_event(log, "bus_error", level=logging.WARNING, error=str(error)[:300])
        if not connected and "authorization" in str(error).lower():
            raise error

    await client.connect(
        list(settings.servers),
        name=f"droveway-{bus.instance}",
        nkeys_seed=settings.nkey_file or None,
        connect_timeout=settings.connect_timeout_s,
        allow_reconnect=True,
        max_reconnect_attempts=-1,
        ping_interval=5,
        max_outstanding_pings=2,
        pending_size=settings.max_unsent_bytes,
        flusher_queue_size=0,
        error_cb=on_error,
        disconnected_cb=bus.on_disconnect,
        reconnected_cb=bus.on_reconnect,
        closed_cb=bus.on_closed,
        reconnect_to_server_handler=pick_server,
    )
    connected = True
