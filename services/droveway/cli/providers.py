"""`droveway providers`: what operators switch off and on, and how targets fare meanwhile."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from droveway.cli.admin_session import numbers, print_json, run, say
from droveway.cli.providers_view import TITLES, WORDS, as_json, rows
from droveway.contracts.audit import Author
from droveway.contracts.envelope import is_id
from droveway.contracts.providers import UNNAMED, ProvidersSeen, ProviderSwitch
from droveway.runtime.access_errors import EntryMissing
from droveway.runtime.ask_providers import ask_providers, reset_providers
from droveway.runtime.audit_trail import local_author, record
from droveway.runtime.bus import Bus
from droveway.runtime.provider_switches import SwitchStore, disabled, enabled, reset_event

IN_FORCE_WITHIN_S = 2.0
"""How long to wait until all routers see a change; they do within a second."""
_LOOK_EVERY_S = 0.1


class Target(NamedTuple):
    """What was typed."""

    provider: str
    model: str
    """Empty: all of the provider."""

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}" if self.model else self.provider


def target_of(text: str) -> Target:
    """`openai` or `openai/gpt-5`; a model's name may have slashes of its own.

    Raises:
        EntryMissing: No provider can be called so.
    """
    provider, _, model = text.partition("/")
    if not is_id(provider):
        raise EntryMissing(f"{text[:80]!r}: expected provider or provider/model, as in the file")
    return Target(provider, model)


def listing(data: Path, provider: str, console: Console | None) -> None:
    """Prints what routers see; as JSON where there is no console.

    Raises:
        DrovewayError: They can't be asked, the switches can't be read, or there is no such one.
    """
    only = target_of(provider).provider if provider else ""

    async def look(bus: Bus) -> tuple[list[ProvidersSeen], list[ProviderSwitch]]:
        stored = await SwitchStore(bus).all()
        seen = await ask_providers(bus, only)
        switches = [one.switch for one in stored.values() if only in ("", one.switch.id)]
        return seen, switches

    seen, switches = run(data, look)
    if only and seen and not any(one.targets for one in seen):
        raise EntryMissing(f"no router knows a provider {only!r}")
    if console is None:
        print_json(as_json(seen, switches))
        return
    if not seen:
        say("no router has answered: this is what is switched off")
    console.print(numbers(TITLES, WORDS, rows(seen, switches)))


def disable(data: Path, text: str, reason: str) -> None:
    """Switches a target off, and waits until all routers know it.

    Raises:
        DrovewayError: There is no such target, or it can't be changed.
    """
    target = target_of(text)
    _switch(data, target, lambda present: disabled(present, target.model, reason), off=True)


def enable(data: Path, text: str) -> None:
    """Switches a target on again, and waits until all routers know it.

    Raises:
        DrovewayError: Its provider is off as a whole, or it can't be changed.
    """
    target = target_of(text)
    _switch(data, target, lambda present: enabled(present, target.model), off=False)


def reset(data: Path, text: str) -> None:
    """Has all routers and callers start anew with a target, or with all.

    Raises:
        DrovewayError: There is no such target, they can't be told, or it can't be recorded.
    """
    target = target_of(text) if text else Target("", "")
    author = local_author()

    async def told(bus: Bus) -> list[str]:
        if text:
            _check(target, await ask_providers(bus, target.provider))
        await record(bus, reset_event(target.provider, target.model, author))
        return await reset_providers(bus, target.provider, target.model)

    done = run(data, told)
    say(f"{target if text else 'all'}: reset in {', '.join(done) or 'nothing: nobody answers'}")


def _switch(
    data: Path, target: Target, how: Callable[[ProviderSwitch], ProviderSwitch], *, off: bool
) -> None:
    author, began_s = local_author(), time.monotonic()
    routers, late = run(data, lambda bus: _switched(bus, target, how, author, off))
    state = "disabled" if off else "enabled"
    if late:
        say(f"{target} is {state}, which is stored; {', '.join(late)} hasn't said so yet")
        return
    took_s = time.monotonic() - began_s
    say(f"{target} is {state} in {routers or 'no'} router{'s' * (routers != 1)} ({took_s:.1f} s)")


async def _switched(
    bus: Bus, target: Target, how: Callable[[ProviderSwitch], ProviderSwitch], author: Author,
    off: bool,
) -> tuple[int, list[str]]:  # fmt: skip
    """How many routers there are, and which don't see the change in time."""
    store = SwitchStore(bus)
    present = await store.get(target.provider)
    if off:
        _check(target, await ask_providers(bus, target.provider))
    await store.set(present, how(present.switch), author)
    until_s = time.monotonic() + IN_FORCE_WITHIN_S
    while True:
        seen = await ask_providers(bus, target.provider)
        late = [one.router for one in seen if _differs(one, target, off)]
        if not late or time.monotonic() > until_s:
            return len(seen), late
        await asyncio.sleep(_LOOK_EVERY_S)


def _check(target: Target, seen: list[ProvidersSeen]) -> None:
    """Refuses what no router knows, if any router has answered.

    Raises:
        EntryMissing: Its words name what there is.
    """
    models = {each.model for one in seen for each in one.targets}
    if not seen or target.model in models or (models and not target.model) or UNNAMED in models:
        return
    if not models:
        raise EntryMissing(f"no router knows a provider {target.provider!r}")
    known = ", ".join(sorted(models))
    raise EntryMissing(f"{target.provider} has no target {target.model[:80]!r}; there are {known}")


def _differs(seen: ProvidersSeen, target: Target, off: bool) -> bool:
    meant = [one for one in seen.targets if target.model in ("", one.model)]
    return any(one.disabled != off for one in meant if one.model != UNNAMED or not target.model)
