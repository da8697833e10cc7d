"""Reads and sets what operators have switched off of providers, in the bucket `routing`."""

from typing import Any, NamedTuple

import msgspec

from droveway.contracts.audit import AuditRecorded, Author
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.jetstream import ROUTING
from droveway.contracts.providers import (
    ENTRIES,
    MAX_MODELS,
    ProviderSwitch,
    entry_name,
    switch_decoder,
    switched_off,
)
from droveway.runtime.access_errors import EntryInvalid, StoreUnavailable
from droveway.runtime.audit_trail import new_event_id, now
from droveway.runtime.audited_write import TIMEOUT_S, audited_write
from droveway.runtime.bus import Bus
from droveway.runtime.bus.direct_get import Stored, reading
from droveway.runtime.errors import BusError
from droveway.runtime.routing_entries import check_size, decoded, last_of, subject_of

_PAGE_ENTRIES = 256
_PAGE_BYTES = 1024 * 1024


class StoredSwitch(NamedTuple):
    """What the bucket has of a provider."""

    switch: ProviderSwitch
    """Without an entry: one that switches nothing off."""
    revision: int
    """0: there never was an entry."""


class SwitchStore:
    """One connection's way to the switches."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def get(self, provider: str) -> StoredSwitch:
        """What is stored of a provider now.

        Raises:
            StoreUnavailable: Nobody can say, or it can't be read.
        """
        stored = await last_of(self._bus, entry_name(provider))
        if stored is None:
            return StoredSwitch(ProviderSwitch(id=provider), 0)
        return StoredSwitch(_read(stored), stored.sequence)

    async def all(self) -> dict[str, StoredSwitch]:
        """All entries by provider.

        Raises:
            StoreUnavailable: Nobody can say, or one can't be read.
        """
        found: dict[str, StoredSwitch] = {}
        try:
            async with reading(self._bus, f"KV_{ROUTING}", TIMEOUT_S) as reader:
                pattern = subject_of(f"{ENTRIES}*")
                async for stored in reader.messages(pattern, _PAGE_ENTRIES, _PAGE_BYTES):
                    switch = _read(stored)
                    found[switch.id] = StoredSwitch(switch, stored.sequence)
        except BusError as error:
            raise StoreUnavailable(str(error)) from None
        return found

    async def set(
        self, present: StoredSwitch, switch: ProviderSwitch, author: Author
    ) -> StoredSwitch:
        """Stores `switch` in place of `present`, with the time and its author.

        Switching off is done although the audit trail has no room for the event.

        Raises:
            EntryInvalid: It is too large.
            RevisionChanged: `present` isn't the present one any more.
            NotRecorded: Nothing was done.
            StoreUnavailable: The bucket doesn't answer.
        """
        by = f"{author.via} {author.id}"[:256]
        switch = msgspec.structs.replace(switch, at=now(), by=by)
        value = msgspec.json.encode(switch)
        check_size("entry", value)
        off = switched_off(switch)
        event = AuditRecorded(
            id=new_event_id(),
            at=switch.at,
            by=author,
            action=f"provider.{'disabled' if off else 'enabled'}",
            target=entry_name(switch.id),
            before=_seen(present),
            after=msgspec.to_builtins(switch),
            reason=switch.reason,
        )
        revision = await audited_write(
            self._bus,
            subject_of(entry_name(switch.id)),
            event,
            present.revision,
            value,
            revoking=off,
        )
        return StoredSwitch(switch, revision)


def disabled(present: ProviderSwitch, model: str, reason: str) -> ProviderSwitch:
    """The same with one model off, or all of the provider where it is empty.

    Raises:
        EntryInvalid: Too many models are off by name, or the reason is too long.
    """
    if not model:
        changed = msgspec.structs.replace(present, state="disabled", reason=reason)
    else:
        models = dict.fromkeys((*present.disabled_models, model))
        changed = msgspec.structs.replace(present, disabled_models=tuple(models), reason=reason)
    return checked(changed)


def enabled(present: ProviderSwitch, model: str) -> ProviderSwitch:
    """The same with one model on, or all of the provider where it is empty.

    Raises:
        EntryInvalid: The provider is off as a whole, so its model can't be on.
    """
    if not model:
        return ProviderSwitch(id=present.id)
    if present.state == "disabled":
        raise EntryInvalid(f"all of {present.id} is disabled; enable {present.id} itself")
    models = tuple(one for one in present.disabled_models if one != model)
    return msgspec.structs.replace(present, disabled_models=models)


def checked(switch: ProviderSwitch) -> ProviderSwitch:
    """The switch itself, if it can be.

    Raises:
        EntryInvalid: A field is out of bounds.
    """
    if len(switch.disabled_models) > MAX_MODELS:
        text = f"disabled_models: at most {MAX_MODELS}; disable the provider as a whole"
        raise EntryInvalid(text)
    try:
        return switch_decoder.decode(msgspec.json.encode(switch))
    except MALFORMED as error:
        raise EntryInvalid(str(error)) from None


def reset_event(provider: str, model: str, author: Author) -> AuditRecorded:
    """What the trail has of a reset."""
    return AuditRecorded(
        id=new_event_id(),
        at=now(),
        by=author,
        action="provider.reset",
        target=entry_name(provider or "all"),
        reason=f"model {model}"[:500] if model else "",
    )


def _seen(present: StoredSwitch) -> dict[str, Any] | None:
    seen: dict[str, Any] = msgspec.to_builtins(present.switch)
    return seen if present.revision else None


def _read(stored: Stored) -> ProviderSwitch:
    found = decoded(stored, switch_decoder)
    return ProviderSwitch(id=stored.subject.rpartition(".")[2]) if found is None else found
