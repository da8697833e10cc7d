"""`droveway tenants`: who pays, in the bucket `access`."""

from rich.console import Console

from droveway.cli.admin_session import (
    InFile,
    budget_text,
    in_file,
    limit_text,
    run,
    say,
    struct_of,
)
from droveway.cli.entries import Entries
from droveway.contracts.access import Tenant
from droveway.runtime.access_errors import TenantInUse
from droveway.runtime.access_store import AccessStore, keys_store, tenants_store
from droveway.runtime.audit_trail import local_author
from droveway.runtime.bus import Bus


class Tenants(Entries[Tenant]):
    """Tenants."""

    noun = "tenant"
    titles = ("id", "name", "state", "limits", "budgets", "from")

    def new(self, tenant_id: str, name: str) -> None:
        """Makes a tenant.

        Raises:
            DrovewayError: It can't be, or there is one.
        """
        tenant, author = struct_of(Tenant, {"id": tenant_id, "name": name}), local_author()
        in_file(self.data).refuse(self.noun, tenant_id)

        async def create(bus: Bus) -> int:
            return await tenants_store(bus).create(tenant, author)

        run(self.data, create)
        say(f"{tenant_id} is there; `droveway keys new --tenant {tenant_id}` makes it a key")

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
        )  # fmt: skip
