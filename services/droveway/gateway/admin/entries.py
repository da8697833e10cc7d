"""What keys and tenants have in common: read, changed and removed; limits, budgets and credit."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from heapq import nsmallest
from typing import Any, Generic, TypeVar

import msgspec

from droveway.contracts.access import Key, Tenant
from droveway.gateway.admin import shapes
from droveway.gateway.admin.asked import Answer, Asked, Handler, check_id, check_match, page_size
from droveway.gateway.refusal import refuse
from droveway.runtime.access_changes import topped_up
from droveway.runtime.access_errors import (
    EntryExists,
    EntryInvalid,
    EntryMissing,
    RevisionChanged,
    StoreUnavailable,
)
from droveway.runtime.access_store import AccessStore, Entry
from droveway.runtime.ask_providers import NobodyAnswers
from droveway.runtime.audit_trail import NotRecorded, TrailUnavailable
from droveway.runtime.directory import Directory
from droveway.runtime.standing import StandingUnknown

E = TypeVar("E", Key, Tenant)


class Entries(ABC, Generic[E]):
    """Entries of one kind, by the endpoints that both kinds have."""

    noun: str

    def __init__(self, store: AccessStore[E], directory: Directory) -> None:
        self.store: AccessStore[E] = store
        self.directory = directory

    def handlers(self) -> dict[str, Handler]:
        """By the names of endpoints."""
        name = f"admin.{self.noun}s"
        return {
            f"{name}.list": self.list,
            f"{name}.create": self.create,
            f"{name}.get": self.get,
            f"{name}.change": self.change,
            f"{name}.delete": self.delete,
            f"{name}.limits.get": self.get_limits,
            f"{name}.limits.put": self.put_limits,
            f"{name}.budgets.get": self.get_budgets,
            f"{name}.budgets.put": self.put_budgets,
            f"{name}.credit": self.credit,
        }

    @abstractmethod
    def in_force(self) -> Mapping[str, E]:
        """Those of file and store by id."""

    @abstractmethod
    def seen(self, entry: E, source: shapes.Source) -> msgspec.Struct:
        """An entry as it is answered."""

    def check_unused(self, entry_id: str) -> None:
        """Refuses to delete what others need; nothing needs a key."""

    @abstractmethod
    async def list(self, asked: Asked) -> Answer:
        """A page of entries by id."""

    @abstractmethod
    async def create(self, asked: Asked) -> Answer:
        """A new entry."""

    async def get(self, asked: Asked) -> Answer:
        """One entry."""
        entry, revision = await self.find(asked.entry_id)
        return Answer(self.seen(entry, "file" if revision is None else "store"), revision)

    async def change(self, asked: Asked) -> Answer:
        """Some fields."""
        given = {
            name: value
            for name, value in msgspec.structs.asdict(asked.body).items()
            if value is not msgspec.UNSET
        }
        entry, revision = await self.replace(
            asked, "updated", lambda before: msgspec.structs.replace(before, **given)
        )
        return Answer(self.seen(entry, "store"), revision)

    async def delete(self, asked: Asked) -> Answer:
        """One entry less."""
        present = await self.present(asked)
        self.check_unused(asked.entry_id)
        with told():
            await self.store.delete(present, asked.by)
        return Answer(shapes.Deleted(id=asked.entry_id, object=self.noun))  # type: ignore[arg-type]

    async def get_limits(self, asked: Asked) -> Answer:
        """All limits of an entry."""
        entry, revision = await self.find(asked.entry_id)
        return Answer(shapes.Limits(limits=entry.limits), revision)

    async def put_limits(self, asked: Asked) -> Answer:
        """All limits of an entry anew."""
        limits = asked.body.limits
        entry, revision = await self.replace(
            asked, "limited", lambda before: msgspec.structs.replace(before, limits=limits)
        )
        return Answer(shapes.Limits(limits=entry.limits), revision)

    async def get_budgets(self, asked: Asked) -> Answer:
        """All budgets of an entry."""
        entry, revision = await self.find(asked.entry_id)
        return Answer(shapes.Budgets(budgets=entry.budgets), revision)

    async def put_budgets(self, asked: Asked) -> Answer:
        """All budgets of an entry anew."""
        budgets = asked.body.budgets
        entry, revision = await self.replace(
            asked, "budgeted", lambda before: msgspec.structs.replace(before, budgets=budgets)
        )
        return Answer(shapes.Budgets(budgets=entry.budgets), revision)

    async def credit(self, asked: Asked) -> Answer:
        """More credit."""
        usd = asked.body.usd
        entry, revision = await self.replace(
            asked, "topped_up", lambda before: topped_up(before, usd)
        )
        return Answer(shapes.Budgets(budgets=entry.budgets), revision)

    async def find(self, entry_id: str) -> tuple[E, int | None]:
        """The entry in force, and its revision unless it stands in the file.

        Raises:
            Refusal: 404: there is none; 503: nobody can say.
        """
        check_id(entry_id)
        if self.directory.file_has(self.noun, entry_id):
            return self.in_force()[entry_id], None
        with told():
            return await self.store.get(entry_id)

    async def present(self, asked: Asked) -> Entry[E]:
        """The entry that is to be changed, if it is the one that is meant.

        Raises:
            Refusal: 404, 409 for one of the file, 412 or 428 for its revision.
        """
        check_id(asked.entry_id)
        if self.directory.file_has(self.noun, asked.entry_id):
            raise refuse("read_only_entry")
        with told():
            present = await self.store.get(asked.entry_id)
        check_match(asked.if_match, present.revision)
        return present

    async def replace(self, asked: Asked, verb: str, how: Callable[[E], E]) -> tuple[E, int]:
        """Stores a changed entry.

        Raises:
            Refusal: As `present`; 400: it can't be; 503: it can't be stored or recorded.
        """
        present = await self.present(asked)
        with told():
            changed = how(present.value)
            return changed, await self.store.change(present, changed, asked.by, verb)

    def check_loaded(self) -> None:
        """Refuses what must know all entries until the bucket was read.

        Raises:
            Refusal: 503.
        """
        if not self.directory.loaded:
            raise refuse("service_unavailable", "Keys and tenants are still being read")

    def page(self, asked: Asked, entries: Iterable[E]) -> tuple[tuple[Any, ...], bool]:
        """A page of entries as they are answered, and whether there are more.

        Raises:
            Refusal: 400: the query.
        """
        size, after = page_size(asked.query), asked.query.get("after", "")
        ids = nsmallest(size + 1, (entry.id for entry in entries if entry.id > after))
        known = self.in_force()
        shown = [
            self.seen(known[one], "file" if self.directory.file_has(self.noun, one) else "store")
            for one in ids[:size]
        ]
        return tuple(shown), len(ids) > size


@contextmanager
def told() -> Iterator[None]:
    """Turns what the store raises into the refusal that tells it.

    Raises:
        Refusal: The entry can't be, isn't there, has changed, or can't be read or written.
    """
    try:
        yield
    except EntryInvalid as error:
        text = str(error)
        field, colon, _ = text.partition(":")
        named = bool(colon) and " " not in field
        raise refuse("invalid_request", text, param=field if named else None) from None
    except EntryMissing as error:
        raise refuse("not_found", str(error)) from None
    except EntryExists as error:
        raise refuse("already_exists", str(error)) from None
    except RevisionChanged:
        raise refuse("revision_changed") from None
    except NotRecorded as error:
        raise refuse("audit_unavailable", str(error)) from None
    except (StoreUnavailable, TrailUnavailable, NobodyAnswers) as error:
        raise refuse("service_unavailable", str(error)) from None
    except StandingUnknown as error:
        raise refuse("limiter_unavailable", str(error)) from None
