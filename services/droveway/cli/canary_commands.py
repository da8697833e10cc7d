"""What can be typed after `droveway canary`."""

from typing import Annotated

import typer

from droveway.cli.keys_commands import DATA, Data, Json

canary_app = typer.Typer(
    help="A new channel beside a route's stable one: who gets it, and how it fares.",
    no_args_is_help=True,
)
Route = Annotated[str, typer.Argument(help="The route's `model` in the configuration.")]


@canary_app.command("set")
def canary_set(
    route: Route,
    percent: Annotated[
        float | None, typer.Option(min=0, max=100, help="Of users; else as it is.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Like provider=new,model=gpt-5,credential=main. Repeat it."),
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(help="Of x-droveway-region; all of it. Repeat it; empty: none."),
    ] = None,
    tenant: Annotated[
        list[str] | None, typer.Option(help="All of its users. Repeat it; empty: none.")
    ] = None,
    guard: Annotated[
        bool | None,
        typer.Option("--guard/--no-guard", help="Roll back by itself; else as it is."),
    ] = None,
    data: Data = DATA,
) -> None:
    """Sets who gets the canary; what isn't named stays, and one that was rolled back runs again."""
    from droveway.cli import canary

    changes = canary.Changes(percent, target, region, tenant, guard)
    canary.set_canary(data, route, changes)


@canary_app.command("advance")
def canary_advance(route: Route, data: Data = DATA) -> None:
    """Gives it to the next share of users: 5, 20, 50, 100 percent."""
    from droveway.cli import canary

    canary.advance(data, route)


@canary_app.command("rollback")
def canary_rollback(
    route: Route,
    reason: Annotated[str, typer.Option(help="For the audit trail.")] = "",
    data: Data = DATA,
) -> None:
    """Takes all requests from it, within a second."""
    from droveway.cli import canary

    canary.roll_back(data, route, reason)


@canary_app.command("show")
def canary_show(
    route: Annotated[str, typer.Argument(help="The route's `model`; else all.")] = "",
    json: Json = False,
    data: Data = DATA,
) -> None:
    """Shows who gets it now, since when, and by whom."""
    from droveway.cli import canary, terminal

    canary.show(data, route, None if json else terminal.console())


@canary_app.command("compare")
def canary_compare(
    route: Route,
    since: Annotated[
        str, typer.Option(help="2026-11-01, a date-time, 7d or 72h; at most 7 days.")
    ] = "24h",
    until: Annotated[str, typer.Option(help="As --since; else now.")] = "",
    kind: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    data: Data = DATA,
) -> None:
    """Compares it with the stable channel: success, times, errors, tokens, cost."""
    from droveway.cli import canary_compare as body
    from droveway.cli import terminal

    body.show(data, body.Wanted(route, since, until), kind, terminal.console())
