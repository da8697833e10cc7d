"""Whether running services have adopted what was written: they are asked until all say so."""

import asyncio
import time
from typing import NamedTuple

from droveway.contracts import discovery
from droveway.contracts.envelope import MALFORMED
from droveway.runtime.bus import Bus
from droveway.runtime.config.entries import Standing
from droveway.runtime.gather_answers import Patience, gather_answers

MAX_SERVICES = 10_000
"""Further ones aren't waited for."""
_CENSUS = Patience(quiet_s=0.25, longest_s=5.0)
_ROUND = Patience(quiet_s=0.05, longest_s=1.0, first_s=0.3)
_PAUSE_S = 0.02
_OURS = discovery.name_of("")
_OF_FILE = "0"
"""What stands for a revision where a service holds its file."""


class Held(NamedTuple):
    """Which configuration a service says that it holds."""

    version: str
    """Empty: it doesn't say."""
    revision: str
    """`0`: its file's."""
    told_s: float
    """When it said so, by the monotonic clock."""


class Adoption(NamedTuple):
    """How it went."""

    services: int
    took_s: float
    """From the asking on until the last of them said so."""
    late: dict[str, str]
    """Instances that don't hold it, each with what is known of it."""
    past: dict[str, int]
    """Instances that hold what came after it, each with that revision."""


class Wanted(NamedTuple):
    """What was written."""

    revision: int
    version: str
    """Empty: a release, after which services hold their files."""

    def is_held(self, held: Held) -> bool:
        """Whether a service has adopted it."""
        revision = str(self.revision) if self.version else _OF_FILE
        return held.revision == revision and self.version in ("", held.version)

    def later(self, held: Held) -> int | None:
        """The revision that a service holds, if it came after this one."""
        told = held.revision
        revision = int(told) if told.isascii() and told.isdecimal() and len(told) < 19 else 0
        return revision if revision > self.revision else None


def wanted_of(written: Standing) -> Wanted:
    """What services are to hold once it is written."""
    return Wanted(written.revision, "" if written.applied is None else written.applied.version)


async def present(bus: Bus) -> dict[str, Held]:
    """What all services hold now, by instance.

    Raises:
        BusError: There is no connection.
    """
    found: dict[str, Held] = {}
    await _ask(bus, found, _CENSUS)
    return found


async def until_adopted(
    bus: Bus, wanted: Wanted, known: dict[str, Held], within_s: float
) -> Adoption:
    """Asks until all services that are `known`, or that answer meanwhile, hold what is `wanted`.

    What came after it counts as well: it was in force, and isn't any more.

    Raises:
        BusError: The connection was lost.
    """
    began_s = time.monotonic()
    adopted_s: dict[str, float] = {}
    past: dict[str, int] = {}
    heard: dict[str, Held] = {}
    while True:
        await _ask(bus, heard, _ROUND)
        for instance, held in heard.items():
            if wanted.is_held(held):
                adopted_s.setdefault(instance, held.told_s - began_s)
            elif instance not in adopted_s and (revision := wanted.later(held)) is not None:
                past[instance] = revision
        late = {
            instance: _known_of(heard.get(instance))
            for instance in sorted(known.keys() | heard.keys())
            if instance not in adopted_s and instance not in past
        }
        if not late or time.monotonic() - began_s >= within_s:
            services = len(late) + len(adopted_s) + len(past)
            return Adoption(services, max(adopted_s.values(), default=0.0), late, past)
        await asyncio.sleep(_PAUSE_S)


async def _ask(bus: Bus, heard: dict[str, Held], patience: Patience) -> None:
    def take(payload: bytes) -> bool:
        try:
            answer = discovery.stats_decoder.decode(payload)
        except MALFORMED:
            return False
        if answer.name.startswith(_OURS) and (answer.id in heard or len(heard) < MAX_SERVICES):
            told = answer.metadata
            version, revision = told.get("config", ""), told.get("config_revision", "")
            heard[answer.id] = Held(version, revision, time.monotonic())
        return True

    await gather_answers(bus, f"{discovery.ROOT}.STATS", b"", take, patience)


def _known_of(held: Held | None) -> str:
    if held is None:
        return "hasn't answered since: has it ended?"
    if not held.version:
        return "doesn't say what it holds: is it of an earlier version?"
    origin = "its file" if held.revision == _OF_FILE else f"revision {held.revision}"
    return f"holds {held.version} of {origin}: look for config_reload_failed in its log"
