"""What the commands of keys and of tenants have in common: entries are listed, shown, changed."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from rich.console import Console

from droveway.cli.admin_session import check_id, print_json, run, say, table
from droveway.cli.in_force import InFile, in_file
from droveway.contracts.access import Key, Tenant, TenantState
from droveway.runtime.access_events import seen
from droveway.runtime.access_store import AccessStore, Entry
from droveway.runtime.audit_trail import local_author
from droveway.runtime.bus import Bus

FILE, STORE, SHADOWED = "file", "store", "shadowed"
"""Where an entry stands; one of the store is shadowed by the file's of the same id."""

E = TypeVar("E", Key, Tenant)


class Found(NamedTuple, Generic[E]):
    """An entry, and where it stands."""

    entry: E
    source: str


class Entries(ABC, Generic[E]):
    """Entries of one kind, in the operator's file and in the bucket `access`.

    Args:
        data: The folder of `droveway up`.
    """

    noun: str
    titles: tuple[str, ...]
    """Of the columns."""

    def __init__(self, data: Path) -> None:
        self.data = data

    @abstractmethod
    def store(self, bus: Bus) -> AccessStore[E]:
        """Those of the bucket."""

    @abstractmethod
    def filed(self, file: InFile) -> dict[str, E]:
        """Those of the file by id."""

    @abstractmethod
    def order(self, entry: E) -> tuple[str, ...]:
        """What entries are listed by."""

    @abstractmethod
    def cells(self, entry: E) -> tuple[str, ...]:
        """An entry as a line of all columns but the last, which says where it stands."""

    def view(self, found: Found[E]) -> dict[str, Any]:
        """An entry for programs; its state stands there whatever it is."""
        return {**seen(found.entry), "state": found.entry.state, "from": found.source}

    async def check_unused(self, bus: Bus, file: InFile, entry_id: str) -> None:
        """Refuses to delete what others need; nothing needs a key."""

    def all(self) -> list[Found[E]]:
        """Those of the file and those of the store, in their order.

        Raises:
            DrovewayError: The store can't be read.
        """
        filed = self.filed(in_file(self.data))
        stored = run(self.data, lambda bus: self.store(bus).all())
        found = [Found(entry, FILE) for entry in filed.values()]
        found += [Found(one.value, SHADOWED if one.value.id in filed else STORE) for one in stored]
        return sorted(found, key=lambda one: self.order(one.entry))

    def print(self, found: Iterable[Found[E]], console: Console | None) -> None:
        """One line each; as JSON where there is no console."""
        if console is None:
            print_json([self.view(one) for one in found])
        else:
            console.print(table(self.titles, (self._row(one) for one in found)))

    def show(self, entry_id: str, *, as_json: bool, console: Console) -> None:
        """Prints one entry.

        Raises:
            EntryMissing: There is none of that id.
            DrovewayError: The store can't be read.
        """
        found = self.find(entry_id)
        if as_json:
            print_json(self.view(found))
            return
        fields = zip(self.titles, self._row(found), strict=True)
        console.print(table(("field", "value"), fields))

    def find(self, entry_id: str) -> Found[E]:
        """The entry in force under an id.

        Raises:
            EntryMissing: There is none.
            DrovewayError: The store can't be read.
        """
        check_id(entry_id)
        filed = self.filed(in_file(self.data))
        if entry_id in filed:
            return Found(filed[entry_id], FILE)
        return Found(run(self.data, lambda bus: self.store(bus).get(entry_id)).value, STORE)

    def set_state(self, entry_id: str, state: TenantState) -> None:
        """Disables or enables an entry; true on all gateways within a second.

        Raises:
            DrovewayError: There is no such entry, or it can't be changed.
        """
        self.change(entry_id, lambda one: msgspec.structs.replace(one, state=state), "updated")
        say(f"{entry_id} is {state}")

    def delete(self, entry_id: str) -> None:
        """Removes an entry; true on all gateways within a second.

        Raises:
            DrovewayError: There is no such entry, others need it, or it can't be removed.
        """
        file, author = in_file(self.data), local_author()

        async def remove(bus: Bus) -> None:
            store = self.store(bus)
            before = await self._present(store, entry_id, file)
            await self.check_unused(bus, file, entry_id)
            await store.delete(before, author)

        run(self.data, remove)
        say(f"{entry_id} is gone")

    def change(self, entry_id: str, how: Callable[[E], E], verb: str) -> E:
        """Stores a changed entry; the entry as it is then.

        Raises:
            DrovewayError: There is no such entry, or it can't be changed.
        """
        file, author = in_file(self.data), local_author()

        async def replace(bus: Bus) -> E:
            store = self.store(bus)
            before = await self._present(store, entry_id, file)
            changed = how(before.value)
            await store.change(before, changed, author, verb)
            return changed

        return run(self.data, replace)

    async def _present(self, store: AccessStore[E], entry_id: str, file: InFile) -> Entry[E]:
        """The entry that is to be changed.

        Raises:
            EntryExists: It stands in the file.
            EntryMissing: There is none.
        """
        file.refuse(self.noun, entry_id)
        check_id(entry_id)
        return await store.get(entry_id)

    def _row(self, found: Found[E]) -> tuple[str, ...]:
        return *self.cells(found.entry), found.source
