"""A snapshot of the book: one record after the other as msgpack, in chunks that fit one message."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from droveway.contracts.access import Period
from droveway.limiter.reservations import Hold, Pending

CHUNK_BYTES = 700_000
_ARRAY_32 = b"\xdd"
_HEADER_BYTES = 5


class Head(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="h"):
    """How far the book is."""

    usage_seq: int
    at_ms: int
    remembered_holds: int


class WindowRecord(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="w"):
    """One sliding window."""

    name: str
    window_ms: int
    parts: dict[int, int]


class BucketRecord(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="b"):
    """One bucket of the generic cell rate algorithm."""

    name: str
    tat_ns: int
    busy_since_ms: int
    slacks: list[tuple[int, int]]


class HoldRecord(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="r"):
    """One request; the open ones first, then the closed ones as they were closed."""

    request_id: str
    hold: Hold


class AccountRecord(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="a"):
    """What one account has spent."""

    name: str
    spent: dict[Period, tuple[int, int]]


class PendingRecord(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="p"):
    """One settled attempt without a row."""

    attempt_id: bytes
    pending: Pending


class CountedRecord(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="c"):
    """Attempts whose rows are counted, oldest first."""

    attempt_ids: list[bytes]


class LearnedRecord(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="l"):
    """How long one model's answers were."""

    model: str
    counts: dict[int, int]


Record = (
    Head
    | WindowRecord
    | BucketRecord
    | HoldRecord
    | AccountRecord
    | PendingRecord
    | CountedRecord
    | LearnedRecord
)
_decode = msgspec.msgpack.Decoder(list[Record]).decode
_encode = msgspec.msgpack.Encoder().encode


def pack(records: Iterable[Record]) -> list[bytes]:
    """The records as arrays of at most `CHUNK_BYTES`; a larger single one stands alone."""
    chunks: list[bytes] = []
    items: list[bytes] = []
    size = _HEADER_BYTES
    for record in records:
        item = _encode(record)
        if items and size + len(item) > CHUNK_BYTES:
            chunks.append(_array(items))
            items, size = [], _HEADER_BYTES
        items.append(item)
        size += len(item)
    chunks.append(_array(items))
    return chunks


def unpack(chunks: Sequence[bytes]) -> Iterator[Record]:
    """What was packed.

    Raises:
        msgspec.DecodeError: A chunk isn't an array of records.
    """
    for chunk in chunks:
        yield from _decode(chunk)


def _array(items: list[bytes]) -> bytes:
    return _ARRAY_32 + len(items).to_bytes(4, "big") + b"".join(items)
