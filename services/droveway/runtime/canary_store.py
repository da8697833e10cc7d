"""Reads and sets canaries' orders in the bucket `routing`: by operators, and by the guard."""

from typing import Any, NamedTuple

import msgspec

from droveway.contracts.audit import AuditRecorded, Author
from droveway.contracts.canary import CanaryOrder, encode_order, entry_of, order_decoder
from droveway.runtime.audit_trail import new_event_id, now
from droveway.runtime.audited_write import audited_write
from droveway.runtime.bus import Bus
from droveway.runtime.routing_entries import check_size, decoded, last_of, subject_of


class StoredOrder(NamedTuple):
    """What the bucket has of a route's canary."""

    order: CanaryOrder | None
    revision: int
    """0: there never was an entry."""


class CanaryStore:
    """One connection's way to the orders."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def get(self, route: str) -> StoredOrder:
        """The order for a route as it is stored now.

        Raises:
            StoreUnavailable: Nobody can say, or it can't be read.
        """
        stored = await last_of(self._bus, entry_of(route))
        if stored is None:
            return StoredOrder(None, 0)
        return StoredOrder(decoded(stored, order_decoder), stored.sequence)

    async def set(
        self, present: StoredOrder, order: CanaryOrder, author: Author, verb: str
    ) -> CanaryOrder:
        """Stores an order in place of `present`, with the time; returns it.

        Args:
            present: What `get` gave.
            order: What holds from now on.
            author: Whose it is.
            verb: `set`, `advanced` or `rolled_back`, for the audit trail.

        Raises:
            EntryInvalid: It is too large.
            RevisionChanged: `present` isn't the present one any more.
            NotRecorded: Nothing was done.
            StoreUnavailable: The bucket doesn't answer.
        """
        order = msgspec.structs.replace(order, at=now(), by=f"{author.via} {author.id}")
        value = encode_order(order)
        check_size("canary", value)
        event = AuditRecorded(
            id=new_event_id(),
            at=order.at,
            by=author,
            action=f"canary.{verb}",
            target=f"canary.{order.route}",
            before=_seen(present.order),
            after=_seen(order),
            reason=order.reason,
        )
        await audited_write(
            self._bus, subject_of(entry_of(order.route)), event, present.revision, value,
            revoking=order.state == "rolled_back",
        )  # fmt: skip
        return order


def _seen(order: CanaryOrder | None) -> dict[str, Any] | None:
    return None if order is None else msgspec.to_builtins(order)
