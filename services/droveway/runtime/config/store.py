"""Reads and writes the applied configuration in the bucket `config`, each change recorded first.

Every revision is a message of the bucket's stream, so what was applied before is read from there.
"""

from typing import Any

import msgspec

from droveway.contracts.audit import AuditRecorded, Author
from droveway.contracts.config import Config
from droveway.contracts.configuration import (
    ENTRY,
    MAX_APPLIED_BYTES,
    AppliedConfig,
    applied_decoder,
    encode_applied,
    version_of,
)
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.jetstream import CONFIG
from droveway.runtime.access_errors import (
    EntryInvalid,
    EntryMissing,
    RevisionChanged,
    StoreUnavailable,
)
from droveway.runtime.audit_trail import new_event_id, now
from droveway.runtime.audited_write import TIMEOUT_S, audited_write
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import reading
from droveway.runtime.config.changes import changes_between
from droveway.runtime.config.entries import Revision, Standing, revision_of, standing_of
from droveway.runtime.errors import BusError

SUBJECT = f"$KV.{CONFIG}.{ENTRY}"
_PAGE_REVISIONS = 16
_PAGE_BYTES = 4 * 1024 * 1024


class ConfigStore:
    """One connection's way to the applied configuration."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def current(self) -> Standing:
        """What is applied now.

        Raises:
            StoreUnavailable: Nobody can say.
        """
        try:
            async with reading(self._bus, f"KV_{CONFIG}", TIMEOUT_S) as reader:
                stored = await reader.last(SUBJECT)
        except BusError as error:
            raise _unavailable(error) from None
        return Standing(0, None) if stored is None else standing_of(stored)

    async def history(self) -> list[Revision]:
        """The revisions that the broker has kept, oldest first, releases among them.

        Raises:
            StoreUnavailable: Nobody can say.
        """
        try:
            async with reading(self._bus, f"KV_{CONFIG}", TIMEOUT_S) as reader:
                found = reader.messages(SUBJECT, _PAGE_REVISIONS, _PAGE_BYTES)
                return [revision_of(stored) async for stored in found]
        except BusError as error:
            raise _unavailable(error) from None

    async def at(self, revision: int) -> AppliedConfig:
        """What was applied as that revision.

        Raises:
            EntryMissing: It isn't kept, or it was a release.
            StoreUnavailable: Nobody can say, or it can't be read.
        """
        try:
            async with reading(self._bus, f"KV_{CONFIG}", TIMEOUT_S) as reader:
                page = await reader.page(SUBJECT, max(1, revision), 1, _PAGE_BYTES)
        except BusError as error:
            raise _unavailable(error) from None
        found = [one for one in page.messages if one.sequence == revision]
        if not found:
            raise EntryMissing(
                f"there is no revision {revision}; `droveway config history` lists them"
            )
        standing = standing_of(found[0])
        if standing.unreadable:
            raise StoreUnavailable(standing.unreadable)
        if standing.applied is None:
            raise EntryMissing(f"revision {revision} is a release: it has no configuration")
        return standing.applied

    async def apply(
        self, present: Standing, config: Config, author: Author, reason: str = "", of: int = 0
    ) -> Standing:
        """Puts a configuration, which was checked, in place of the `present` one.

        Args:
            present: What `current` gave.
            config: What holds from now on.
            author: Whose change it is.
            reason: For the audit trail and the history.
            of: The revision that it brings back; 0: none.

        Raises:
            EntryInvalid: It or the reason is too large.
            RevisionChanged: `present` isn't the present one any more.
            NotRecorded: Nothing was done.
            StoreUnavailable: The bucket doesn't answer.
        """
        config = _as_stored(config)
        applied = AppliedConfig(
            config=config,
            version=version_of(config),
            at=now(),
            by=f"{author.via} {author.id}",
            reason=reason,
            of=of,
        )
        value = encode_applied(applied)
        _check(value)
        before = present.applied.config if present.applied else None
        changes = changes_between(before, config)
        after = {"version": applied.version, "changes": changes, **({"of": of} if of else {})}
        verb = "rolled_back" if of else "applied"
        revision = await self._write(present, author, verb, reason, after, value)
        return Standing(revision, applied)

    async def release(self, present: Standing, author: Author, reason: str = "") -> int:
        """Takes the entry away, so that services hold what their files say; its revision.

        Raises:
            EntryMissing: There is none.
            RevisionChanged: `present` isn't the present one any more.
            NotRecorded: Nothing was done.
            StoreUnavailable: The bucket doesn't answer.
        """
        if present.applied is None and not present.unreadable:
            raise EntryMissing("no configuration is applied: services hold what their files say")
        return await self._write(present, author, "released", reason, None, b"")

    async def _write(
        self, present: Standing, author: Author, verb: str, reason: str,
        after: dict[str, Any] | None, value: bytes,
    ) -> int:  # fmt: skip
        before = present.applied
        event = AuditRecorded(
            id=new_event_id(),
            at=now(),
            by=author,
            action=f"config.{verb}",
            target="config",
            before={"version": before.version, "revision": present.revision} if before else None,
            after=after,
            reason=reason,
        )
        try:
            return await audited_write(self._bus, SUBJECT, event, present.revision, value)
        except RevisionChanged:
            raise RevisionChanged(
                f"the configuration has changed since revision {present.revision} was read; "
                "`droveway config history` says who it was"
            ) from None


def check_size(config: Config) -> None:
    """Refuses a configuration that is too large to be applied.

    Raises:
        EntryInvalid: It is.
    """
    _check_bytes(len(msgspec.json.encode(config)))


def _check(value: bytes) -> None:
    """Refuses an entry that its readers would refuse."""
    _check_bytes(len(value))
    try:
        applied_decoder.decode(value)
    except MALFORMED as error:
        raise EntryInvalid(str(error)) from None


def _check_bytes(size_bytes: int) -> None:
    if size_bytes > MAX_APPLIED_BYTES:
        raise EntryInvalid(
            f"the configuration has {size_bytes} bytes as JSON; at most {MAX_APPLIED_BYTES} can be "
            "applied: put keys and tenants into the store (`droveway keys import`)"
        )


def _as_stored(config: Config) -> Config:
    """As whoever reads the entry has it: numbers too, so that all come to the same version."""
    return msgspec.json.decode(msgspec.json.encode(config), type=Config)


def _unavailable(error: BusError) -> StoreUnavailable:
    return StoreUnavailable(f"{error}; where the bucket isn't there `droveway setup` makes it")
