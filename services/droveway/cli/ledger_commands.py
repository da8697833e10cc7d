"""What can be typed after `droveway ledger`."""

from typing import Annotated

import typer

from droveway.cli.keys_commands import DATA, Data, Json

ledger_app = typer.Typer(
    help="The ledger's database: DROVEWAY_METRICS_DATABASE, else the one of --data.",
    no_args_is_help=True,
)


@ledger_app.command("status")
def ledger_status(json: Json = False, data: Data = DATA) -> None:
    """Shows how far it has counted, what it holds, and its schema."""
    from droveway.cli import ledger, terminal

    ledger.status(data, None if json else terminal.console())


@ledger_app.command("check")
def ledger_check(json: Json = False, data: Data = DATA) -> None:
    """Compares it with the stream row by row; exits 1 when something differs."""
    from droveway.cli import ledger, terminal

    ledger.check(data, None if json else terminal.console())


@ledger_app.command("rebuild")
def ledger_rebuild(
    yes: Annotated[bool, typer.Option("--yes", help="It is meant.")] = False,
    data: Data = DATA,
) -> None:
    """Empties what the stream still has; the running metrics service counts it again."""
    from droveway.cli import ledger

    ledger.rebuild_all(data, sure=yes)


@ledger_app.command("reprice")
def ledger_reprice(
    since: Annotated[str, typer.Option(help="2026-11-01, a date-time or 7d; else all.")] = "",
    model: Annotated[str, typer.Option(help="Only this one, by either name.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what differs.")] = False,
    json: Json = False,
    data: Data = DATA,
) -> None:
    """Counts the cost of its rows anew, by the prices of the configuration in force."""
    from droveway.cli import ledger, terminal

    console = None if json else terminal.console()
    ledger.reprice(data, since, model, dry=dry_run, console=console)


@ledger_app.command("migrate")
def ledger_migrate(data: Data = DATA) -> None:
    """Brings its tables up to this program's, as the service does when it starts."""
    from droveway.cli.ledger import migrate_schema

    migrate_schema(data)
