"""Client keys by the administration's API: made, rotated, listed."""

from collections.abc import Mapping

import msgspec
from msgspec import UNSET

from droveway.contracts.access import Key
from droveway.gateway.admin import shapes
from droveway.gateway.admin.asked import Answer, Asked, Handler
from droveway.gateway.admin.entries import Entries, told
from droveway.gateway.refusal import refuse
from droveway.runtime.access_changes import rotated
from droveway.runtime.api_key import hash_key, make_key, new_id


class Keys(Entries[Key]):
    """Client keys."""

    noun = "key"

    def handlers(self) -> dict[str, Handler]:
        """By the names of endpoints."""
        return {**super().handlers(), "admin.keys.rotate": self.rotate}

    def in_force(self) -> Mapping[str, Key]:
        """Those of file and store by id."""
        return self.directory.keys

    def seen(self, entry: Key, source: shapes.Source) -> msgspec.Struct:
        """A key without its hash."""
        return shapes.key_seen(entry, source)

    async def list(self, asked: Asked) -> Answer:
        """A page of keys, of one tenant where it is named."""
        tenant = asked.query.get("tenant", "")
        keys = [key for key in self.directory.keys.values() if tenant in ("", key.tenant)]
        data, more = self.page(asked, keys)
        return Answer(shapes.KeyList(data=data, has_more=more))

    async def create(self, asked: Asked) -> Answer:
        """A new key, and its secret unless the client has it already."""
        new: shapes.NewKey = asked.body
        key_id = new.id or new_id()
        secret = None if new.sha256 else make_key(new.environment, key_id)
        fields = msgspec.structs.asdict(new)
        del fields["environment"]
        fields |= {"id": key_id, "sha256": new.sha256 if secret is None else hash_key(secret)}
        key = Key(**fields)
        if key_id in self.directory.keys or self.directory.has_hash(key.sha256):
            raise refuse("already_exists")
        with told():
            revision = await self.store.create(key, asked.by)
        return Answer(shapes.key_made(key, secret), revision)

    async def change(self, asked: Asked) -> Answer:
        """Some fields; who pays, and how much, only by an admin."""
        change: shapes.KeyChange = asked.body
        money = change.tenant is not UNSET or change.budgets is not UNSET
        if money and asked.by.role != "admin":
            raise refuse("insufficient_role", "Changing `tenant` or `budgets` needs the role admin")
        return await super().change(asked)

    async def rotate(self, asked: Asked) -> Answer:
        """A new secret."""
        rotation: shapes.Rotation = asked.body
        secret = make_key(rotation.environment, asked.entry_id)
        key, revision = await self.replace(
            asked, "rotated", lambda before: rotated(before, secret, rotation.overlap_s)
        )
        return Answer(shapes.key_made(key, secret), revision)
