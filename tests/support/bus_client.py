"""A key's NATS user as tests use it: plain nats-py with default options, JSON or msgpack."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from nats.aio.client import Client as PlainClient
from nats.aio.msg import Msg

from droveway import client
from droveway.contracts.client import inbox_prefix, request_subject
from droveway.contracts.config import Config
from droveway.runtime.api_key import parse_key
from tests.support.nats import NatsServer
from tests.support.stack import Stack

TERMINALS = ("completed", "failed", "interrupted")
WITHIN_S = 10.0


def with_bus_users(nats: NatsServer, config: Config) -> Config:
    """The configuration as it is; each of its keys gets a NATS user at the server."""
    for key in config.keys:
        nats.add_key_user(key.id)
    return config


def key_id_of(stack: Stack) -> str:
    """The id of the stack's first key."""
    return parse_key(stack.key).id


def seed_of(nats: NatsServer, key_id: str) -> Path:
    """The seed of a key's user."""
    return nats.folder.key_seed_file(key_id)


@asynccontextmanager
async def bus_client(nats: NatsServer, stack: Stack) -> AsyncIterator[client.Client]:
    """Our own client with the stack's first key."""
    key_id = key_id_of(stack)
    async with client.connect(nats.url, key_id=key_id, seed_file=seed_of(nats, key_id)) as opened:
        yield opened


async def read(stream: client.Stream) -> None:
    """Enters a stream and reads it to its end, whatever that is."""
    async with stream:
        async for _event in stream:
            pass


class Answer:
    """The frames of one request, as a plain client gathers them."""

    def __init__(self, packed: bool) -> None:
        self.frames: list[dict[str, Any]] = []
        self.replies: list[str] = []
        self._packed = packed
        self._changed = asyncio.Event()

    async def on_message(self, message: Msg) -> None:
        """A callback for `subscribe`."""
        decode: Callable[[bytes], Any] = msgspec.msgpack.decode if self._packed else json.loads
        self.frames.append(decode(message.data))
        self.replies.append(message.reply)
        self._changed.set()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Frames of one kind, in their order."""
        return [frame for frame in self.frames if frame["t"] == kind]

    @property
    def ended(self) -> bool:
        """Whether a terminal has come."""
        return any(frame["t"] in TERMINALS for frame in self.frames)

    @property
    def terminal(self) -> dict[str, Any]:
        """The one terminal."""
        (only,) = [frame for frame in self.frames if frame["t"] in TERMINALS]
        return only

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events; those of msgpack frames decoded."""
        found = [event for chunk in self.of("chunk") for event in chunk.get("events", ())]
        return [json.loads(event) if self._packed else event for event in found]

    @property
    def said(self) -> str:
        """The text of the first choice."""
        choices = [choice for event in self.events for choice in event["choices"]]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    @property
    def is_gap_free(self) -> bool:
        """Numbered frames are 0, 1, 2 and so on."""
        numbers = [frame["seq"] for frame in self.frames if "seq" in frame]
        return numbers == list(range(len(numbers)))

    async def until(
        self, claim: Callable[["Answer"], object], within_s: float = WITHIN_S
    ) -> "Answer":
        """Itself, as soon as the claim holds."""
        async with asyncio.timeout(within_s):
            while not claim(self):
                self._changed.clear()
                await self._changed.wait()
        return self


class PlainTenant:
    """A nats-py client; nothing but key and inbox prefix are set."""

    def __init__(self, connection: PlainClient, key_id: str) -> None:
        self.connection = connection
        self.key_id = key_id
        self.subject = request_subject(key_id, "chat-completions")

    async def request(self, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        """One question, one message: `nc.request`."""
        message = await self.connection.request(
            self.subject, json.dumps(body).encode(), timeout=WITHIN_S, headers=_named(headers)
        )
        answer: dict[str, Any] = json.loads(message.data)
        return answer

    @asynccontextmanager
    async def asking(
        self, body: dict[str, Any] | bytes, *, packed: bool = False, **headers: str
    ) -> AsyncIterator[Answer]:
        """A request whose frames are gathered until the block is left, which unsubscribes."""
        answer = Answer(packed)
        inbox = self.connection.new_inbox()
        subscription = await self.connection.subscribe(inbox, cb=answer.on_message)
        encode: Callable[[Any], bytes] = msgspec.msgpack.encode if packed else _json
        payload = body if isinstance(body, bytes) else encode(body)
        await self.connection.publish(
            self.subject, payload, reply=inbox, headers=_named(headers) or None
        )
        try:
            yield answer
        finally:
            await subscription.unsubscribe()

    async def ask(
        self, body: dict[str, Any] | bytes, *, packed: bool = False, within_s: float = WITHIN_S,
        **headers: str,
    ) -> Answer:  # fmt: skip
        """All frames of one request, to its terminal."""
        async with self.asking(body, packed=packed, **headers) as answer:
            return await answer.until(lambda it: it.ended, within_s)

    async def steer(self, answer: Answer, message: dict[str, Any]) -> None:
        """A control message for an answer that has been opened."""
        (opened,) = answer.of("opened")
        await self.connection.publish(
            opened["control"], json.dumps({"relay_id": opened["relay_id"], **message}).encode()
        )


@asynccontextmanager
async def plain_tenant(nats: NatsServer, key_id: str) -> AsyncIterator[PlainTenant]:
    """A plain client as the user of a key."""
    connection = PlainClient()
    await connection.connect(
        nats.url,
        nkeys_seed=str(seed_of(nats, key_id)),
        inbox_prefix=inbox_prefix(key_id).encode(),
    )
    try:
        yield PlainTenant(connection, key_id)
    finally:
        await connection.close()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _named(headers: dict[str, str]) -> dict[str, str]:
    """Python's names as headers': `idempotency_key` is `idempotency-key`."""
    return {name.replace("_", "-"): value for name, value in headers.items()}
