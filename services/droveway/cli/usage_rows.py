"""Reads the rows of one request out of the stream USAGE: no consumer, nothing left behind.

A request id carries the time at which it was made, so the read begins there and ends as soon as the
request's own row names as many attempts as were found.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from droveway.contracts.envelope import PREFIX, new_instance, request_time_ms
from droveway.contracts.jetstream import USAGE
from droveway.contracts.usage import AttemptRecorded, RequestRecorded, rows_of
from droveway.runtime.bus import BusSettings, connect
from droveway.runtime.bus.direct_get import DirectGet, Stored, reading
from droveway.runtime.errors import SettingsError

BATCH_MESSAGES = 500
_BATCH_BYTES = 4 * 1024 * 1024
CLOCK_SKEW_S = 5.0
"""The broker's clock stamps rows, the gateway's stamped the id."""
LONGEST_REQUEST_S = 900.0
"""Rows stored later than this after the request began belong to others."""
CONNECT_LIMIT_S = 5
_PATTERN = f"{PREFIX}.usage.*"
_ANSWER_LIMIT_S = 5.0
_ASK_AGAIN_S = 0.1


class Trail(NamedTuple):
    """What a request has left behind so far."""

    request: RequestRecorded | None
    attempts: tuple[AttemptRecorded, ...]

    @property
    def complete(self) -> bool:
        """Whether no row is still on its way."""
        return self.request is not None and len(self.attempts) >= self.request.attempts


async def read_trail(broker: BusSettings, request_id: str, wait_s: float) -> Trail:
    """The rows of `request_id`; waits up to `wait_s` for those that are still on their way.

    Raises:
        SettingsError: `request_id` is none, or the server can't be reached or refuses the user.
        BusError: The stream doesn't answer.
    """
    try:
        began = datetime.fromtimestamp(request_time_ms(request_id) / 1000, UTC)
    except (ValueError, OverflowError) as error:
        raise SettingsError(str(error)) from None
    broker = msgspec.structs.replace(broker, connect_within_s=CONNECT_LIMIT_S)
    async with (
        connect(broker, "operator", new_instance("operator")) as bus,
        reading(bus, USAGE, _ANSWER_LIMIT_S) as reader,
    ):
        return await _collect(reader, request_id, began, wait_s)


async def _collect(reader: DirectGet, request_id: str, began: datetime, wait_s: float) -> Trail:
    until_s = time.monotonic() + wait_s
    first: int | datetime = began - timedelta(seconds=CLOCK_SKEW_S)
    last = began + timedelta(seconds=LONGEST_REQUEST_S)
    rows: dict[bytes, AttemptRecorded | RequestRecorded] = {}
    while True:
        page = await reader.page(_PATTERN, first, BATCH_MESSAGES, _BATCH_BYTES)
        for row in _of(request_id, page.messages):
            rows[row.attempt_id if isinstance(row, AttemptRecorded) else b""] = row
        trail = _trail(rows)
        if trail.complete or (page.messages and _time(page.messages[-1]) > last):
            return trail
        if page.messages:
            first = page.messages[-1].sequence + 1
        if page.complete:
            if time.monotonic() >= until_s:
                return trail
            await asyncio.sleep(_ASK_AGAIN_S)  # the spool stores a row a moment after the answer


def _time(stored: Stored) -> datetime:
    return datetime.fromisoformat(f"{stored.stored_at}+00:00")


def _of(request_id: str, messages: list[Stored]) -> list[AttemptRecorded | RequestRecorded]:
    needle = request_id.encode()
    rows = []
    for message in messages:
        # Decoding each row of a busy stream would take 20 times as long.
        if needle in message.payload:
            found = rows_of(message.payload, lambda _: None)
            rows += [row for row in found if row.request_id == request_id]
    return rows


def _trail(rows: dict[bytes, AttemptRecorded | RequestRecorded]) -> Trail:
    request = rows.get(b"")
    attempts = [row for row in rows.values() if isinstance(row, AttemptRecorded)]
    return Trail(
        request if isinstance(request, RequestRecorded) else None,
        tuple(sorted(attempts, key=lambda row: row.attempt)),
    )
