"""Providers by the administration's API: how they fare, switched off and on, started anew."""

from collections.abc import Iterable

import msgspec

from droveway.contracts.config import Provider
from droveway.contracts.providers import ProvidersSeen, ProviderSwitch
from droveway.gateway.admin import provider_shapes as shapes
from droveway.gateway.admin.asked import Answer, Asked, Handler, check_match
from droveway.gateway.admin.entries import told
from droveway.gateway.refusal import refuse
from droveway.runtime.ask_providers import ask_providers, reset_providers
from droveway.runtime.audit_trail import record
from droveway.runtime.bus import Bus
from droveway.runtime.provider_switches import (
    StoredSwitch,
    SwitchStore,
    checked,
    reset_event,
)


class Providers:
    """Providers of the configuration, with what is switched off and what routers see."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._store = SwitchStore(bus)
        self._ids: tuple[str, ...] = ()

    def configure(self, providers: Iterable[Provider]) -> None:
        """Takes the providers of a new configuration."""
        self._ids = tuple(one.id for one in providers)

    def handlers(self) -> dict[str, Handler]:
        """By the names of endpoints."""
        return {
            "admin.providers.list": self.list,
            "admin.providers.get": self.get,
            "admin.providers.change": self.change,
            "admin.providers.reset": self.reset,
        }

    async def list(self, asked: Asked) -> Answer:
        """All providers."""
        with told():
            stored = await self._store.all()
            seen = await ask_providers(self._bus)
        data = tuple(
            shapes.provider_seen(_switch(stored, provider_id), _only(seen, provider_id))
            for provider_id in self._ids
        )
        return Answer(shapes.ProviderList(data=data))

    async def get(self, asked: Asked) -> Answer:
        """One provider."""
        present = await self._present(asked.entry_id)
        return await self._answer(present)

    async def change(self, asked: Asked) -> Answer:
        """Switches a provider or models of it off or on, on all routers within a second."""
        present = await self._present(asked.entry_id)
        check_match(asked.if_match, present.revision)
        given = {
            name: value
            for name, value in msgspec.structs.asdict(asked.body).items()
            if value is not msgspec.UNSET
        }
        with told():
            switch = checked(msgspec.structs.replace(present.switch, **given))
            changed = await self._store.set(present, switch, asked.by)
        return await self._answer(changed)

    async def reset(self, asked: Asked) -> Answer:
        """Closes breakers, and ends cooldowns unless only one model is meant."""
        self._check(asked.entry_id)
        model = asked.body.model
        with told():
            await record(self._bus, reset_event(asked.entry_id, model, asked.by))
            done = await reset_providers(self._bus, asked.entry_id, model)
        return Answer(shapes.ProviderReset(id=asked.entry_id, done=tuple(done)))

    async def _present(self, provider_id: str) -> StoredSwitch:
        self._check(provider_id)
        with told():
            return await self._store.get(provider_id)

    async def _answer(self, stored: StoredSwitch) -> Answer:
        with told():
            seen = await ask_providers(self._bus, stored.switch.id)
        return Answer(shapes.provider_seen(stored.switch, seen), stored.revision)

    def _check(self, provider_id: str) -> None:
        if provider_id not in self._ids:
            known = ", ".join(self._ids)
            raise refuse("not_found", f"There is no provider of that id; there are {known}")


def _switch(stored: dict[str, StoredSwitch], provider_id: str) -> ProviderSwitch:
    found = stored.get(provider_id)
    return ProviderSwitch(id=provider_id) if found is None else found.switch


def _only(seen: Iterable[ProvidersSeen], provider_id: str) -> list[ProvidersSeen]:
    return [
        ProvidersSeen(
            router=one.router,
            targets=tuple(each for each in one.targets if each.provider == provider_id),
            credentials=tuple(each for each in one.credentials if each.provider == provider_id),
        )
        for one in seen
    ]
