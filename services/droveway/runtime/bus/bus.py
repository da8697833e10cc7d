"""The bus: publish, ask, answer and listen over NATS core, one inbox for the whole process."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from droveway.contracts import envelope
from droveway.otel.logs import log_event
from droveway.runtime.bus.client import DirectClient, Receive
from droveway.runtime.bus.handles import Inbox, Subscription
from droveway.runtime.bus.jetstream import read_jetstream
from droveway.runtime.bus.link import Link
from droveway.runtime.bus.receivers import (
    OnDelivery,
    OnMessage,
    OnRaw,
    delivery_receiver,
    message_receiver,
    raw_receiver,
)
from droveway.runtime.bus.settings import BusSettings, BusStatistics
from droveway.runtime.bus.watchdog import Watchdog
from droveway.runtime.errors import BusError, NoAnswer, NoResponders
from droveway.runtime.meter import Meter, metered

log = logging.getLogger(__name__)

OnPayload = Callable[[bytes], None]

_NO_RESPONDERS = b"NATS/1.0 503"
_WATCHDOG = "watchdog"
_TOKEN_BYTES = 11
"""Random for each inbox: whoever was told one knows nothing of the next."""


class Bus:
    """One process's connection. Made by `connect`."""

    def __init__(
        self, client: DirectClient, settings: BusSettings, service: str, instance: str
    ) -> None:
        self._client = client
        self._settings = settings
        self.service = service
        self.instance = instance
        self._inbox_base = settings.inbox_base(service, instance)
        self._watchdog = Watchdog(client, settings, self._inbox_base + _WATCHDOG)
        self._inboxes: dict[bytes, tuple[OnPayload, Callable[[], None]]] = {
            _WATCHDOG.encode(): (self._watchdog.hear, lambda: None)
        }
        self.link = Link(client, self._watchdog)
        self._waiting = self.link.waiting
        self._subscriptions: list[Subscription] = []

    # What services use

    def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Sends now or raises; nothing is buffered for a broker that isn't there.

        Header names and values are our own strings, never a client's.

        Raises:
            Disconnected: There is no connection.
            Overflow: The broker doesn't take what was sent already, or headers and payload are
                bigger than it accepts; the connection lives.
        """
        self._client.publish_now(subject, payload, reply, headers)

    def open_inbox(self, on_payload: OnPayload, on_no_responders: Callable[[], None]) -> Inbox:
        """A new reply subject; the callbacks run in the read loop and must not raise."""
        token = os.urandom(_TOKEN_BYTES).hex()
        key = token.encode()
        self._inboxes[key] = (on_payload, on_no_responders)

        def close() -> None:
            self._inboxes.pop(key, None)

        return Inbox(self._inbox_base + token, close)

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

        def answer(data: bytes) -> None:
            if not future.done():
                future.set_result(data)

        def nobody() -> None:
            if not future.done():
                future.set_exception(NoResponders(f"nobody listens on {subject}"))

        inbox = self.open_inbox(answer, nobody)
        self._waiting.add(future)
        alarm = _Alarm(future, timeout_s, f"no answer on {subject} within {timeout_s} s")
        try:
            self._client.publish_now(subject, payload, inbox.subject, headers)
            return await future
        finally:
            alarm.cancel()
            inbox.close()
            self._waiting.discard(future)

    async def subscribe(self, subject: str, on_message: OnMessage, queue: str = "") -> Subscription:
        """Listens until closed, from the return on; `on_message` runs in the read loop."""
        callback = metered(on_message)
        receive = message_receiver(self._client, subject, callback)
        return await self._listen(subject, queue, receive, callback.meter)

    async def subscribe_raw(self, subject: str, on_raw: OnRaw, queue: str = "") -> Subscription:
        """As `subscribe`, with the subject that a message came under and its raw headers."""
        callback = metered(on_raw)
        receive = raw_receiver(self._client, subject, callback)
        return await self._listen(subject, queue, receive, callback.meter)

    def subscriptions(self) -> list[Subscription]:
        """What the process listens on now, for service discovery."""
        self._subscriptions = [one for one in self._subscriptions if one.open]
        return self._subscriptions

    async def open_feed(self, on_delivery: OnDelivery) -> str:
        """A reply subject for deliveries of a pull consumer, for the life of the process.

        It has a subscription of its own: a delivery arrives under the subject that it was
        published to, so the process's wildcard inbox couldn't tell whose it is.
        """
        subject = self.feed_subject()
        await self._client.subscribe_direct(subject, "", delivery_receiver(on_delivery))
        return subject

    def feed_subject(self) -> str:
        """A reply subject that the process's wildcard inbox leaves to another subscription."""
        return f"{self._inbox_base}feed.{envelope.token()}"

    async def jetstream(self, subject: str, body: dict[str, Any], timeout_s: float = 5.0) -> Any:
        """One call of the JetStream API.

        Raises:
            JetStreamRefused: JetStream's refusal.
        """
        data = await self.request(f"$JS.API.{subject}", msgspec.json.encode(body), timeout_s)
        return read_jetstream(data)

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

    def on_reconnected(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls back after each reconnect, subscriptions renewed; the answer ends that."""
        self.link.listeners.append(callback)
        return lambda: self.link.listeners.remove(callback)

    @contextmanager
    def failing_at_disconnect(self, future: "asyncio.Future[Any]") -> Iterator[None]:
        """While inside, a lost connection fails `future` as `NoAnswer`."""
        self._waiting.add(future)
        try:
            yield
        finally:
            self._waiting.discard(future)

    @property
    def ready(self) -> bool:
        """Connected, and heard itself through the broker a moment ago."""
        return self._client.is_connected and self._watchdog.silence_s < self._settings.deaf_after_s

    @property
    def hears_itself(self) -> bool:
        """No two beats of the watchdog in a row are missing."""
        return self._watchdog.hears

    @property
    def hearing_since_s(self) -> float:
        """The monotonic second since which it hears itself; silence before it says nothing."""
        return self._watchdog.hearing_since_s

    @property
    def max_payload_bytes(self) -> int:
        """The broker's `max_payload`."""
        return self._client.max_payload

    @property
    def server_version(self) -> str:
        """The broker's."""
        return self._client.server_version

    def statistics(self) -> BusStatistics:
        """A snapshot for gauges."""
        return BusStatistics(
            connected=self._client.is_connected,
            last_beat_s=self._watchdog.silence_s,
            unsent_bytes=self._client.unsent_bytes(),
            waiting_answers=len(self._waiting),
            open_inboxes=len(self._inboxes) - 1,  # one is the watchdog's
            reconnects=self._client.stats["reconnects"],
            malformed=self._client.malformed,
        )

    async def watch(self) -> None:
        """Beats through the broker each second; reconnects when deaf, gives up after a minute.

        Raises:
            Disconnected: There was no way back; the process should end and be restarted.
        """
        await self._watchdog.run()

    async def listen_to_inboxes(self) -> None:
        """Subscribes to all reply subjects of this process."""
        await self._client.subscribe_direct(f"{self._inbox_base}*", "", self.on_inbox)

    def on_inbox(self, subject: bytes, _reply: bytes, data: bytes, headers: bytes | None) -> None:
        """Hands a reply to whoever opened its inbox."""
        entry = self._inboxes.get(subject[subject.rfind(b".") + 1 :])
        if entry is None:
            return
        try:
            if headers is not None and headers.startswith(_NO_RESPONDERS):
                entry[1]()
            else:
                entry[0](data)
        except (Exception, asyncio.CancelledError):  # as in receivers.py
            log.exception("inbox_handler_failed")

    async def _listen(
        self, subject: str, queue: str, receive: Receive, meter: Meter
    ) -> Subscription:
        sid = await self._client.subscribe_direct(subject, queue, receive)
        await self.settle()
        subscription = Subscription(self._client, sid, subject, queue, meter)
        self._subscriptions.append(subscription)
        return subscription


class _Alarm:
    """Fails a question that isn't answered in time; refers to nothing once it is cancelled."""

    def __init__(self, future: "asyncio.Future[bytes]", timeout_s: float, text: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._future = future
        self._timeout_s = timeout_s
        self._text = text
        self._arm()

    def cancel(self) -> None:
        """The question is over."""
        self._handle.cancel()
        del self._handle

    def _arm(self) -> None:
        self._due_s = self._loop.time() + self._timeout_s
        self._handle = self._loop.call_at(self._due_s, self._ring)

    def _ring(self) -> None:
        if self._future.done():
            return
        if self._loop.time() - self._due_s > self._timeout_s / 4:
            self._arm()  # the loop was busy for so long that the answer may lie unread
            return
        self._future.set_exception(NoAnswer(self._text))
