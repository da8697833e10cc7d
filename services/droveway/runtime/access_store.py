"""Changes keys and tenants in the bucket `access`: each recorded first, each for one revision.

The gateway's HTTP API and the command line both write through here.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

import msgspec

from droveway.contracts.access import Key, Tenant
from droveway.contracts.audit import AuditRecorded, Author
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.jetstream import ACCESS
from droveway.otel.logs import log_event
from droveway.runtime.access_checks import key_findings, tenant_findings
from droveway.runtime.access_errors import (
    EntryExists,
    EntryInvalid,
    EntryMissing,
    RevisionChanged,
    StoreUnavailable,
)
from droveway.runtime.access_events import event_of, revokes
from droveway.runtime.audited_write import TIMEOUT_S, audited_write
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import Stored, reading
from droveway.runtime.errors import BusError

log = logging.getLogger(__name__)

MAX_ENTRY_BYTES = 16 * 1024
"""As JSON; the audit trail has each change with two of them."""
MAX_READ_BYTES = 64 * 1024
"""A larger one than may be written is taken all the same, and can be revoked."""
PAGE_ENTRIES = 1_000
_PAGE_BYTES = 4 * 1024 * 1024

E = TypeVar("E", Key, Tenant)


class Entry(NamedTuple, Generic[E]):
    """An entry as the bucket has it."""

    value: E
    revision: int


class AccessStore(Generic[E]):
    """Entries of one kind; made by `keys_store` and `tenants_store`."""

    def __init__(
        self, bus: Bus, noun: str, kind: type[E], findings: Callable[[E], Iterator[str]]
    ) -> None:
        self._bus = bus
        self._noun = noun
        self._decoder: msgspec.json.Decoder[E] = msgspec.json.Decoder(kind)
        self._findings: Callable[[E], Iterator[str]] = findings

    async def get(self, entry_id: str) -> Entry[E]:
        """The entry as it is stored now.

        Raises:
            EntryMissing: There is none.
            StoreUnavailable: Nobody can say.
        """
        stored = await self._last(entry_id)
        if stored is None or stored.operation:
            raise EntryMissing(f"there is no {self._noun} {entry_id!r} in the store")
        return Entry(self._read(stored), stored.sequence)

    async def all(self) -> list[Entry[E]]:
        """Every entry, in the order of the last changes; one that can't be read is left out.

        Raises:
            StoreUnavailable: Nobody can say.
        """
        found: list[Entry[E]] = []
        try:
            async with reading(self._bus, f"KV_{ACCESS}", TIMEOUT_S) as reader:
                pattern = self._subject("*")
                async for stored in reader.messages(pattern, PAGE_ENTRIES, _PAGE_BYTES):
                    value = None if stored.operation else self._readable(stored)
                    if value is not None:
                        found.append(Entry(value, stored.sequence))
        except BusError as error:
            raise StoreUnavailable(str(error)) from None
        return found

    async def create(self, entry: E, by: Author) -> int:
        """Stores an entry under an id that has none; returns its revision.

        Raises:
            EntryExists: It has one.
            EntryInvalid: The entry can't be.
            NotRecorded: Nothing was done.
            StoreUnavailable: The bucket doesn't answer.
        """
        self._check(entry)
        stored = await self._last(entry.id)
        if stored is not None and not stored.operation:
            raise EntryExists(f"there is a {self._noun} {entry.id!r} already")
        event = event_of(self._noun, "created", entry.id, by, None, entry)
        revision = 0 if stored is None else stored.sequence
        try:
            return await self._write(event, revision, msgspec.json.encode(entry))
        except RevisionChanged:
            raise EntryExists(f"there is a {self._noun} {entry.id!r} already") from None

    async def change(self, present: Entry[E], changed: E, by: Author, verb: str = "updated") -> int:
        """Stores `changed` in place of `present`; returns its revision.

        Raises:
            EntryInvalid: The entry can't be.
            RevisionChanged: `present` isn't the present one any more.
            NotRecorded: Nothing was done.
            StoreUnavailable: The bucket doesn't answer.
        """
        revoking = revokes(present.value, changed)
        self._check(changed, MAX_READ_BYTES if revoking else MAX_ENTRY_BYTES)
        event = event_of(self._noun, verb, changed.id, by, present.value, changed)
        value = msgspec.json.encode(changed)
        return await self._write(event, present.revision, value, revoking=revoking)

    async def delete(self, present: Entry[E], by: Author) -> None:
        """Removes an entry.

        Raises:
            RevisionChanged: `present` isn't the present one any more.
            NotRecorded: Nothing was done.
            StoreUnavailable: The bucket doesn't answer.
        """
        before = present.value
        event = event_of(self._noun, "deleted", before.id, by, before, None)
        await self._write(event, present.revision, b"", revoking=revokes(before, None))

    def _check(self, entry: E, most_bytes: int = MAX_ENTRY_BYTES) -> None:
        for finding in self._findings(entry):
            raise EntryInvalid(finding)
        value = msgspec.json.encode(entry)
        if len(value) > most_bytes:
            text = f"the entry has {len(value)} bytes; at most {most_bytes} are kept"
            raise EntryInvalid(text)
        try:  # what was changed in memory was never looked at by the decoder
            self._decoder.decode(value)
        except MALFORMED as error:
            raise EntryInvalid(str(error)) from None

    def _read(self, stored: Stored) -> E:
        try:
            return self._decoder.decode(stored.payload)
        except MALFORMED as error:
            raise StoreUnavailable(
                f"{stored.subject} can't be read, so it can't be changed: {error}"
            ) from None

    def _readable(self, stored: Stored) -> E | None:
        try:
            return self._read(stored)
        except StoreUnavailable as error:
            log_event(log, "access_entry_unreadable", level=logging.ERROR, reason=str(error)[:300])
            return None

    async def _last(self, entry_id: str) -> Stored | None:
        try:
            async with reading(self._bus, f"KV_{ACCESS}", TIMEOUT_S) as reader:
                return await reader.last(self._subject(entry_id))
        except BusError as error:
            raise StoreUnavailable(str(error)) from None

    def _subject(self, entry_id: str) -> str:
        return f"$KV.{ACCESS}.{self._noun}.{entry_id}"

    async def _write(
        self, event: AuditRecorded, revision: int, value: bytes, *, revoking: bool = False
    ) -> int:
        subject = f"$KV.{ACCESS}.{event.target}"
        return await audited_write(self._bus, subject, event, revision, value, revoking=revoking)


def keys_store(bus: Bus) -> AccessStore[Key]:
    """Keys in the bucket."""
    return AccessStore(bus, "key", Key, key_findings)


def tenants_store(bus: Bus) -> AccessStore[Tenant]:
    """Tenants in the bucket."""
    return AccessStore(bus, "tenant", Tenant, tenant_findings)
