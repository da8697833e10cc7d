"""What the commands of the administration share: the connection, what was typed, the output."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from droveway.cli import terminal
from droveway.cli.connection import OPERATOR, settings_for
from droveway.contracts.access import Budget, Limit
from droveway.contracts.envelope import is_id, new_instance
from droveway.runtime import access_events
from droveway.runtime.access_checks import KINDS
from droveway.runtime.access_errors import EntryInvalid, EntryMissing
from droveway.runtime.bus import Bus, connect

CONNECT_WITHIN_S = 5.0
_MAX_CELL = 200

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


def run(data: Path, work: Callable[[Bus], Awaitable[T]]) -> T:
    """Does `work` over a connection of the user `operator`.

    Raises:
        SettingsError: The server is unknown, can't be reached or refuses the user.
    """
    terminal.quiet()
    access_events.log.addHandler(_UNRECORDED)
    broker = msgspec.structs.replace(
        settings_for(OPERATOR, data), connect_within_s=CONNECT_WITHIN_S
    )

    async def connected() -> T:
        async with connect(broker, OPERATOR, new_instance(OPERATOR)) as bus:
            return await work(bus)

    return asyncio.run(connected())


class _Unrecorded(logging.Handler):
    """Tells who typed the command of a revocation that the full trail doesn't have."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = record.__dict__["fields"]
        say(
            f"droveway: {record.getMessage()}: the audit trail is full and has no event of this "
            f"{fields['action']} of {fields['target']}; set DROVEWAY_SETUP_AUDIT_MAX_BYTES higher"
        )


_UNRECORDED = _Unrecorded()


def check_id(entry_id: str) -> None:
    """Refuses what can't be an id before it is looked up.

    Raises:
        EntryMissing: It can't be one.
    """
    if not is_id(entry_id):
        raise EntryMissing(f"{entry_id[:80]!r} is no id: expected 1 to 64 of [a-z0-9_-]")


def struct_of(kind: type[S], fields: dict[str, Any]) -> S:
    """A struct of what was typed.

    Raises:
        EntryInvalid: A field is wrong or unknown.
    """
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        reason = str(error)
        if "unknown field" in reason:
            reason += f"; there are {', '.join(kind.__struct_fields__)}"
        raise EntryInvalid(reason) from None


def structs_of(kind: type[S], words: Iterable[str]) -> tuple[S, ...]:
    """One struct for each word of the form `field=value,field=value`.

    Raises:
        EntryInvalid: A word has another form, or a field is wrong or unknown.
    """
    return tuple(struct_of(kind, _fields(word)) for word in words)


def _fields(word: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for pair in word.split(","):
        name, equals, value = pair.partition("=")
        if not equals or name in fields:
            raise EntryInvalid(f"{word[:80]!r}: expected field=value,field=value, each field once")
        fields[name.strip()] = value.strip().split("/") if name.strip() == "soft" else value.strip()
    return fields


def limit_text(limit: Limit) -> str:
    """`100 requests / 60 s`, with the model where it isn't any."""
    amounts = [
        f"{getattr(limit, kind)} {'at once' if kind == 'concurrency' else kind.replace('_', ' ')}"
        for kind in KINDS
        if getattr(limit, kind) is not None
    ]
    window = "" if amounts == [f"{limit.concurrency} at once"] else f" / {limit.window_s:g} s"
    burst = f", burst {limit.burst}" if limit.burst else ""
    model = f" of {limit.model}" if limit.model != "*" else ""
    return " + ".join(amounts) + window + burst + model


def budget_text(budget: Budget) -> str:
    """`$50 / month`."""
    return f"${budget.usd:g} / {budget.period}"


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    """Rows as text that can't steer the terminal; the first column, of ids, is never cut."""
    lines = [[printable(cell) for cell in row] for row in rows]
    grid = Table(box=None, pad_edge=False, header_style="dim")
    for at, title in enumerate(titles):
        width = max((len(line[0]) for line in lines), default=0) if at == 0 else None
        grid.add_column(title, no_wrap=True, min_width=width)
    for line in lines:
        grid.add_row(*map(Text, line))
    return grid


def numbers(titles: Sequence[str], words: int, rows: Iterable[Sequence[str]]) -> Table:
    """A table whose columns behind the first `words` are numbers; nothing is ever cut."""
    lines = [[printable(cell) for cell in row] for row in rows]
    grid = Table(box=None, pad_edge=False, header_style="dim")
    for at, title in enumerate(titles):
        width = max([len(title), *(cell_len(line[at]) for line in lines)])
        justify: Literal["left", "right"] = "left" if at < words else "right"
        grid.add_column(title, no_wrap=True, min_width=width, justify=justify)
    for line in lines:
        grid.add_row(*map(Text, line))
    return grid


def printable(text: str) -> str:
    """Bounded, and without control characters."""
    return "".join(one if one.isprintable() else "?" for one in text[:_MAX_CELL])


def print_json(value: Any) -> None:
    """For programs."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")


def say(text: str) -> None:
    """For the person at the terminal; standard output is for what was asked for."""
    sys.stderr.write(text + "\n")
