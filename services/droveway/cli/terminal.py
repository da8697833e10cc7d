"""Standard output for people: colours on a terminal, plain wide lines in a file or a CI log."""

import logging
import sys

from rich.console import Console

_PLAIN_COLUMNS = 120


def quiet() -> None:
    """Leaves the words to the command: no log lines besides its one message."""
    logging.getLogger().addHandler(logging.NullHandler())


def console() -> Console:
    """A console that never breaks lines that somebody might copy."""
    columns = None if sys.stdout.isatty() else _PLAIN_COLUMNS
    return Console(highlight=False, soft_wrap=True, width=columns)
