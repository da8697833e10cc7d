"""`droveway config apply`, `rollback` and `release`: written once, then awaited everywhere."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from droveway.cli import config_adopted
from droveway.cli.admin_session import printable, run, say
from droveway.cli.config_adopted import Adoption, Held, Wanted, wanted_of
from droveway.contracts.config import Config
from droveway.contracts.configuration import AppliedConfig, version_of
from droveway.runtime.access_errors import EntryMissing, RevisionChanged
from droveway.runtime.audit_trail import local_author
from droveway.runtime.bus import Bus
from droveway.runtime.config.changes import changes_between
from droveway.runtime.config.entries import Revision, Standing
from droveway.runtime.config.file import check, load
from droveway.runtime.config.store import ConfigStore, check_size
from droveway.runtime.errors import BusError

_MAX_NAMES = 10
"""Of one kind in one area; `config diff` shows all."""
EX_LATE = 1
"""It is stored, and a service hasn't adopted it, or nobody can say."""


class Wish(NamedTuple):
    """What was typed."""

    reason: str
    within_s: float
    """How long services are waited for."""
    revision: int | None = None
    """Of `apply`, the one that it was made from, else the one that is read now; of `rollback`, the
    one to bring back, else the one before."""
    dry_run: bool = False


class _Done(NamedTuple):
    text: str
    adoption: Adoption | None
    """None: nothing was written, or nobody can be asked."""
    code: int = 0
    """Of the command, where there is no adoption."""


def apply(data: Path, file: str, wish: Wish) -> int:
    """Puts a file's configuration in force in all services; the exit code.

    Raises:
        DrovewayError: The file is bad, or nothing was written, or nobody can say.
    """
    config = load(file)
    check_size(config)
    return _told(run(data, lambda bus: _apply(bus, config, wish)))


def rollback(data: Path, wish: Wish) -> int:
    """Brings an earlier revision back as a new one; the exit code.

    Raises:
        DrovewayError: There is no such revision, it isn't good any more, or as `apply`.
    """
    return _told(run(data, lambda bus: _roll_back(bus, wish)))


def release(data: Path, wish: Wish) -> int:
    """Takes the applied configuration away: services hold their files again; the exit code.

    Raises:
        DrovewayError: None is applied, or as `apply`.
    """
    return _told(run(data, lambda bus: _release(bus, wish)))


async def _apply(bus: Bus, config: Config, wish: Wish) -> _Done:
    store = ConfigStore(bus)
    present = await store.current()
    if wish.revision is not None and wish.revision != present.revision:
        raise RevisionChanged(
            f"the present revision is {present.revision}, not {wish.revision}: "
            "`droveway config diff` shows what would be undone"
        )
    if present.applied is not None and present.applied.version == version_of(config):
        return _unchanged(present)
    _say_changes(present, config)
    if wish.dry_run:
        return _Done(f"version {version_of(config)} can be applied; nothing was written", None)
    return await _write(bus, present, config, wish)


async def _roll_back(bus: Bus, wish: Wish) -> _Done:
    store = ConfigStore(bus)
    present = await store.current()
    number = wish.revision
    if number is None:
        number = _before(present, await store.history())
    back = await store.at(number)
    if present.applied is not None and present.applied.version == back.version:
        return _unchanged(present)
    check(back.config, f"revision {number}")
    _say_changes(present, back.config)
    return await _write(bus, present, back.config, wish, number)


async def _release(bus: Bus, wish: Wish) -> _Done:
    store = ConfigStore(bus)
    present = await store.current()
    known = await config_adopted.present(bus)
    began_s = time.monotonic()
    revision = await store.release(present, local_author(), wish.reason)
    text = f"revision {revision}: released, services hold their files"
    return await _until_adopted(bus, text, Wanted(revision, ""), known, began_s, wish.within_s)


async def _write(bus: Bus, present: Standing, config: Config, wish: Wish, of: int = 0) -> _Done:
    known = await config_adopted.present(bus)
    began_s = time.monotonic()
    written = await ConfigStore(bus).apply(present, config, local_author(), wish.reason, of)
    wanted = wanted_of(written)
    brought_back = f" of revision {of}" if of else ""
    text = f"revision {wanted.revision}, version {wanted.version}{brought_back}"
    return await _until_adopted(bus, text, wanted, known, began_s, wish.within_s)


async def _until_adopted(
    bus: Bus, text: str, wanted: Wanted, known: dict[str, Held], began_s: float, within_s: float
) -> _Done:
    """Counts from before the write on; what is written stands, whatever becomes of the broker."""
    wrote_s = time.monotonic() - began_s
    try:
        adoption = await config_adopted.until_adopted(bus, wanted, known, within_s)
    except BusError as error:
        unknown = f"it is written, but whether services have adopted it can't be asked: {error}"
        return _Done(f"{text}: {unknown}", None, EX_LATE)
    return _Done(text, adoption._replace(took_s=adoption.took_s + wrote_s))


def _before(present: Standing, history: Iterable[Revision]) -> int:
    """The newest revision before the present one that says something else.

    Raises:
        EntryMissing: There is none.
    """
    now = present.applied.version if present.applied else ""
    found = [
        one.number for one in history
        if one.number < present.revision and not one.released and one.version != now
    ]  # fmt: skip
    if not found:
        raise EntryMissing("there is no earlier revision to go back to")
    return found[-1]


def _of(standing: Standing) -> AppliedConfig:
    assert standing.applied is not None
    return standing.applied


def _unchanged(present: Standing) -> _Done:
    return _Done(
        f"unchanged: revision {present.revision}, version {_of(present).version}, says the same; "
        "nothing was written",
        None,
    )


def _say_changes(present: Standing, after: Config) -> None:
    before = present.applied.config if present.applied else None
    for area, kinds in changes_between(before, after, _MAX_NAMES).items():
        told = (f"{verb} {', '.join(map(printable, names))}" for verb, names in kinds.items())
        say(f"  {area}: {'; '.join(told)}")


def _told(done: _Done) -> int:
    """Says how it went; the exit code."""
    adoption = done.adoption
    if adoption is None:
        say(done.text)
        return done.code
    if not adoption.services:
        say(f"{done.text}; no service runs: each takes it when it starts")
        return 0
    adopted = adoption.services - len(adoption.late) - len(adoption.past)
    say(f"{done.text}: adopted by {adopted} of {adoption.services} in {adoption.took_s:.2f} s")
    for instance, revision in adoption.past.items():
        say(f"  {printable(instance)} holds revision {revision}, which came after")
    for instance, why in adoption.late.items():
        say(f"  {printable(instance)} {printable(why)}")
    return EX_LATE if adoption.late else 0
