"""Snapshots in the KV bucket `limits`: a head by compare-and-set, after the pieces that it names.

Pieces have names of their own, so a writer that is overtaken spoils nothing: what the head names
was complete before the head said so. Pieces older than the head that it doesn't name belong to
nobody: their writer would find another head than it began with.
"""

import binascii
import logging
import os
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from droveway.contracts.envelope import MALFORMED, encode
from droveway.contracts.jetstream import SNAPSHOTS
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus, store
from droveway.runtime.bus.direct_get import DirectGet, Stored, reading
from droveway.runtime.errors import BusError, JetStreamRefused

log = logging.getLogger(__name__)

PIECE_BYTES = 700 * 1024
"""Of a piece, which has to fit the broker's `max_payload` of 1 MiB."""
_MARKER_TTL = "1h"
"""Then the marker of a deleted piece is gone as well."""
_PAGE_MESSAGES = 64
_PAGE_BYTES = 4 * 1024 * 1024
_TRIES = 3
"""At reading a snapshot, which may be replaced meanwhile."""


class Head(msgspec.Struct, frozen=True, array_like=True):
    """The bucket's value `<partition>.head`."""

    name: str
    pieces: int
    sequence: int
    """Of the log: the snapshot holds all up to it."""
    at_ms: int
    """The log's time there."""
    crc: int
    """CRC-32 of all pieces."""


class Snapshot(NamedTuple):
    """What was read."""

    chunks: list[bytes]
    sequence: int
    at_ms: int


class SnapshotStatistics(NamedTuple):
    """A snapshot for gauges."""

    stored: int
    stored_bytes: int
    failed: int
    """Writes that were refused, not answered or overtaken, and snapshots that can't be read."""


_head_decoder = msgspec.msgpack.Decoder(Head)
_chunks_decoder = msgspec.msgpack.Decoder(list[bytes])


class Snapshots:
    """One partition's snapshots."""

    def __init__(self, bus: Bus, partition: int, within_s: float) -> None:
        self._bus = bus
        self._within_s = within_s
        self._base = f"$KV.{SNAPSHOTS}.{partition}."
        self._stored = self._stored_bytes = self._failed = 0

    async def load(self) -> Snapshot | None:
        """The newest one; None when there is none, or none that can be read.

        Raises:
            BusError: The bucket can't be read now.
        """
        async with reading(self._bus, f"KV_{SNAPSHOTS}", self._within_s) as reader:
            for _ in range(_TRIES):
                values = await self._values(reader)
                head, revision = _head(values.get("head"))
                if head is None:
                    return None
                data = b"".join(values[key].payload for key in _keys(head) if key in values)
                if binascii.crc32(data) == head.crc:
                    await self._delete(
                        key
                        for key, value in values.items()
                        if value.sequence < revision and value.payload and key not in _keys(head)
                    )
                    return Snapshot(_chunks_decoder.decode(data), head.sequence, head.at_ms)
        self._failed += 1
        log_event(log, "snapshot_unreadable", level=logging.ERROR, reason="pieces are missing")
        return None

    async def sequence(self) -> int:
        """The log's sequence in the newest one; 0 when there is none.

        Raises:
            BusError: The bucket can't be read now.
        """
        async with reading(self._bus, f"KV_{SNAPSHOTS}", self._within_s) as reader:
            head, _revision = _head(await reader.last(self._base + "head"))
        return head.sequence if head else 0

    async def write(self, snapshot: Snapshot) -> bool:
        """Stores one, unless a newer one is there; whether it was stored."""
        try:
            return await self._write(snapshot)
        except BusError as error:
            self._failed += 1
            log_event(log, "snapshot_unstored", level=logging.WARNING, reason=str(error))
            return False

    def statistics(self) -> SnapshotStatistics:
        """A snapshot for gauges."""
        return SnapshotStatistics(self._stored, self._stored_bytes, self._failed)

    async def _write(self, snapshot: Snapshot) -> bool:
        async with reading(self._bus, f"KV_{SNAPSHOTS}", self._within_s) as reader:
            before, revision = _head(await reader.last(self._base + "head"))
        data = encode(snapshot.chunks)
        pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
        head = Head(
            name=f"{snapshot.sequence}-{os.urandom(4).hex()}",
            pieces=len(pieces),
            sequence=snapshot.sequence,
            at_ms=snapshot.at_ms,
            crc=binascii.crc32(data),
        )
        try:
            for key, piece in zip(_keys(head), pieces, strict=True):
                await self._put(key, piece)
            await self._put("head", encode(head), expected=revision)
        except JetStreamRefused:
            await self._delete(_keys(head))
            raise
        self._stored += 1
        self._stored_bytes += len(data)
        if before is not None:
            await self._delete(_keys(before))
        return True

    async def _values(self, reader: DirectGet) -> dict[str, Stored]:
        """All that the partition has in the bucket."""
        pages = reader.messages(f"{self._base}>", _PAGE_MESSAGES, _PAGE_BYTES)
        return {message.subject.removeprefix(self._base): message async for message in pages}

    async def _delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            await self._put(key, b"", headers={"KV-Operation": "DEL", "Nats-TTL": _MARKER_TTL})

    async def _put(
        self,
        key: str,
        value: bytes,
        *,
        expected: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        subject, within_s = self._base + key, self._within_s
        await store(self._bus, subject, value, within_s, expected=expected, headers=headers)


def _head(stored: Stored | None) -> tuple[Head | None, int]:
    """The head and its revision."""
    if stored is None:
        return None, 0
    try:
        return _head_decoder.decode(stored.payload), stored.sequence
    except MALFORMED as error:
        log_event(log, "snapshot_unreadable", level=logging.ERROR, reason=str(error)[:200])
        return None, stored.sequence


def _keys(head: Head) -> list[str]:
    return [f"{head.name}.{index}" for index in range(head.pieces)]
