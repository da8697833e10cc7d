"""What can be typed after `droveway keys` and `droveway tenants`."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", help="Folder of keys, seeds and streams.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
KeyId = Annotated[str, typer.Argument(help="The key's id.")]
TenantId = Annotated[str, typer.Argument(help="The tenant's id.")]
DATA = Path(".droveway")

keys_app = typer.Typer(help="Client keys.", no_args_is_help=True)
tenants_app = typer.Typer(help="Who pays: tenants of client keys.", no_args_is_help=True)


@keys_app.command("new")
def keys_new(
    environment: Annotated[str, typer.Option(help="Part of the key, [a-z0-9].")] = "live",
    tenant: Annotated[str, typer.Option(help="Whose key it is.")] = "default",
    requests: Annotated[int, typer.Option(min=0, help="Limit per window; 0: none.")] = 0,
    window_s: Annotated[float, typer.Option(help="The limit's window in seconds.")] = 60.0,
    nats_user: Annotated[
        str, typer.Option(help="Public NKey (U…) of its NATS user, if the client has one.")
    ] = "",
    expires: Annotated[str, typer.Option(help="Like 2027-01-31T00:00:00Z; else never.")] = "",
    model: Annotated[
        list[str] | None, typer.Option(help="It may use; else any. Repeat it.")
    ] = None,
    address: Annotated[
        list[str] | None, typer.Option(help="It may come from; else any. Repeat it.")
    ] = None,
    entry: Annotated[
        bool, typer.Option("--entry", help="Store nothing; print an entry for the file.")
    ] = False,
    data: Data = DATA,
) -> None:
    """Makes a client key, which is good at once."""
    from droveway.cli import keys as body

    wanted = body.NewKey(
        environment, tenant, requests, window_s, nats_user, expires,
        tuple(model or ("*",)), tuple(address or ()),
    )  # fmt: skip
    if entry:
        body.entry(wanted)
    else:
        body.new(wanted, data)


@keys_app.command("list")
def keys_list(
    tenant: Annotated[str, typer.Option(help="Only of this one.")] = "",
    json: Json = False,
    data: Data = DATA,
) -> None:
    """Lists client keys, never their secrets."""
    from droveway.cli import terminal
    from droveway.cli.keys_store import Keys

    Keys(data).listing(tenant, None if json else terminal.console())


@keys_app.command("show")
def keys_show(key_id: KeyId, json: Json = False, data: Data = DATA) -> None:
    """Shows a key's entry; `droveway limits show` tells what it has used."""
    from droveway.cli import terminal
    from droveway.cli.keys_store import Keys

    Keys(data).show(key_id, as_json=json, console=terminal.console())


@keys_app.command("disable")
def keys_disable(key_id: KeyId, data: Data = DATA) -> None:
    """Revokes a key within a second; `enable` brings it back."""
    from droveway.cli.keys_store import Keys

    Keys(data).set_state(key_id, "disabled")


@keys_app.command("enable")
def keys_enable(key_id: KeyId, data: Data = DATA) -> None:
    """Has a disabled or not yet activated key accepted."""
    from droveway.cli.keys_store import Keys

    Keys(data).set_state(key_id, "active")


@keys_app.command("rotate")
def keys_rotate(
    key_id: KeyId,
    overlap_s: Annotated[
        float, typer.Option(help="How long the former secret stays good, in seconds.")
    ] = 86_400.0,
    environment: Annotated[str, typer.Option(help="Part of the key, [a-z0-9].")] = "live",
    data: Data = DATA,
) -> None:
    """Gives a key a new secret; id, limits and what it has used stay."""
    from droveway.cli.keys_store import Keys

    Keys(data).rotate(key_id, environment, overlap_s)


@keys_app.command("delete")
def keys_delete(key_id: KeyId, data: Data = DATA) -> None:
    """Removes a key for good."""
    from droveway.cli.keys_store import Keys

    Keys(data).delete(key_id)


@keys_app.command("import")
def keys_import(
    source: Annotated[str, typer.Argument(help="CSV or JSON file; - for standard input.")],
    tenant: Annotated[str, typer.Option(help="Of rows that name none.")] = "default",
    data: Data = DATA,
) -> None:
    """Takes over keys that clients have already, by their SHA-256."""
    from droveway.cli.keys_import import command

    command(data, source, tenant)


@keys_app.command("nats")
def keys_nats(
    key_id: Annotated[str, typer.Argument(help="The key's id in the configuration file.")],
    data: Data = DATA,
) -> None:
    """Makes the NKey seed of a key's NATS user; prints the public key for the configuration."""
    from droveway.cli.keys import nats

    nats(key_id, data)


@tenants_app.command("new")
def tenants_new(
    tenant_id: TenantId,
    name: Annotated[str, typer.Option(help="For people.")] = "",
    usd_cny: Annotated[
        float | None, typer.Option(help="Yuan that it is shown for a dollar.", show_default=False)
    ] = None,
    data: Data = DATA,
) -> None:
    """Makes a tenant."""
    from droveway.cli.tenants import Tenants

    Tenants(data).new(tenant_id, name, usd_cny)


@tenants_app.command("list")
def tenants_list(json: Json = False, data: Data = DATA) -> None:
    """Lists tenants."""
    from droveway.cli import terminal
    from droveway.cli.tenants import Tenants

    Tenants(data).listing(None if json else terminal.console())


@tenants_app.command("show")
def tenants_show(tenant_id: TenantId, json: Json = False, data: Data = DATA) -> None:
    """Shows a tenant's entry."""
    from droveway.cli import terminal
    from droveway.cli.tenants import Tenants

    Tenants(data).show(tenant_id, as_json=json, console=terminal.console())


@tenants_app.command("rate")
def tenants_rate(
    tenant_id: TenantId,
    usd_cny: Annotated[
        float | None,
        typer.Argument(help="Left out: as the configuration says.", show_default=False),
    ] = None,
    data: Data = DATA,
) -> None:
    """Sets how many yuan a tenant is shown for a dollar."""
    from droveway.cli.tenants import Tenants

    Tenants(data).set_rate(tenant_id, usd_cny)


@tenants_app.command("disable")
def tenants_disable(tenant_id: TenantId, data: Data = DATA) -> None:
    """Has all keys of a tenant refused within a second."""
    from droveway.cli.tenants import Tenants

    Tenants(data).set_state(tenant_id, "disabled")


@tenants_app.command("enable")
def tenants_enable(tenant_id: TenantId, data: Data = DATA) -> None:
    """Has the keys of a disabled tenant accepted again."""
    from droveway.cli.tenants import Tenants

    Tenants(data).set_state(tenant_id, "active")


@tenants_app.command("delete")
def tenants_delete(tenant_id: TenantId, data: Data = DATA) -> None:
    """Removes a tenant that no key names, with its limits and budgets."""
    from droveway.cli.tenants import Tenants

    Tenants(data).delete(tenant_id)
