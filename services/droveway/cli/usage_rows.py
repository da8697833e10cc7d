"""Reads the rows of one request out of the stream USAGE: no consumer, nothing left behind.

A request id carries the time at which it was made, so the read begins there and ends as soon as the
request's own row names as many attempts as were found.
Source: NATS ADR-31 (direct get in batches), nats-server 2.14.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from droveway.contracts.envelope import MALFORMED, PREFIX, new_instance, request_time_ms
from droveway.contracts.jetstream import USAGE
from droveway.contracts.usage import AttemptRecorded, RequestRecorded, row_decoder
from droveway.runtime.bus import Bus, BusSettings, connect
from droveway.runtime.errors import BusError, SettingsError

BATCH_ROWS = 500
CLOCK_SKEW_S = 5.0
"""The broker's clock stamps rows, the gateway's stamped the id."""
LONGEST_REQUEST_S = 900.0
"""Rows stored later than this after the request began belong to others."""
CONNECT_LIMIT_S = 5
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


class _Page(NamedTuple):
    rows: list[bytes]
    next_seq: int
    stored_at: datetime | None
    pending: int
    """Rows behind this page."""


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
    async with connect(broker, "operator", new_instance("operator")) as bus:
        reader = _Reader(bus)
        await reader.listen()
        return await _collect(reader, request_id, began, wait_s)


async def _collect(reader: "_Reader", request_id: str, began: datetime, wait_s: float) -> Trail:
    until_s = time.monotonic() + wait_s
    query: dict[str, Any] = {"start_time": (began - timedelta(seconds=CLOCK_SKEW_S)).isoformat()}
    last = began + timedelta(seconds=LONGEST_REQUEST_S)
    rows: dict[bytes, AttemptRecorded | RequestRecorded] = {}
    while True:
        page = await reader.page(query)
        for row in _of(request_id, page.rows):
            rows[row.attempt_id if isinstance(row, AttemptRecorded) else b""] = row
        trail = _trail(rows)
        if trail.complete or (page.stored_at is not None and page.stored_at > last):
            return trail
        if page.next_seq:
            query = {"seq": page.next_seq}
        if not page.pending:
            if time.monotonic() >= until_s:
                return trail
            await asyncio.sleep(_ASK_AGAIN_S)  # the spool stores a row a moment after the answer


def _of(request_id: str, payloads: list[bytes]) -> list[AttemptRecorded | RequestRecorded]:
    needle = request_id.encode()
    rows = []
    for payload in payloads:
        if needle in payload:  # decoding each row of a busy stream would take 20 times as long
            try:
                row = row_decoder.decode(payload)
            except MALFORMED:
                continue
            if row.request_id == request_id:
                rows.append(row)
    return rows


def _trail(rows: dict[bytes, AttemptRecorded | RequestRecorded]) -> Trail:
    request = rows.get(b"")
    attempts = [row for row in rows.values() if isinstance(row, AttemptRecorded)]
    return Trail(
        request if isinstance(request, RequestRecorded) else None,
        tuple(sorted(attempts, key=lambda row: row.attempt)),
    )


class _Reader:
    """One connection that reads pages of USAGE."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._inbox = bus.feed_subject()
        self._rows: list[bytes] = []
        self._last: dict[str, str] = {}
        self._done: asyncio.Future[None] | None = None

    async def listen(self) -> None:
        """Opens the inbox."""
        await self._bus.subscribe_raw(self._inbox, self._receive)

    async def page(self, query: dict[str, Any]) -> _Page:
        """The next rows from `start_time` or `seq` on.

        Raises:
            BusError: No answer, or one that is no page.
        """
        self._rows, self._last = [], {}
        self._done = asyncio.get_running_loop().create_future()
        body = query | {"next_by_subj": f"{PREFIX}.usage.*", "batch": BATCH_ROWS}
        subject = f"$JS.API.DIRECT.GET.{USAGE}"
        self._bus.publish(subject, msgspec.json.encode(body), self._inbox)
        try:
            async with asyncio.timeout(_ANSWER_LIMIT_S):
                await self._done
        except TimeoutError:
            raise BusError(f"no answer from the stream {USAGE}; does `setup` list it?") from None
        stored = self._last.get("nats-time-stamp")
        return _Page(
            rows=self._rows,
            next_seq=int(self._last.get("nats-sequence", 0)) + 1 if self._rows else 0,
            stored_at=datetime.fromisoformat(_micros(stored)) if stored else None,
            pending=int(self._last.get("nats-num-pending", 0)) if self._rows else 0,
        )

    def _receive(self, data: bytes, _reply: str, _subject: str, headers: bytes | None) -> None:
        assert self._done is not None
        status, fields = _headers(headers or b"")
        if not status:
            self._rows.append(data)
            self._last = fields
        elif not self._done.done():
            if status[0] in ("204", "404"):  # end of batch, nothing (more) there
                self._done.set_result(None)
            else:
                self._done.set_exception(BusError(f"stream {USAGE}: {' '.join(status)}"))


def _headers(raw: bytes) -> tuple[list[str], dict[str, str]]:
    first, *lines = raw.decode("utf-8", "replace").split("\r\n")
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return first.split()[1:], {name.strip().lower(): text.strip() for name, text in fields.items()}


def _micros(stamp: str) -> str:
    """Python reads six digits behind the point; the server writes up to nine."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    return f"{whole}.{fraction[:6]:0<6}+00:00"
