"""The audit trail: an event is stored before its change, and read newest first."""

import getpass
from datetime import UTC, datetime

from droveway.contracts.audit import (
    ANY,
    AuditRecorded,
    Author,
    audit_decoder,
    audit_subject,
    encode_json,
)
from droveway.contracts.envelope import MALFORMED, token
from droveway.contracts.jetstream import AUDIT
from droveway.runtime.bus import Bus, read_jetstream
from droveway.runtime.bus.direct_get import reading
from droveway.runtime.errors import BusError, DrovewayError

TIMEOUT_S = 2.0
"""One question to the broker."""
_PAGE_BYTES = 4 * 1024 * 1024


class NotRecorded(DrovewayError):
    """The event isn't known to be stored, so what it tells of must not be done."""


class TrailUnavailable(DrovewayError):
    """The trail can't be read."""


def local_author() -> Author:
    """Who types commands here, as the operating system says."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return Author(via="operator", id=user[:256])


async def record(bus: Bus, event: AuditRecorded) -> None:
    """Stores an audit event.

    Raises:
        NotRecorded: It isn't known to be stored.
    """
    body, headers = encode_json(event), {"Nats-Msg-Id": event.id}
    try:
        subject = audit_subject(event.by.via)
        read_jetstream(await bus.request(subject, body, TIMEOUT_S, headers))
    except BusError as error:
        raise NotRecorded(
            f"the audit event can't be stored, so nothing was done: {error}"
        ) from None


async def read_trail(bus: Bus, limit: int, before: int = 0) -> list[tuple[int, AuditRecorded]]:
    """The newest events with their numbers, newest first; `before` a number where it isn't 0.

    Raises:
        TrailUnavailable: The stream doesn't answer.
    """
    try:
        async with reading(bus, AUDIT, TIMEOUT_S) as reader:
            last = await reader.last(ANY)
            newest = 0 if last is None else last.sequence
            end = min(newest + 1, before or newest + 1)
            page = await reader.page(ANY, max(1, end - limit), limit, _PAGE_BYTES)
    except BusError as error:
        raise TrailUnavailable(str(error)) from None
    found = []
    for stored in page.messages:
        if stored.sequence < end:
            try:
                found.append((stored.sequence, audit_decoder.decode(stored.payload)))
            except MALFORMED:
                continue  # of a later version
    return found[::-1]


def new_event_id() -> str:
    """Names one event."""
    return f"aud_{token()}"


def now() -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
