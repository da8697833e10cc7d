"""Tenants by the administration's API: made and listed."""

from collections.abc import Mapping

import msgspec

from droveway.contracts.access import Tenant
from droveway.gateway.admin import shapes
from droveway.gateway.admin.asked import Answer, Asked
from droveway.gateway.admin.entries import Entries, told
from droveway.gateway.refusal import refuse


class Tenants(Entries[Tenant]):
    """Tenants."""

    noun = "tenant"

    def in_force(self) -> Mapping[str, Tenant]:
        """Those of file and store by id."""
        return self.directory.tenants

    def seen(self, entry: Tenant, source: shapes.Source) -> msgspec.Struct:
        """A tenant."""
        return shapes.tenant_seen(entry, source)

    async def list(self, asked: Asked) -> Answer:
        """A page of tenants."""
        data, more = self.page(asked, self.directory.tenants.values())
        return Answer(shapes.TenantList(data=data, has_more=more))

    def check_unused(self, entry_id: str) -> None:
        """Refuses to delete a tenant that keys name: they would go on without its limits.

        Raises:
            Refusal: 409; 503: not all keys are known yet.
        """
        self.check_loaded()
        key_id = self.directory.key_of(entry_id)
        if key_id is not None:
            text = (
                f"The key {key_id} names this tenant, maybe others do: delete them, or give them "
                "to another tenant; to stop all of them at once set `state` to disabled"
            )
            raise refuse("tenant_in_use", text)

    async def create(self, asked: Asked) -> Answer:
        """A new tenant."""
        tenant = Tenant(**msgspec.structs.asdict(asked.body))
        if tenant.id in self.directory.tenants:
            raise refuse("already_exists")
        with told():
            revision = await self.store.create(tenant, asked.by)
        return Answer(self.seen(tenant, "store"), revision)
