"""Rows in their order, taken as messages: those of one tenant share one."""

from collections import deque
from typing import NamedTuple

import msgspec

from droveway.contracts import usage
from droveway.contracts.envelope import encode

_HEAD_BYTES = 3
"""Of an array of up to 65,535 rows."""


class Message(NamedTuple):
    """Rows on their way."""

    subject: str
    payload: bytes
    rows: int


class _Parcel:
    """Rows that will share a message."""

    __slots__ = ("rows", "size_bytes")

    def __init__(self) -> None:
        self.rows: list[msgspec.Raw] = []
        self.size_bytes = _HEAD_BYTES

    def takes(self, row: bytes) -> bool:
        """Takes a row if there is room for it; the first one always."""
        size_bytes = self.size_bytes + len(row)
        if self.rows and (len(self.rows) == usage.MAX_ROWS or size_bytes > usage.MAX_ROWS_BYTES):
            return False
        self.rows.append(msgspec.Raw(row))
        self.size_bytes = size_bytes
        return True


class RowQueue:
    """Rows, encoded as they come; who puts them bounds their number."""

    def __init__(self) -> None:
        self._rows: deque[tuple[str, bytes]] = deque()

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, row: usage.Row) -> None:
        """Behind all others."""
        self._rows.append((usage.usage_subject(row.tenant), encode(row)))

    def take(self, at_most: int) -> list[Message]:
        """The first rows, in as few messages as the bounds of one allow.

        Rows of a tenant keep their order; messages come in that of their first rows.
        """
        parcels: list[tuple[str, _Parcel]] = []
        last: dict[str, _Parcel] = {}
        for _ in range(min(at_most, len(self._rows))):
            subject, row = self._rows.popleft()
            parcel = last.get(subject)
            if parcel is None or not parcel.takes(row):
                parcel = last[subject] = _Parcel()
                parcel.takes(row)
                parcels.append((subject, parcel))
        return [
            Message(subject, usage.encode_rows(parcel.rows), len(parcel.rows))
            for subject, parcel in parcels
        ]
