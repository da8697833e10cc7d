"""The audit trail: an event is stored before its change, and read newest first."""

import os
import pwd
from collections import deque
from datetime import UTC, datetime
from typing import get_args

import msgspec

from droveway.contracts.audit import (
    ANY,
    AuditRecorded,
    Author,
    Via,
    audit_decoder,
    audit_subject,
    encode_json,
)
from droveway.contracts.envelope import MALFORMED, token
from droveway.contracts.jetstream import AUDIT
from droveway.runtime.bus import Bus, store
from droveway.runtime.bus.direct_get import DirectGet, Stored, reading
from droveway.runtime.errors import BusError, DrovewayError, JetStreamRefused

TIMEOUT_S = 2.0
"""One question to the broker."""
_PAGE_BYTES = 4 * 1024 * 1024
_VIAS: tuple[Via, ...] = get_args(Via)
_FULL = frozenset({10002, 10023, 10047, 10077})
"""The account, the server or the stream has no room; the last is "maximum bytes exceeded"."""


class NotRecorded(DrovewayError):
    """The event isn't known to be stored, so what it tells of must not be done."""


class TrailFull(NotRecorded):
    """There is no room for the event; a revocation is made all the same."""


class TrailUnavailable(DrovewayError):
    """The trail can't be read."""


def local_author() -> Author:
    """Who types commands here, as the operating system says; `LOGNAME` and the like say nothing."""
    number = os.getuid()
    try:
        user = pwd.getpwuid(number).pw_name
    except KeyError:  # a container's user without a name
        user = f"uid {number}"
    return Author(via="operator", id=user[:256])


async def record(bus: Bus, event: AuditRecorded) -> None:
    """Stores an audit event.

    Raises:
        TrailFull: There is no room for it.
        NotRecorded: It isn't known to be stored.
    """
    body, headers = encode_json(event), {"Nats-Msg-Id": event.id}
    try:
        subject = audit_subject(event.by.via)
        await store(bus, subject, body, TIMEOUT_S, headers=headers)
    except BusError as error:
        full = isinstance(error, JetStreamRefused) and error.number in _FULL
        raise (TrailFull if full else NotRecorded)(
            f"the audit event can't be stored, so nothing was done: {error}"
        ) from None


async def read_trail(bus: Bus, limit: int, before: int = 0) -> list[tuple[int, AuditRecorded]]:
    """The newest events with their numbers, newest first; `before` a number where it isn't 0.

    Of large events there may be fewer than `limit`, but none that is newer is left out. By which of
    the ways an event came is what the broker has proven, whatever it says itself.

    Raises:
        TrailUnavailable: The stream doesn't answer.
    """
    try:
        async with reading(bus, AUDIT, TIMEOUT_S) as reader:
            last = await reader.last(ANY)
            newest = 0 if last is None else last.sequence
            end = min(newest + 1, before or newest + 1)
            stored = await _read(reader, max(1, end - limit), end)
    except BusError as error:
        raise TrailUnavailable(str(error)) from None
    found = []
    for one in reversed(stored):
        try:
            found.append((one.sequence, _proven(one, audit_decoder.decode(one.payload))))
        except MALFORMED:
            continue  # of a later version
    return found


async def _read(reader: DirectGet, first: int, end: int) -> deque[Stored]:
    """Events from `first` to before `end`; the oldest are left out where all are too many bytes."""
    kept: deque[Stored] = deque()
    held_bytes = 0
    while first < end:
        page = await reader.page(ANY, first, end - first, _PAGE_BYTES)
        for stored in page.messages:
            first = stored.sequence + 1
            if stored.sequence < end:
                kept.append(stored)
                held_bytes += len(stored.payload)
            while held_bytes > _PAGE_BYTES and len(kept) > 1:
                held_bytes -= len(kept.popleft().payload)
        if page.complete or not page.messages:
            break
    return kept


def _proven(stored: Stored, event: AuditRecorded) -> AuditRecorded:
    via = next((one for one in _VIAS if stored.subject == audit_subject(one)), "operator")
    if event.by.via == via:
        return event
    return msgspec.structs.replace(event, by=msgspec.structs.replace(event.by, via=via))


def new_event_id() -> str:
    """Names one event."""
    return f"aud_{token()}"


def now() -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
