"""`droveway config history`: what was applied, when, and by whom."""

from pathlib import Path

from rich.console import Console

from droveway.cli.admin_session import print_json, run, say, table
from droveway.runtime.bus import Bus
from droveway.runtime.config.entries import Revision
from droveway.runtime.config.store import ConfigStore
from droveway.runtime.errors import SettingsError

_TITLES = ("revision", "", "when", "who", "version", "of", "reason")
_IN_FORCE = "in force"


def show(data: Path, kind: str, console: Console) -> None:
    """Prints the revisions that are kept, newest first.

    Raises:
        DrovewayError: `kind` isn't known, or they can't be read.
    """
    if kind not in ("table", "json"):
        raise SettingsError(f"--format {kind[:64]!r}: expected table or json")

    async def read(bus: Bus) -> list[Revision]:
        return await ConfigStore(bus).history()

    found = run(data, read)[::-1]
    if kind == "json":
        print_json([_view(one, present=one is found[0]) for one in found])
    elif found:
        console.print(table(_TITLES, (_cells(one, present=one is found[0]) for one in found)))
    else:
        say("nothing was ever applied: each service holds what its file says")


def _view(one: Revision, *, present: bool) -> dict[str, object]:
    return {
        "revision": one.number,
        "state": _state(one, present=present),
        "at": one.at,
        "by": one.by,
        "version": one.version,
        "of": one.of or None,
        "reason": one.reason,
    }


def _cells(one: Revision, *, present: bool) -> tuple[str, ...]:
    return (
        str(one.number), _state(one, present=present), one.at, one.by or "-", one.version or "-",
        str(one.of or "-"), one.reason,
    )  # fmt: skip


def _state(one: Revision, *, present: bool) -> str:
    """A release that nothing came after leaves no revision in force."""
    if one.released:
        return "released"
    return _IN_FORCE if present else ""
