"""The NATS door: `request.<key id>.<operation>`, as untrusted as HTTP and served alike.

The broker proves the key id by the user's permissions; everything else is looked at here. A reply
subject outside of the key's own inboxes is never answered.
"""

import asyncio
import logging
from typing import NamedTuple

from droveway.contracts import client
from droveway.contracts.access import Key
from droveway.contracts.envelope import new_request_id
from droveway.contracts.errors import failure
from droveway.gateway.auth import Authenticator, RawHeaders
from droveway.gateway.doors.client_answer import ClientAnswer
from droveway.gateway.doors.client_payload import read_body, read_flow, read_headers
from droveway.gateway.doors.client_relays import ClientRelays
from droveway.gateway.doors.inference import Inference
from droveway.gateway.doors.key_rates import KeyRates
from droveway.gateway.doors.key_shares import KeyShares
from droveway.gateway.doors.overload import Overload
from droveway.gateway.entrance import by_nats
from droveway.gateway.journal import Journal, Ledgers
from droveway.gateway.operations import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES
from droveway.gateway.pending import ClientGone
from droveway.gateway.refusal import Refusal, refuse
from droveway.runtime.bus import Bus, Subscription
from droveway.runtime.consumer import Consumer
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)

TOLD_EVERY_S = 60.0
"""How often a request that can't be answered is told in the log, at most."""
_OPERATIONS = {
    "chat-completions": CHAT,
    "completions": COMPLETIONS,
    "embeddings": EMBEDDINGS,
    "messages": MESSAGES,
    "responses": RESPONSES,
}
"""What can be asked, by the last token of the subject."""
_ENTRANCES = {name: by_nats(one.name, name) for name, one in _OPERATIONS.items()}
_UNKNOWN = by_nats("unknown", "unknown")


class NatsDoorStatistics(NamedTuple):
    """A snapshot for gauges."""

    unanswerable: int
    """Requests whose reply subject isn't an inbox of their key; dropped."""
    refused_full: int
    """Requests beyond all that may be open."""


class _Asked(NamedTuple):
    payload: bytes
    reply: str
    key_id: str
    operation: str
    header_block: bytes | None


