"""What the audit trail has of a change: whole entries without hashes, or, of a revocation, little.

A revocation is small so that it fits a trail that is nearly full; a full one doesn't stop it.
"""

import logging
from typing import Any, TypeVar

import msgspec

from droveway.contracts.access import Key, Tenant
from droveway.contracts.audit import AuditRecorded, Author
from droveway.otel.logs import log_event
from droveway.runtime.audit_trail import new_event_id, now

log = logging.getLogger(__name__)

_HASHES = ("sha256", "previous_sha256")

E = TypeVar("E", Key, Tenant)


def seen(entry: Key | Tenant) -> dict[str, Any]:
    """An entry as people may see it: without hashes."""
    plain: dict[str, Any] = msgspec.to_builtins(entry)
    return {name: value for name, value in plain.items() if name not in _HASHES}


def revokes(before: E | None, after: E | None) -> bool:
    """Whether a change does nothing but revoke: a key or tenant is disabled, or a key deleted.

    Not that of a tenant: its keys live on without its limits.
    """
    if before is None:
        return False
    if after is None:
        return isinstance(before, Key)
    return after.state == "disabled" and after == msgspec.structs.replace(before, state="disabled")


def event_of(
    noun: str, verb: str, entry_id: str, by: Author, before: E | None, after: E | None
) -> AuditRecorded:
    """The event of a change that is about to be made; of a revocation with the states only."""
    told = _state if revokes(before, after) else seen
    return AuditRecorded(
        id=new_event_id(),
        at=now(),
        by=by,
        action=f"{noun}.{verb}",
        target=f"{noun}.{entry_id}",
        before=None if before is None else told(before),
        after=None if after is None else told(after),
    )


def tell_full(event: AuditRecorded) -> None:
    """Who revokes what without an event, since the trail has no room for it."""
    by = event.by
    log_event(
        log, "audit_full", level=logging.ERROR, event_id=event.id, action=event.action,
        target=event.target, via=by.via, author=by.id, role=by.role, address=by.address,
        request_id=by.request_id,
    )  # fmt: skip


def _state(entry: Key | Tenant) -> dict[str, Any]:
    return {"state": entry.state}
