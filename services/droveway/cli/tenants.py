"""`droveway tenants`: who pays, in the bucket `access`."""

from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.console import Console

from droveway.cli.admin_session import (
    budget_text,
    check_id,
    in_file,
    limit_text,
    present,
    print_json,
    run,
    say,
    struct_of,
    table,
)
from droveway.cli.keys_store import FILE, SHADOWED, STORE
from droveway.contracts.access import Tenant, TenantState
from droveway.runtime.access_errors import TenantInUse
from droveway.runtime.access_events import seen
from droveway.runtime.access_store import keys_store, tenants_store
from droveway.runtime.audit_trail import local_author
from droveway.runtime.bus import Bus

_TITLES = ("id", "name", "state", "limits", "budgets", "from")


def new(data: Path, tenant_id: str, name: str) -> None:
    """Makes a tenant.

    Raises:
        DrovewayError: It can't be, or there is one.
    """
    tenant, author = struct_of(Tenant, {"id": tenant_id, "name": name}), local_author()
    in_file(data).refuse("tenant", tenant_id)

    async def create(bus: Bus) -> int:
        return await tenants_store(bus).create(tenant, author)

    run(data, create)
    say(f"{tenant_id} is there; `droveway keys new --tenant {tenant_id}` makes it a key")


def listing(data: Path, console: Console | None) -> None:
    """Prints all tenants; as JSON where there is no console.

    Raises:
        DrovewayError: The store can't be read.
    """
    file = in_file(data)
    stored = run(data, lambda bus: tenants_store(bus).all())
    found = [(one, FILE) for one in file.tenants.values()]
    found += [
        (entry.value, SHADOWED if entry.value.id in file.tenants else STORE) for entry in stored
    ]
    found.sort(key=lambda one: one[0].id)
    if console is None:
        print_json([_view(*one) for one in found])
    else:
        console.print(table(_TITLES, (_row(*one) for one in found)))


def show(data: Path, tenant_id: str, *, as_json: bool, console: Console) -> None:
    """Prints one tenant.

    Raises:
        EntryMissing: There is none of that id.
        DrovewayError: The store can't be read.
    """
    tenant, source = find(data, tenant_id)
    if as_json:
        print_json(_view(tenant, source))
        return
    console.print(table(("field", "value"), zip(_TITLES, _row(tenant, source), strict=True)))


def find(data: Path, tenant_id: str) -> tuple[Tenant, str]:
    """The tenant in force under an id, and where it stands.

    Raises:
        EntryMissing: There is none.
        DrovewayError: The store can't be read.
    """
    check_id(tenant_id)
    file = in_file(data)
    if tenant_id in file.tenants:
        return file.tenants[tenant_id], FILE
    return run(data, lambda bus: tenants_store(bus).get(tenant_id)).value, STORE


def set_state(data: Path, tenant_id: str, state: TenantState) -> None:
    """Disables or enables all keys of a tenant at once.

    Raises:
        DrovewayError: There is no such tenant, or it can't be changed.
    """
    change(data, tenant_id, lambda one: msgspec.structs.replace(one, state=state), "updated")
    say(f"{tenant_id} is {state}")


def delete(data: Path, tenant_id: str) -> None:
    """Removes a tenant that no key names: its keys would go on without its limits and budgets.

    Raises:
        TenantInUse: A key of the file or the store names it.
        DrovewayError: There is no such tenant, or it can't be removed.
    """
    file, author = in_file(data), local_author()

    async def remove(bus: Bus) -> None:
        store = tenants_store(bus)
        entry = await present(store, "tenant", tenant_id, file)
        keys = [*file.keys.values(), *(key.value for key in await keys_store(bus).all())]
        count = sum(key.tenant == tenant_id for key in keys)
        if count:
            raise TenantInUse(
                f"keys name the tenant {tenant_id!r} ({count}), and would lose its limits; "
                f"`droveway keys list --tenant {tenant_id}` shows them"
            )
        await store.delete(entry, author)

    run(data, remove)
    say(f"{tenant_id} is gone")


def change(data: Path, tenant_id: str, how: Callable[[Tenant], Tenant], verb: str) -> Tenant:
    """Stores a changed tenant; the tenant as it is then.

    Raises:
        DrovewayError: There is no such tenant, or it can't be changed.
    """
    file, author = in_file(data), local_author()

    async def replace(bus: Bus) -> Tenant:
        store = tenants_store(bus)
        before = await present(store, "tenant", tenant_id, file)
        changed = how(before.value)
        await store.change(before, changed, author, verb)
        return changed

    return run(data, replace)


def _view(tenant: Tenant, source: str) -> dict[str, object]:
    return {**seen(tenant), "state": tenant.state, "from": source}


def _row(tenant: Tenant, source: str) -> tuple[str, ...]:
    return (
        tenant.id, tenant.name, tenant.state,
        ", ".join(map(limit_text, tenant.limits)) or "none",
        ", ".join(map(budget_text, tenant.budgets)) or "none", source,
    )  # fmt: skip
