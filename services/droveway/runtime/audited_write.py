"""One write to a KV bucket, never without its audit event.

    audit event --- stored ---> write for the revision that was read --- refused ---> `failed`

Of two that change the same revision one is refused. No change is without its event, but one: where
the trail is full a revocation is made all the same, and told in the log.
"""

import logging

import msgspec

from droveway.contracts.audit import AuditRecorded, Outcome
from droveway.otel.logs import log_event
from droveway.runtime.access_errors import RevisionChanged, StoreUnavailable
from droveway.runtime.access_events import tell_full
from droveway.runtime.audit_trail import NotRecorded, TrailFull, new_event_id, now, record
from droveway.runtime.bus import Bus, store
from droveway.runtime.errors import BusError, NoAnswer, WrongLastSequence

log = logging.getLogger(__name__)

TIMEOUT_S = 2.0
"""One question to the broker. An unanswered write isn't repeated: its second refusal would tell
nothing of the first."""


async def audited_write(
    bus: Bus,
    subject: str,
    event: AuditRecorded,
    revision: int,
    value: bytes,
    *,
    revoking: bool = False,
) -> int:
    """Stores `value`, or a deletion where it is empty; returns the new revision.

    Args:
        bus: The connection.
        subject: `$KV.<bucket>.<entry>`.
        event: What the trail has of it.
        revision: The present one, 0 where there is none.
        value: The entry.
        revoking: It is done although the trail has no room for the event.

    Raises:
        RevisionChanged: Somebody else has changed the entry.
        NotRecorded: Nothing was done.
        StoreUnavailable: The bucket doesn't answer.
    """
    try:
        await record(bus, event)
    except TrailFull:
        if not revoking:
            raise
        tell_full(event)
    headers = None if value else {"KV-Operation": "DEL"}
    try:
        return await store(bus, subject, value, TIMEOUT_S, expected=revision, headers=headers)
    except WrongLastSequence as error:
        await _tell(bus, event, "failed", str(error))
        raise RevisionChanged(f"{event.target} has changed since it was read") from None
    except NoAnswer as error:
        await _tell(bus, event, "unknown", str(error))
        raise StoreUnavailable(
            f"the broker doesn't say whether {event.target} was changed; look at it again"
        ) from None
    except BusError as error:
        await _tell(bus, event, "failed", str(error))
        raise StoreUnavailable(f"{event.target} wasn't changed: {error}") from None


async def _tell(bus: Bus, event: AuditRecorded, outcome: Outcome, reason: str) -> None:
    """What became of a change whose event stands; if that can't be stored, the log has it."""
    told = msgspec.structs.replace(
        event, id=new_event_id(), at=now(), outcome=outcome, of=event.id, reason=reason[:500],
        before=None, after=None,
    )  # fmt: skip
    try:
        await record(bus, told)
    except NotRecorded as error:
        log_event(
            log, "audit_outcome_unrecorded", level=logging.ERROR,
            event_id=event.id, outcome=outcome, reason=str(error),
        )  # fmt: skip
