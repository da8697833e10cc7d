"""What can be typed after `droveway config`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from droveway.cli.keys_commands import DATA, Data

config_app = typer.Typer(
    help="The configuration: checked, compared, applied while all runs.", no_args_is_help=True
)
Reason = Annotated[str, typer.Option(help="For the history and the audit trail.")]
Within = Annotated[
    float, typer.Option(min=0.1, max=600, help="Seconds that services are waited for.")
]
WITHIN_S = 5.0


@config_app.command("check")
def config_check(
    file: Annotated[Path, typer.Argument(help="The configuration file.")] = Path("droveway.yaml"),
) -> None:
    """Checks a configuration file whole; exits 78 when something is wrong."""
    from droveway.cli.config import check

    check(str(file))


@config_app.command("schema")
def config_schema() -> None:
    """Prints the JSON Schema of the file, for editors."""
    from droveway.contracts.config import Config
    from droveway.contracts.json_schema import FILE_TITLE, schema

    sys.stdout.write(schema(Config, FILE_TITLE))


@config_app.command("show")
def config_show(
    revision: Annotated[int | None, typer.Argument(help="Else what is in force.")] = None,
    data: Data = DATA,
) -> None:
    """Prints a revision as a person would write it."""
    from droveway.cli import config_diff, terminal

    config_diff.show(data, revision, terminal.console())


@config_app.command("diff")
def config_diff(
    first: Annotated[str, typer.Argument(help="A file or a revision; else in force.")] = "",
    second: Annotated[str, typer.Argument(help="The same; else ./droveway.yaml.")] = "",
    data: Data = DATA,
) -> None:
    """Shows how two differ; one alone is compared with what is in force. Exits 1 if they do."""
    from droveway.cli import config_diff as body
    from droveway.cli import terminal

    sys.exit(body.diff(data, first, second, terminal.console()))


@config_app.command("apply")
def config_apply(
    file: Annotated[Path, typer.Argument(help="The configuration file.")],
    reason: Reason = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check, and say what would change.")
    ] = False,
    revision: Annotated[
        int | None, typer.Option(min=0, help="Only if this one is present; 0: none ever was.")
    ] = None,
    within: Within = WITHIN_S,
    data: Data = DATA,
) -> None:
    """Puts a file in force in all services within a second; exits 1 if one hasn't adopted it."""
    from droveway.cli import config_apply as body

    sys.exit(body.apply(data, str(file), body.Wish(reason, within, revision, dry_run)))


@config_app.command("history")
def config_history(
    kind: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    data: Data = DATA,
) -> None:
    """Lists what was applied, newest first; the broker keeps 64 revisions."""
    from droveway.cli import config_history as body
    from droveway.cli import terminal

    body.show(data, kind, terminal.console())


@config_app.command("rollback")
def config_rollback(
    revision: Annotated[
        int | None, typer.Argument(help="Which to bring back; else the one before.")
    ] = None,
    reason: Reason = "",
    within: Within = WITHIN_S,
    data: Data = DATA,
) -> None:
    """Brings an earlier revision back, as a new one."""
    from droveway.cli import config_apply as body

    sys.exit(body.rollback(data, body.Wish(reason, within, revision)))


@config_app.command("release")
def config_release(reason: Reason = "", within: Within = WITHIN_S, data: Data = DATA) -> None:
    """Takes the applied configuration away: services hold what their files say."""
    from droveway.cli import config_apply as body

    sys.exit(body.release(data, body.Wish(reason, within)))