class NatsDoor:
    """Takes requests from the bus; one instance per gateway."""

    def __init__(
        self,
        bus: Bus,
        inference: Inference,
        auth: Authenticator,
        ledgers: Ledgers,
        relays: ClientRelays,
        consumer: Consumer,
        rates: KeyRates,
        shares: KeyShares,
        max_message_bytes: int,
    ) -> None:
        self._bus = bus
        self._inference = inference
        self._auth = auth
        self._ledgers = ledgers
        self._relays = relays
        self._consumer = consumer
        self._rates = rates
        self._shares = shares
        self._full = Overload(bus, "requests_refused_full")
        self._refused_full = 0
        self._max_message_bytes = max_message_bytes
        self._subscription: Subscription | None = None
        self._unanswerable = 0
        expected = f"{client.inbox_prefix('<key id>')}.<1 to 3 tokens>"
        self._strays = RareLog(log, "request_unanswerable", every_s=TOLD_EVERY_S, expected=expected)

    async def listen(self) -> None:
        """Takes control messages, then requests."""
        await self._relays.listen()
        self._subscription = await self._bus.subscribe_raw(
            client.ANY_REQUEST, self._on_request, client.GATEWAYS
        )

    async def drain(self, limit_s: float) -> None:
        """Takes no more requests; those that run may end within `limit_s`, then they are cut."""
        if self._subscription is not None:
            self._subscription.close()
            await self._bus.settle()  # what the broker had sent before is here by now
        await self._consumer.drain(limit_s)

    def statistics(self) -> NatsDoorStatistics:
        """A snapshot for gauges."""
        return NatsDoorStatistics(self._unanswerable, self._refused_full)

    def _on_request(self, payload: bytes, reply: str, subject: str, block: bytes | None) -> None:
        *_, key_id, operation = subject.split(".")
        if not client.is_inbox_of(reply, key_id):
            self._cannot_answer(key_id, reply)
            return
        if not self._rates.takes(key_id, payload, reply):
            return
        if not self._shares.takes(key_id, payload, reply):
            return
        asked = _Asked(payload, reply, key_id, operation, block)
        if not self._consumer.start(self._serve_counted(asked)):
            self._shares.leave(key_id)
            self._refused_full += 1
            self._full.note(key_id)
            self._full.tell(payload, reply)

    async def _serve_counted(self, asked: _Asked) -> None:
        try:
            await self._serve(asked)
        finally:
            self._shares.leave(asked.key_id)

    async def _serve(self, asked: _Asked) -> None:
        headers, malformed = _headers(asked.header_block)
        journal = self._journal(asked, headers)
        answer = self._answer(asked, journal)
        try:
            if malformed is not None:
                raise malformed
            key = journal.key = self._key(asked)
            journal.mark("authenticated")
            answer.flow = read_flow(headers)
            await self._serve_chat(asked, headers, journal, key, answer)
        except Refusal as refusal:
            journal.fail(refusal.failure, "interrupted" if journal.status else "failed")
            answer.refuse(refusal)
        except ClientGone:
            journal.leave()
            answer.refuse(refuse("client_closed_request"))  # it may have cancelled and still listen
        except asyncio.CancelledError:  # the time to drain is over
            cut = failure("server_shutting_down")
            journal.fail(cut, "interrupted" if journal.status else "failed")
            answer.refuse(Refusal(cut))
            raise
        finally:
            try:
                answer.refuse(refuse("internal_error"))  # if nothing else was told
                answer.close()
            finally:
                journal.close()

    async def _serve_chat(
        self, asked: _Asked, headers: RawHeaders, journal: Journal, key: Key, answer: ClientAnswer
    ) -> None:
        if len(asked.payload) > self._max_message_bytes:
            text = f"A request over the bus may have {self._max_message_bytes} bytes; use HTTP."
            raise refuse("request_too_large", text)
        options = self._inference.options(headers)
        answer.deadline = options.deadline
        with self._inference.held.share() as share:
            share.grow(len(asked.payload))
            body = read_body(asked.payload)
            journal.mark("body")
            operation = _OPERATIONS[asked.operation]
            await self._inference.serve(operation, body, options, journal, key, answer.run)

    def _key(self, asked: _Asked) -> Key:
        if asked.operation not in _OPERATIONS:
            known = ", ".join(_OPERATIONS)
            text = f"Unknown operation in the subject: {asked.operation[:64]}; known: {known}."
            raise refuse("unknown_url", text)
        return self._auth.by_id(asked.key_id)

    def _journal(self, asked: _Asked, headers: RawHeaders) -> Journal:
        return Journal(
            self._ledgers,
            new_request_id(),
            _ENTRANCES.get(asked.operation, _UNKNOWN),
            _text(headers, b"traceparent"),
            _text(headers, b"tracestate"),
        )

    def _answer(self, asked: _Asked, journal: Journal) -> ClientAnswer:
        return ClientAnswer(
            self._bus,
            self._relays,
            journal,
            key_id=asked.key_id,
            reply=asked.reply,
            packed=client.is_msgpack(asked.payload),
            max_message_bytes=self._max_message_bytes,
        )

    def _cannot_answer(self, key_id: str, reply: str) -> None:
        self._unanswerable += 1
        self._strays.warn(key=key_id[:64], reply=reply[:80], so_far=self._unanswerable)


def _headers(block: bytes | None) -> tuple[RawHeaders, Refusal | None]:
    try:
        return read_headers(block), None
    except Refusal as refusal:
        return [], refusal


def _text(headers: RawHeaders, name: bytes) -> str | None:
    value = next((value for key, value in headers if key == name), None)
    return None if value is None else value.decode("latin-1")
