"""Reads a stream in pages without a consumer: nothing is left behind when the reader dies.

A page is asked for by `next_by_subj` from a sequence on. `multi_last` looks like the shorter way to
a bucket's contents, but is refused (413) as soon as more than 1,024 keys match.
Source: NATS ADR-31 (direct get in batches), nats-server 2.14.
"""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from droveway.runtime.bus.bus import Bus
from droveway.runtime.bus.jetstream import fields_of, status_of
from droveway.runtime.errors import BusError, NoAnswer, NoResponders

_END_OF_BATCH = 204
_NOT_FOUND = 404
_NO_RESPONDERS = 503
_WHOLE_STAMP = len("2026-01-01T00:00:00.000000000Z")
_PLAIN = re.compile(
    rb"NATS/1\.0\r\nNats-Stream: [^\r]+\r\nNats-Subject: ([^\r]+)\r\nNats-Sequence: (\d+)\r\n"
    rb"Nats-Time-Stamp: ([^\r]+)\r\nNats-Num-Pending: \d+\r\nNats-Last-Sequence: \d+\r\n\r\n"
)
"""The server's headers of a batch's message that has none of its own; all of them, so that no
sender's come before. Taking them apart by name costs as much as all else about a message."""


class Stored(NamedTuple):
    """One message of a stream."""

    subject: str
    sequence: int
    stored_at: str
    """The server's time in RFC 3339; compares as text within a stream."""
    operation: str
    """`KV-Operation` or the reason of a server's marker; empty for a value."""
    payload: bytes


class Page(NamedTuple):
    """Messages in the order of their sequences."""

    messages: list[Stored]
    complete: bool
    """Nothing came after them when the page was read."""


class DirectGet:
    """Asks for one page at a time; made by `reading`."""

    def __init__(self, bus: Bus, stream: str, timeout_s: float) -> None:
        self._bus = bus
        self._stream = stream
        self._timeout_s = timeout_s
        self._base = bus.feed_subject()
        self._numbers = itertools.count()
        self._reply = ""
        self._messages: list[Stored] = []
        self._done: asyncio.Future[bool] | None = None

    async def page(self, pattern: str, first: int | datetime, batch: int, max_bytes: int) -> Page:
        """Up to `batch` messages, of about `max_bytes`, from the sequence or time `first` on.

        Raises:
            NoResponders: There is no such stream, or JetStream isn't ready.
            NoAnswer: Nothing came in time, or the connection was lost meanwhile.
            Disconnected: There is no connection.
            BusError: JetStream refuses.
        """
        begin = {"start_time": first} if isinstance(first, datetime) else {"seq": first}
        return await self._ask(
            {"next_by_subj": pattern, **begin, "batch": batch, "max_bytes": max_bytes}
        )

    async def messages(self, pattern: str, batch: int, max_bytes: int) -> AsyncIterator[Stored]:
        """All that match, in the order of their sequences, in pages of that size.

        Raises:
            BusError: As `page`.
        """
        first, complete = 1, False
        while not complete:
            page = await self.page(pattern, first, batch, max_bytes)
            for message in page.messages:
                first = message.sequence + 1
                yield message
            complete = page.complete or not page.messages

    async def last(self, pattern: str) -> Stored | None:
        """The last message that matches.

        Raises:
            BusError: As `page`.
        """
        messages = (await self._ask({"last_by_subj": pattern})).messages
        return messages[-1] if messages else None

    def receive(self, payload: bytes, _reply: str, subject: str, headers: bytes | None) -> None:
        """Takes one message of the page, or its end."""
        done = self._done
        if subject != self._reply or done is None or done.done():
            return  # of a page that was given up
        if (plain := _PLAIN.fullmatch(headers or b"")) is not None:
            name, sequence, stamp = plain.groups()
            self._messages.append(
                Stored(_text(name), int(sequence), _nanoseconds(stamp.decode()), "", payload)
            )
            return
        status = status_of(headers)
        fields = fields_of(headers or b"")
        if status == 0 and "nats-sequence" in fields:
            self._messages.append(_stored(fields, payload))
            if "nats-num-pending" not in fields:  # no batch: nothing follows
                done.set_result(True)
        elif status in (_END_OF_BATCH, _NOT_FOUND):
            done.set_result(fields.get("nats-num-pending", "0") == "0")
        elif status == _NO_RESPONDERS:
            done.set_exception(NoResponders(f"nobody answers for the stream {self._stream}"))
        else:
            done.set_exception(BusError(f"the stream {self._stream} refuses with {status}"))

    @property
    def subject(self) -> str:
        """The pattern of this reader's reply subjects."""
        return f"{self._base}.*"

    async def _ask(self, query: dict[str, Any]) -> Page:
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._reply = f"{self._base}.{next(self._numbers)}"
        self._messages, self._done = [], done
        body = msgspec.json.encode(query)
        with self._bus.failing_at_disconnect(done):
            self._bus.publish(f"$JS.API.DIRECT.GET.{self._stream}", body, self._reply)
            try:
                async with asyncio.timeout(self._timeout_s):
                    complete = await done
            except TimeoutError:
                raise NoAnswer(
                    f"no answer from the stream {self._stream} within {self._timeout_s} s"
                ) from None
        return Page(self._messages, complete)


@asynccontextmanager
async def reading(bus: Bus, stream: str, timeout_s: float) -> AsyncIterator[DirectGet]:
    """A reader of `stream` for the length of a block."""
    reader = DirectGet(bus, stream, timeout_s)
    subscription = await bus.subscribe_raw(reader.subject, reader.receive)
    try:
        yield reader
    finally:
        subscription.close()


def _text(name: bytes) -> str:
    """A subject may be any bytes: who may publish there chose them."""
    return name.decode("utf-8", "replace")


def _stored(fields: dict[str, str], payload: bytes) -> Stored:
    return Stored(
        subject=fields["nats-subject"],
        sequence=int(fields["nats-sequence"]),
        stored_at=_nanoseconds(fields["nats-time-stamp"]),
        operation=fields.get("kv-operation", "") or fields.get("nats-marker-reason", ""),
        payload=payload,
    )


def _nanoseconds(stamp: str) -> str:
    """Nine digits behind the point: the server leaves zeros at the end out."""
    if len(stamp) == _WHOLE_STAMP:
        return stamp[:-1]
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    return f"{whole}.{fraction:0<9}"
