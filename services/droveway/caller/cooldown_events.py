"""Tells when a credential begins to be spared, and when it is used again."""

from collections.abc import Iterable

from droveway.contracts.events import CooldownBegan, CooldownEnded
from droveway.contracts.health import CredentialHealth
from droveway.runtime.events import Events


class CooldownEvents:
    """Compares each digest with the one before: an end is seen within a second."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._cooling: dict[tuple[str, str], str] = {}
        """What is spared, and why."""

    def take(self, digest: Iterable[CredentialHealth]) -> None:
        """All that the caller knows now."""
        cooling: dict[tuple[str, str], str] = {}
        for one in digest:
            if not one.cooldown_ms:
                continue
            key = one.provider, one.credential
            cooling[key] = one.why
            if self._cooling.get(key) != one.why:
                began = CooldownBegan(
                    provider=one.provider, credential=one.credential,
                    why=one.why, for_ms=one.cooldown_ms,
                )  # fmt: skip
                self._events.tell(began)
        for provider, credential in self._cooling.keys() - cooling.keys():
            self._events.tell(CooldownEnded(provider=provider, credential=credential))
        self._cooling = cooling
