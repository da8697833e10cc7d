"""Standard output of commands that go on until interrupted: line by line, until nobody reads it."""

import contextlib
import os
import select
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from droveway.cli.tail_lines import Part, plain


class ReaderGone(Exception):
    """Nobody reads standard output any more."""


class Output:
    """Colours on a terminal, plain text elsewhere."""

    def __init__(self, console: Console | None) -> None:
        self._console = console if console is not None and console.is_terminal else None

    def write(self, parts: Iterable[Part]) -> None:
        """One line.

        Raises:
            ReaderGone: Nobody reads any more.
        """
        try:
            if self._console is not None:
                self._console.print(Text.assemble(*parts))
            else:
                sys.stdout.write(plain(parts) + "\n")
                sys.stdout.flush()
        except BrokenPipeError:
            raise ReaderGone from None

    def check(self) -> None:
        """Notices a reader who has gone while there was nothing to write.

        Raises:
            ReaderGone: As `write`.
        """
        with contextlib.suppress(OSError, ValueError):  # no file behind it
            poll = select.poll()
            poll.register(sys.stdout.fileno(), 0)
            if any(event & select.POLLERR for _, event in poll.poll(0)):
                raise ReaderGone


def end(group: BaseException) -> None:
    """Ends quietly if only the reader has gone.

    Raises:
        BaseException: What has happened else: the first of it.
    """
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    if not isinstance(group, ReaderGone):
        raise group
    # Nor must the interpreter's own last flush fail.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
