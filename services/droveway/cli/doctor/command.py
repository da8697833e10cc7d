"""Looks, judges, prints, and ends with an exit code for scripts."""

import asyncio
import sys
from pathlib import Path

from rich.console import Console

from droveway.cli import terminal
from droveway.cli.admin_session import print_json
from droveway.cli.doctor.asking import look
from droveway.cli.doctor.checks import diagnose
from droveway.cli.doctor.evidence import Unasked
from droveway.cli.doctor.finding import EX_WELL, exit_code
from droveway.cli.doctor.view import as_json, lines


def run(data: Path, console: Console | None, *, strict: bool) -> None:
    """Prints what is found; as JSON where there is no console.

    Args:
        data: The folder of `droveway up`.
        console: Where; None: as JSON on standard output.
        strict: Warnings count in the exit code.
    """
    terminal.quiet()
    evidence = asyncio.run(look(data))
    findings = diagnose(evidence)
    code = exit_code(findings, blind=isinstance(evidence.broker, Unasked), strict=strict)
    if console is None:
        print_json(as_json(evidence, findings, code))
    else:
        for line in lines(evidence, findings):
            console.print(line)
    if code != EX_WELL:
        sys.exit(code)
