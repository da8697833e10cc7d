"""The log in the stream LIMITS: appended under the expected last sequence, read in pages.

An append has one of two ends: it stands in the log, or the log went on without it. When its answer
is lost neither is known, so it is sent again, unchanged, until an answer comes. nats-server 2.14
looks at the expected sequence first and at `Nats-Msg-Id` then, a cluster may do it the other way
round: so "duplicate" is taken as stored, and "wrong last sequence" leads to a look at what stands
there.
"""

import asyncio
import logging
import time
from datetime import datetime
from typing import NamedTuple

from droveway.contracts import limits
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.jetstream import LIMITS
from droveway.contracts.limits import Batch
from droveway.limiter.settings import LimiterSettings
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus, store
from droveway.runtime.bus.direct_get import DirectGet, Page, Stored
from droveway.runtime.errors import (
    BusError,
    Disconnected,
    DrovewayError,
    JetStreamRefused,
    WrongLastSequence,
)

log = logging.getLogger(__name__)

_AGAIN_S = 0.02
"""Wait before an append that was refused for another reason is sent again."""
_LOOKS = 20
"""At what stands behind the expected sequence; a replica may lag behind."""


class Fenced(DrovewayError):
    """Somebody else has appended: this process doesn't own the partition any more."""


class LogUnreadable(DrovewayError):
    """A batch of another form stands in the log: a newer version wrote it, say."""


class Appended(NamedTuple):
    """A batch that stands in the log."""

    sequence: int
    sent_s: float
    """The monotonic second at which it was sent last: until then nobody else owned the log."""


class Entry(NamedTuple):
    """A batch as it was read."""

    sequence: int
    batch: Batch


class LogStatistics(NamedTuple):
    """A snapshot for gauges."""

    appends: int
    commit_s: float
    """All appends together, from sending to the answer."""
    doubts: int
    """Appends that were sent again, since no answer came."""


class Log:
    """One partition's log, as one process appends to it and reads it."""

    def __init__(self, bus: Bus, partition: int, settings: LimiterSettings) -> None:
        self._bus = bus
        self._settings = settings
        self.subject = limits.limits_subject(partition)
        self._appends = self._doubts = 0
        self._commit_s = 0.0

    async def append(
        self, reader: DirectGet, owner: str, number: int, payload: bytes, expected: int
    ) -> Appended:
        """Returns once the batch stands in the log, as long as that may take.

        Args:
            reader: For a look at what stands there.
            owner: With `number` the batch's name.
            number: Never used twice by an owner.
            payload: The batch.
            expected: The log's last sequence; 0 when it is empty.

        Raises:
            Fenced: Something else stands there.
            Disconnected: The connection is lost; whether it stands there isn't known.
        """
        began_s = time.monotonic()
        while True:
            sent_s = time.monotonic()
            sequence = await self._send(reader, owner, number, payload, expected)
            if sequence:
                self._appends += 1
                self._commit_s += time.monotonic() - began_s
                return Appended(sequence, sent_s)
            self._doubts += 1

    async def page(self, reader: DirectGet, after: int) -> tuple[list[Entry], bool]:
        """The batches behind the sequence `after`, and whether these were all.

        Raises:
            BusError: The stream can't be read now.
        """
        own = self._settings
        page = await reader.page(self.subject, after + 1, own.page_messages, own.page_bytes)
        return _entries(page), page.complete or not page.messages

    async def standing(self) -> tuple[int, int, int]:
        """First and last sequence of the stream, and the broker's time in Unix milliseconds.

        Raises:
            BusError: JetStream doesn't answer.
        """
        answer = await self._bus.jetstream(
            f"STREAM.INFO.{LIMITS}", {}, self._settings.read_within_s
        )
        state = answer["state"]
        return state["first_seq"], state["last_seq"], unix_ms(answer["ts"])

    def statistics(self) -> LogStatistics:
        """A snapshot for gauges."""
        return LogStatistics(self._appends, self._commit_s, self._doubts)

    async def _send(
        self,
        reader: DirectGet,
        owner: str,
        number: int,
        payload: bytes,
        expected: int,
    ) -> int:
        """One attempt; the sequence at which the batch stands, or 0: not known yet."""
        within_s = self._settings.ack_within_ms / 1000
        headers = {"Nats-Msg-Id": f"{owner}-{number}"}
        try:
            return await store(
                self._bus, self.subject, payload, within_s, expected=expected, headers=headers
            )
        except WrongLastSequence:
            return await self._look(reader, owner, number, expected)
        except JetStreamRefused as error:
            log_event(log, "limits_append_refused", level=logging.ERROR, reason=str(error))
            await asyncio.sleep(_AGAIN_S)
        except Disconnected:
            raise
        except BusError as error:
            log_event(log, "limits_append_unanswered", level=logging.WARNING, reason=str(error))
            await asyncio.sleep(_AGAIN_S)
        return 0

    async def _look(self, reader: DirectGet, owner: str, number: int, expected: int) -> int:
        """Whose batch follows the expected sequence: the sequence of ours, 0 if it isn't known."""
        for _ in range(_LOOKS):
            try:
                page = await reader.page(self.subject, expected + 1, 1, self._settings.page_bytes)
            except Disconnected:
                raise
            except BusError:
                return 0
            for entry in _entries(page):
                if (entry.batch.owner, entry.batch.number) == (owner, number):
                    return entry.sequence
                raise Fenced(f"{entry.batch.owner} has appended to {self.subject}")
            await asyncio.sleep(_AGAIN_S)
        raise Fenced(f"the log {self.subject} doesn't reach to {expected} any more")


def unix_ms(stamp: str) -> int:
    """The server's RFC 3339 time in UTC, with or without its Z, in Unix milliseconds."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 1000 + int(f"{fraction:0<3}"[:3])


def _entries(page: Page) -> list[Entry]:
    return [Entry(message.sequence, _batch(message)) for message in page.messages]


def _batch(message: Stored) -> Batch:
    try:
        return limits.batch_decoder.decode(message.payload)
    except MALFORMED as error:
        raise LogUnreadable(
            f"message {message.sequence} of {message.subject} is no batch that this version "
            f"knows: {str(error)[:200]}; run the limiter's newest version"
        ) from None
