"""What can be typed after `droveway limits`, `droveway budgets` and `droveway admin`."""

from typing import Annotated

import typer

from droveway.cli.keys_commands import DATA, Data, Json, KeyId

limits_app = typer.Typer(help="Limits of keys and tenants.", no_args_is_help=True)
budgets_app = typer.Typer(help="Money: budgets and prepaid credit.", no_args_is_help=True)
admin_app = typer.Typer(help="Admin keys and the audit trail.", no_args_is_help=True)

EntryId = Annotated[str, typer.Argument(help="The key's id; with --tenant the tenant's.")]
OfTenant = Annotated[bool, typer.Option("--tenant", help="It is a tenant's.")]
Empty = Annotated[bool, typer.Option("--none", help="Remove all.")]
Watch = Annotated[bool, typer.Option("--watch", help="Again each second.")]


@limits_app.command("set")
def limits_set(
    entry_id: EntryId,
    limits: Annotated[
        list[str] | None,
        typer.Argument(help="Like requests=100,window_s=60 tokens=50000,model=gpt-* concurrency=5"),
    ] = None,
    tenant: OfTenant = False,
    none: Empty = False,
    data: Data = DATA,
) -> None:
    """Replaces all limits of a key or a tenant."""
    from droveway.cli.limits import set_limits

    set_limits(data, entry_id, limits or [], of_tenant=tenant, none=none)


@limits_app.command("show")
def limits_show(key_id: KeyId, watch: Watch = False, json: Json = False, data: Data = DATA) -> None:
    """Shows where a key and its tenant stand, as the limiter counts now."""
    from droveway.cli import limits, terminal

    console = None if json else terminal.console()
    limits.show(data, key_id, console, money=False, watch=watch)


@budgets_app.command("set")
def budgets_set(
    entry_id: EntryId,
    budgets: Annotated[
        list[str] | None,
        typer.Argument(help="Like usd=50,period=month usd=5,period=day,soft=0.5/0.9"),
    ] = None,
    tenant: OfTenant = False,
    none: Empty = False,
    data: Data = DATA,
) -> None:
    """Replaces all budgets of a key or a tenant."""
    from droveway.cli.limits import set_budgets

    set_budgets(data, entry_id, budgets or [], of_tenant=tenant, none=none)


@budgets_app.command("top-up")
def budgets_top_up(
    entry_id: EntryId,
    usd: Annotated[float, typer.Argument(help="US dollars to add.")],
    tenant: OfTenant = False,
    data: Data = DATA,
) -> None:
    """Adds to the prepaid credit: the budget with the period total."""
    from droveway.cli.limits import top_up

    top_up(data, entry_id, usd, of_tenant=tenant)


@budgets_app.command("show")
def budgets_show(
    key_id: KeyId, watch: Watch = False, json: Json = False, data: Data = DATA
) -> None:
    """Shows what a key and its tenant have spent, as the limiter counts now."""
    from droveway.cli import limits, terminal

    console = None if json else terminal.console()
    limits.show(data, key_id, console, money=True, watch=watch)


@admin_app.command("key")
def admin_key(
    admin_id: Annotated[str, typer.Argument(help="Names the admin in the audit trail.")],
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = "viewer",
) -> None:
    """Makes a key of the administration's HTTP API and its entry for the configuration file."""
    from droveway.cli.admin import key

    key(admin_id, role)


@admin_app.command("audit")
def admin_audit(
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Events at most.")] = 50,
    json: Json = False,
    data: Data = DATA,
) -> None:
    """Shows who changed what, newest first."""
    from droveway.cli import admin, terminal

    admin.audit(data, limit, None if json else terminal.console())
