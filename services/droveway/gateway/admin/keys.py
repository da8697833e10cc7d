"""Client keys by the administration's API: made, rotated, listed."""

from collections.abc import Mapping

import msgspec
from msgspec import UNSET

from droveway.contracts.access import Key
from droveway.gateway.admin import shapes
from droveway.gateway.admin.asked import Answer, Asked, Handler
from droveway.gateway.admin.entries import Entries, told
from droveway.gateway.refusal import Refusal, refuse
from droveway.runtime.access_changes import rotated
from droveway.runtime.api_key import hash_key, make_key, new_id

_ADMINS_FIELDS = ("budgets", "nats_user")
"""Money, and who else may speak for a key."""


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
        if asked.by.role != "admin":
            self._check_operators(new)
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
        """Some fields; who pays, how much, and as whom of NATS, only by an admin."""
        for name in ("tenant", *_ADMINS_FIELDS):
            if getattr(asked.body, name) is not UNSET and asked.by.role != "admin":
                raise _admins_only(name)
        return await super().change(asked)

    def _check_operators(self, new: shapes.NewKey) -> None:
        """Refuses a key with which an operator gets round budgets.

        Raises:
            Refusal: 403; 503: not all tenants are known yet.
        """
        for name in _ADMINS_FIELDS:
            if getattr(new, name):
                raise _admins_only(name)
        if new.tenant == "default" or new.tenant in self.directory.tenants:
            return
        self.check_loaded()
        text = (
            f"There is no tenant {new.tenant}: a key for a tenant without an entry needs the role "
            "admin; have the tenant made, or leave `tenant` out"
        )
        raise refuse("insufficient_role", text, param="tenant")

    async def rotate(self, asked: Asked) -> Answer:
        """A new secret."""
        rotation: shapes.Rotation = asked.body
        secret = make_key(rotation.environment, asked.entry_id)
        key, revision = await self.replace(
            asked, "rotated", lambda before: rotated(before, secret, rotation.overlap_s)
        )
        return Answer(shapes.key_made(key, secret), revision)


def _admins_only(field: str) -> Refusal:
    text = f"Setting `{field}` of a key needs the role admin"
    return refuse("insufficient_role", text, param=field)
