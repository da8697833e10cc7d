"""A NATS client that sends whatever bytes it's told to: a service that somebody has taken over."""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import nkeys

from tests.support.nats import NatsServer

LIMIT_S = 5.0
MAX_LINE_BYTES = 64 * 1024


class Message(NamedTuple):
    """One message that was delivered."""

    subject: str
    reply: str
    payload: bytes
    headers: bytes = b""


class RawNats:
    """One TCP connection; what the server says is gathered in the background."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.messages: list[Message] = []
        self.errors: list[str] = []
        self.closed = asyncio.Event()
        self._reader = reader
        self._writer = writer
        self._sids = itertools.count(1)
        self._news = asyncio.Condition()
        self._pongs = 0
        self._pings = 0
        self._reading: asyncio.Task[None] | None = None

    async def introduce(self, seed: bytes) -> None:
        """Signs the server's nonce with a user's seed, as its service does."""
        info = json.loads((await self._reader.readline()).removeprefix(b"INFO "))
        pair = nkeys.from_seed(seed)
        signature = base64.urlsafe_b64encode(pair.sign(info["nonce"].encode())).rstrip(b"=")
        about: dict[str, Any] = {
            "verbose": False, "pedantic": False, "lang": "raw", "version": "1", "protocol": 1,
            "headers": True, "no_responders": True,
            "nkey": pair.public_key.decode(), "sig": signature.decode(),
        }  # fmt: skip
        self.send(b"CONNECT " + json.dumps(about).encode() + b"\r\n")
        self._reading = asyncio.create_task(self._read())
        assert await self.settle() == [], "the server refuses the user"

    def send(self, data: bytes) -> None:
        """Any bytes at all."""
        self._writer.write(data)

    def publish(
        self, subject: str | bytes, payload: bytes = b"", reply: str = "", headers: bytes = b""
    ) -> None:
        """One message; `headers` are lines with their line ends."""
        name = subject if isinstance(subject, bytes) else subject.encode()
        head = b" ".join(part for part in (name, reply.encode()) if part)
        if not headers:
            self.send(b"PUB %b %d\r\n%b\r\n" % (head, len(payload), payload))
            return
        block = b"NATS/1.0\r\n" + headers + b"\r\n"
        sizes = len(block), len(block) + len(payload)
        self.send(b"HPUB %b %d %d\r\n%b%b\r\n" % (head, *sizes, block, payload))

    def subscribe(self, subject: str, queue: str = "") -> int:
        """Its number, for `unsubscribe`."""
        sid = next(self._sids)
        self.send(f"SUB {subject} {queue} {sid}\r\n".encode())
        return sid

    def unsubscribe(self, sid: int) -> None:
        """Leaves a subject."""
        self.send(b"UNSUB %d\r\n" % sid)

    async def settle(self) -> list[str]:
        """The errors since the last time; the server has seen all that was sent before."""
        self._pings += 1
        self.send(b"PING\r\n")
        await self.until(lambda: self._pongs >= self._pings or self.closed.is_set())
        errors, self.errors = self.errors, []
        return errors

    async def until(self, claim: Any, limit_s: float = LIMIT_S) -> None:
        """Waits for what the server says next until `claim()` holds."""
        async with asyncio.timeout(limit_s), self._news:
            await self._news.wait_for(claim)

    async def heard(self, subject: str, limit_s: float = LIMIT_S) -> Message:
        """The first message of a subject, once it is there."""
        await self.until(lambda: self.on(subject), limit_s)
        return self.on(subject)[0]

    def on(self, subject: str) -> list[Message]:
        """What has come on a subject so far."""
        return [message for message in self.messages if message.subject == subject]

    async def ask(self, subject: str, payload: bytes, inbox: str) -> Message:
        """One question, one answer."""
        sid = self.subscribe(inbox)
        self.publish(subject, payload, inbox)
        answer = await self.heard(inbox)
        self.unsubscribe(sid)
        return answer

    async def close(self) -> None:
        """Closes without a word, as a killed process would."""
        if self._reading is not None:
            self._reading.cancel()
        self._writer.close()
        await asyncio.wait({self._reading} if self._reading else set(), timeout=LIMIT_S)

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                await self._take(line)
                async with self._news:
                    self._news.notify_all()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.errors.append("connection lost")
        finally:
            self.closed.set()
        async with self._news:
            self._news.notify_all()

    async def _take(self, line: bytes) -> None:
        word, _, rest = line.strip().partition(b" ")
        match word:
            case b"PONG":
                self._pongs += 1
            case b"PING":
                self.send(b"PONG\r\n")
            case b"-ERR":
                self.errors.append(rest.decode("utf-8", "replace"))
            case b"MSG" | b"HMSG":
                await self._take_message(rest.decode("utf-8", "replace").split(), word == b"HMSG")

    async def _take_message(self, words: list[str], with_headers: bool) -> None:
        sizes = 2 if with_headers else 1
        data = (await self._reader.readexactly(int(words[-1]) + 2))[:-2]
        head_bytes = int(words[-2]) if with_headers else 0
        reply = words[2] if len(words) > 2 + sizes else ""
        self.messages.append(Message(words[0], reply, data[head_bytes:], data[:head_bytes]))


@asynccontextmanager
async def raw_nats(server: NatsServer, user: str) -> AsyncIterator[RawNats]:
    """A connection with the credentials of `user`."""
    seed = server.folder.seed_file(user).read_bytes().strip()
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(
        address.hostname, address.port, limit=MAX_LINE_BYTES
    )
    client = RawNats(reader, writer)
    try:
        await client.introduce(seed)
        yield client
    finally:
        await client.close()


def violations(errors: Iterable[str], kind: str) -> set[str]:
    """The subjects of `Permissions Violation for <kind> to "…"`."""
    start = f"'Permissions Violation for {kind} to \""
    return {
        error.removeprefix(start).partition('"')[0] for error in errors if error.startswith(start)
    }
