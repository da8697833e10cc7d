"""Bad configurations: as files, by the command, and written past it into the bucket."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from droveway.cli import config_adopted, config_apply
from droveway.cli.config_apply import Wish
from droveway.contracts.configuration import version_of
from droveway.contracts.jetstream import CONFIG
from droveway.runtime.bus import Bus
from droveway.runtime.config.file import MAX_CONFIG_BYTES, load
from droveway.runtime.config.store import SUBJECT, ConfigStore
from droveway.runtime.errors import DrovewayError
from tests.prove.claim import Claim, Result, Run
from tests.prove.clients import failed
from tests.prove.plant import Plant, Shape, broker, plant
from tests.support.access import TESTER
from tests.support.history import History
from tests.support.history_clients import ask_raw

SERVICES = ("gateway", "router", "limiter", "caller", "metrics")
_EX_CONFIG = 78
_ENDED_WITHIN_S = 15.0
_NOTICED_WITHIN_S = 10.0
_WRITE_TIMEOUT_S = 2.0

LARGE = "more than a message takes"
"""Good as a file."""

Document = dict[str, Any]


class Bad(NamedTuple):
    """What is wrong, and how a good file comes to it."""

    name: str
    spoil: Callable[[str], str]


def _with(change: Callable[[Document], Any]) -> Callable[[str], str]:
    def spoil(text: str) -> str:
        document = yaml.safe_load(text)
        change(document)
        return yaml.safe_dump(document, sort_keys=False)

    return spoil


def _first_target(document: Document) -> Document:
    target: Document = document["routes"][0]["tiers"][0]["targets"][0]
    return target


def _many(count: int) -> dict[str, str]:
    return {f"{'a' * 200}{number}": "numbered-3" for number in range(count)}


BAD = (
    Bad("an unknown provider", _with(lambda one: _first_target(one).update(provider="nobody"))),
    Bad("a negative limit", _with(lambda one: one.update(default_limits=[{"requests": -1}]))),
    Bad("a loop of aliases", _with(lambda one: one.update(aliases={"a": "b", "b": "a"}))),
    Bad(
        "a secret in clear text",
        _with(lambda one: one["providers"][0].update(credentials=[{"api_key": "sk-clear-91f"}])),
    ),
    Bad("an unknown field", _with(lambda one: one.update(provider=[]))),
    Bad("a tier without targets", _with(lambda one: one["routes"][0].update(tiers=[{}]))),
    Bad("a weight of 0", _with(lambda one: _first_target(one).update(weight=0))),
    Bad("a provider twice", _with(lambda one: one["providers"].append(one["providers"][0]))),
    Bad(
        "a provider in clear over the network",
        _with(lambda one: one["providers"][0].update(base_url="http://api.example.com/v1")),
    ),
    Bad("no configuration", lambda _text: "- 1\n"),
    Bad(LARGE, _with(lambda one: one.update(aliases=_many(4_000)))),
    Bad("a file over 8 MiB", lambda text: f"{text}# {'x' * MAX_CONFIG_BYTES}"),
    Bad("no YAML", lambda text: f"{text}]: [\n"),
    Bad("an empty file", lambda _text: ""),
    Bad("a key twice", lambda text: f"{text}\nroutes: []\n"),
)
NO_DOCUMENT = ("a file over 8 MiB", "no YAML", "an empty file", "a key twice")
"""No entry of the bucket can be that."""


async def _changes_nothing(run: Run) -> Result:
    chance = run.random()
    chosen = chance.sample(BAD, run.count(len(BAD), 4))
    starts = chance.sample([one for one in BAD if one.name != LARGE], run.count(4, 1))
    async with broker(run) as nats, plant(run, nats, Shape()) as it, nats.bus("operator") as bus:
        with run.history() as history:
            world = _World(run, it, bus, history)
            by_file = [await world.as_file(one) for one in chosen if one.name != LARGE]
            by_command = [await world.by_command(one, nats.folder.path) for one in chosen]
            await world.apply_a_good_one()
            entries = [one for one in chosen if one.name not in NO_DOCUMENT]
            as_entry = [await world.as_entry(one) for one in entries]
            await ConfigStore(bus).release(await ConfigStore(bus).current(), TESTER)
            codes = {bad.name: await world.exit_codes(bad) for bad in starts}
            await it.judge(history)
    tried = [*by_file, *by_command, *as_entry]
    changed = [one for one in tried if one]
    kept = len(SERVICES) - len({service for one in changed for service in one})
    facts = {
        "by_file": len(by_file),
        "by_command": len(by_command),
        "as_entry": len(as_entry),
        "changed": changed,
        "exit_codes": codes,
    }
    refusing = sum(
        all(each[service] == _EX_CONFIG for each in codes.values()) for service in SERVICES
    )
    held = not changed and refusing == kept == len(SERVICES)
    measured = f"{len(changed)} of {len(tried)}; {refusing} of 5; {kept} of 5"
    return Result(measured, held, facts)


class _World:
    """The running system, and the file that is in force."""

    def __init__(self, run: Run, it: Plant, bus: Bus, history: History) -> None:
        self._run = run
        self._it = it
        self._bus = bus
        self._history = history
        self._file = it["gateway"][0].config
        self._good = self._file.read_text()
        self._version = version_of(load(str(self._file)))

    async def as_file(self, bad: Bad) -> list[str]:
        """Who has changed when it stood in the file that all follow."""
        before = await self._refusals()
        self._write(bad.spoil(self._good))
        changed = await self._noticed(bad, before)
        self._write(self._good)
        return changed

    async def by_command(self, bad: Bad, data: Path) -> list[str]:
        """Who has changed when it was to be applied; the command itself, if it took it."""
        file = self._run.folder / "bad.yaml"
        file.write_text(bad.spoil(self._good))
        try:
            await asyncio.to_thread(config_apply.apply, data, str(file), Wish("", 5.0))
        except DrovewayError:
            return await self._changed()
        return ["the command"]

    async def apply_a_good_one(self) -> None:
        """From now on the entry holds instead of the file."""
        store = ConfigStore(self._bus)
        config = msgspec.structs.replace(load(str(self._file)), usd_cny=7.1)
        self._version = version_of(config)
        known = await config_adopted.present(self._bus)
        written = await store.apply(await store.current(), config, TESTER)
        wanted = config_adopted.wanted_of(written)
        adoption = await config_adopted.until_adopted(self._bus, wanted, known, 5.0)
        for instance, why in adoption.late.items():
            self._run.blame(f"{instance} {why}")

    async def as_entry(self, bad: Bad) -> list[str]:
        """Who has changed when something else than the command wrote it into the bucket."""
        before = await self._refusals()
        entry = {
            "config": yaml.safe_load(bad.spoil(self._good)), "version": "0" * 12,
            "at": "2026-11-23T00:00:00Z", "by": "something else",
        }  # fmt: skip
        await self._bus.request(SUBJECT, msgspec.json.encode(entry), _WRITE_TIMEOUT_S)
        return await self._noticed(bad, before)

    async def exit_codes(self, bad: Bad) -> dict[str, int | None]:
        """By service: how it ends that is started with nothing but that; then all run again."""
        members = {service: self._it[service][0] for service in SERVICES}
        await asyncio.gather(*(one.terminate() for one in members.values()))
        self._write(bad.spoil(self._good))
        for one in members.values():
            one.start()
            one.struck = True
        await asyncio.gather(*(one.child.ended(_ENDED_WITHIN_S) for one in members.values()))
        codes = {service: one.exit_code for service, one in members.items()}
        self._write(self._good)
        await asyncio.gather(*(one.restart() for one in members.values()))
        return codes

    async def _noticed(self, bad: Bad, before: dict[str, float]) -> list[str]:
        """Waits until all services have refused it; who holds something else then."""

        async def all_of_them() -> bool:
            now = await self._refusals()
            return all(now[name] > before[name] for name in now)

        await self._it.until(all_of_them, _NOTICED_WITHIN_S, f"{bad.name}: all have refused it")
        return await self._changed()

    async def _changed(self) -> list[str]:
        """Services that hold something else than the good one, or don't answer as before."""
        held = await config_adopted.present(self._bus)
        changed = {one.partition("-")[0] for one in held if held[one].version != self._version}
        missing = set(SERVICES) - {one.partition("-")[0] for one in held}
        body = self._it.body("numbered-3", stream=True)
        asked = await ask_raw(self._history, self._it.port, self._it.key, body)
        return sorted(changed | missing | ({"gateway"} if failed([asked]) else set()))

    async def _refusals(self) -> dict[str, float]:
        """By service: files and entries that it has refused so far."""
        return {name: await self._refused(name) for name in SERVICES}

    async def _refused(self, service: str) -> float:
        member = self._it[service][0]
        unread = await member.samples("droveway_kv_refused_total")
        own = sum(value for labels, value in unread if labels.get("bucket") == CONFIG)
        return own + await member.metric("droveway_config_rejected_total")

    def _write(self, text: str) -> None:
        """As an editor does: all of it at once."""
        written = self._file.with_name("written.yaml")
        written.write_text(text)
        written.replace(self._file)


CLAIMS = (
    Claim(
        id="B50",
        text="bad configurations (no YAML, an unknown provider, a negative limit, a secret in "
        "clear text, an empty file, a loop of aliases, too large and others), as files, applied, "
        "and in the bucket: those that change anything; services that refuse to start with one; "
        "that keep the last good one",
        bound="0; 5; 5",
        run=_changes_nothing,
    ),
)
