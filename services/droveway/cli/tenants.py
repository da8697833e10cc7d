"""`droveway tenants`: who pays, in the bucket `access`."""

import msgspec
from rich.console import Console

from droveway.cli.admin_session import (
    budget_text,
    limit_text,
    run,
    say,
    struct_of,
)
from droveway.cli.entries import Entries
from droveway.cli.in_force import InFile, in_file
from droveway.contracts.access import Tenant
from droveway.runtime.access_errors import TenantInUse
from droveway.runtime.access_store import AccessStore, keys_store, tenants_store
from droveway.runtime.audit_trail import local_author
from droveway.runtime.bus import Bus


class Tenants(Entries[Tenant]):
    """Tenants."""

    noun = "tenant"
    titles = ("id", "name", "state", "limits", "budgets", "yuan", "from")

    def new(self, tenant_id: str, name: str, usd_cny: float | None = None) -> None:
        """Makes a tenant.

        Raises:
            DrovewayError: It can't be, or there is one.
        """
        fields = {"id": tenant_id, "name": name, "usd_cny": usd_cny}
        tenant, author = struct_of(Tenant, fields), local_author()
        in_file(self.data).refuse(self.noun, tenant_id)

        async def create(bus: Bus) -> int:
            return await tenants_store(bus).create(tenant, author)

        run(self.data, create)
        say(f"{tenant_id} is there; `droveway keys new --tenant {tenant_id}` makes it a key")

    def set_rate(self, tenant_id: str, usd_cny: float | None) -> None:
        """Sets how many yuan it is shown for a dollar; None: as the configuration says.

        Raises:
            DrovewayError: There is no such tenant, or it is no rate.
        """

        def replaced(tenant: Tenant) -> Tenant:
            fields = {**msgspec.to_builtins(tenant), "usd_cny": usd_cny}
            return struct_of(Tenant, fields)

        self.change(tenant_id, replaced, "updated")
        told = "the configuration's rate" if usd_cny is None else f"{usd_cny:g} yuan for a dollar"
        say(f"{tenant_id} is shown {told}")

    def listing(self, console: Console | None) -> None:
        """Prints all tenants; as JSON where there is no console.

        Raises:
            DrovewayError: The store can't be read.
        """
        self.print(self.all(), console)

    async def check_unused(self, bus: Bus, file: InFile, entry_id: str) -> None:
        """Refuses to delete a tenant that keys name: they would go on without its limits.

        Raises:
            TenantInUse: A key of the file or the store names it.
        """
        keys = [*file.keys.values(), *(key.value for key in await keys_store(bus).all())]
        count = sum(key.tenant == entry_id for key in keys)
        if count:
            raise TenantInUse(
                f"keys name the tenant {entry_id!r} ({count}), and would lose its limits; "
                f"`droveway keys list --tenant {entry_id}` shows them"
            )

    def store(self, bus: Bus) -> AccessStore[Tenant]:
        """Those of the bucket."""
        return tenants_store(bus)

    def filed(self, file: InFile) -> dict[str, Tenant]:
        """Those of the file by id."""
        return file.tenants

    def order(self, entry: Tenant) -> tuple[str, ...]:
        """By id."""
        return (entry.id,)

    def cells(self, entry: Tenant) -> tuple[str, ...]:
        """A tenant as a line of a table."""
        return (
            entry.id, entry.name, entry.state,
            ", ".join(map(limit_text, entry.limits)) or "none",
            ", ".join(map(budget_text, entry.budgets)) or "none",
            "" if entry.usd_cny is None else f"{entry.usd_cny:g}",
        )  # fmt: skip
