"""What can be typed after `droveway doctor`."""

from enum import StrEnum
from typing import Annotated

import typer

from droveway.cli.keys_commands import DATA, Data


class Format(StrEnum):
    """How it is printed."""

    TABLE = "table"
    JSON = "json"


def doctor(
    form: Annotated[
        Format, typer.Option("--format", help="For people, or for programs.")
    ] = Format.TABLE,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 when there are warnings only.")
    ] = False,
    data: Data = DATA,
) -> None:
    """Shows what is broken, since when, and what to do; exits 2 when something is.

    0: all is well, or warnings only; 1: warnings, with --strict; 2: broken; 3: couldn't look.
    """
    from droveway.cli import terminal
    from droveway.cli.doctor.command import run

    run(data, None if form is Format.JSON else terminal.console(), strict=strict)
