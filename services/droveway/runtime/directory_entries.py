"""Entries of two sources as one: the operator's file before the bucket, each hash for one id."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import msgspec

from droveway.contracts.access import Key, Tenant
from droveway.otel.logs import log_event

log = logging.getLogger(__name__)

E = TypeVar("E", Key, Tenant)
OnEntry = Callable[[str, E | None], None]
"""(id, the entry, or None: it is gone)."""


class Entries(Generic[E]):
    """Entries of one kind by id: the file's before the bucket's, each hash for one id only."""

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._file: dict[str, E] = {}
        self._stored: dict[str, E] = {}
        self._owners: dict[str, str] = {}
        self._told_conflicts: set[str] = set()
        self._listeners: list[OnEntry[E]] = []
        self.present: dict[str, E] = {}
        """Those in force."""
        self.shadowed: set[str] = set()
        """Ids of entries of the bucket that aren't in force."""

    def listen(self, listener: OnEntry[E]) -> None:
        """Calls `listener` now with each entry in force and later with each that changed."""
        for entry_id, entry in self.present.items():
            listener(entry_id, entry)
        self._listeners.append(listener)

    def take_file(self, entries: Iterable[E]) -> bool:
        """The file has these and no others; whether that changed anything."""
        before, self._file = self._file, {entry.id: entry for entry in entries}
        changed = [
            entry_id
            for entry_id in {**before, **self._file}
            if before.get(entry_id) != self._file.get(entry_id)
        ]
        gone = [entry_id for entry_id in changed if entry_id not in self._file]
        results = [self._settle(entry_id) for entry_id in gone]
        results += [self._settle(entry_id) for entry_id in changed if entry_id in self._file]
        return any(results)

    def take_stored(self, entry_id: str, entry: E | None) -> bool:
        """The bucket has this, or None any more, under the id; whether that changed anything."""
        if entry is None:
            self._stored.pop(entry_id, None)
        else:
            self._stored[entry_id] = entry
        return self._settle(entry_id)

    def stored(self, entry_id: str) -> E | None:
        """What the bucket had last under the id, as far as it could be read."""
        return self._stored.get(entry_id)

    def disable(self, entry: E) -> bool:
        """The bucket's entry counts as disabled until it can be read; whether it was in force.

        It isn't forgotten: a tenant that isn't there is active, and of two keys with one hash the
        other would be good.
        """
        return self.take_stored(entry.id, msgspec.structs.replace(entry, state="disabled"))

    def known(self) -> Iterator[E]:
        """Entries of file and bucket, in force or not."""
        yield from self._file.values()
        yield from self._stored.values()

    def beside(self, entries: Iterable[E]) -> list[E]:
        """The bucket's entries that are in force with these in the file."""
        hidden = {entry.id for entry in entries} | self.shadowed
        return [entry for entry_id, entry in self._stored.items() if entry_id not in hidden]

    def file_has(self, entry_id: str) -> bool:
        """Whether the file has an entry of that id."""
        return entry_id in self._file

    def has_hash(self, sha256: str) -> bool:
        """Whether an entry in force has it."""
        return sha256 in self._owners

    def _settle(self, entry_id: str) -> bool:
        """Puts in force what is to be; whether that changed anything."""
        wanted = self._wanted(entry_id)
        before = self.present.get(entry_id)
        if wanted == before:
            return False
        self._release(entry_id)
        if wanted is not None:
            self._claim(wanted)
        for listener in self._listeners:
            listener(entry_id, wanted)
        if before is not None:
            for other in [*self.shadowed]:  # the hash that it had may be free now
                self._settle(other)
        return True

    def _wanted(self, entry_id: str) -> E | None:
        own, stored = self._file.get(entry_id), self._stored.get(entry_id)
        if stored is None:
            self.shadowed.discard(entry_id)
            return own
        owner = entry_id if own is not None else self._stronger(stored)
        if owner is None:
            self.shadowed.discard(entry_id)
            return stored
        self.shadowed.add(entry_id)
        if entry_id not in self._told_conflicts:
            self._told_conflicts.add(entry_id)
            log_event(
                log, "access_entry_shadowed", level=logging.WARNING,
                kind=self._noun, entry=entry_id, by="the configuration file" if own else owner,
            )  # fmt: skip
        return own

    def _stronger(self, entry: E) -> str | None:
        """Who has its hash and keeps it: the file's, or of the bucket's the first by id.

        So all processes choose the same, in whatever order they have read the two.
        """
        for one in _hashes(entry):
            owner = self._owners.get(one, entry.id)
            if owner != entry.id and (owner in self._file or owner < entry.id):
                return owner
        return None

    def _release(self, entry_id: str) -> None:
        before = self.present.pop(entry_id, None)
        for one in _hashes(before):
            if self._owners.get(one) == entry_id:
                del self._owners[one]

    def _claim(self, entry: E) -> None:
        for one in _hashes(entry):
            other = self._owners.get(one)
            if other is not None:  # the file's, or of the bucket's the first by id
                self._release(other)
                self.shadowed.add(other)
                for listener in self._listeners:
                    listener(other, None)
            self._owners[one] = entry.id
        self.present[entry.id] = entry


def _hashes(entry: Key | Tenant | None) -> tuple[str, ...]:
    return (entry.sha256,) if isinstance(entry, Key) else ()
