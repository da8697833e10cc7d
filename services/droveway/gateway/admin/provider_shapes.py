"""What the administration's HTTP API takes and answers of providers."""

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from droveway.contracts.access import Strict
from droveway.contracts.providers import (
    MAX_MODELS,
    CredentialSeen,
    ModelName,
    ProvidersSeen,
    ProviderState,
    ProviderSwitch,
    Reason,
    TargetSeen,
)

Models = Annotated[tuple[ModelName, ...], msgspec.Meta(max_length=MAX_MODELS)]
ModelOrAll = Annotated[str, msgspec.Meta(max_length=256)]


class ProviderChange(Strict, frozen=True, kw_only=True):
    """What is to be off; what is left out stays."""

    state: ProviderState | UnsetType = UNSET
    disabled_models: Models | UnsetType = UNSET
    """All that are off by name, in place of the former ones."""
    reason: Reason | UnsetType = UNSET
    """For whoever asks why."""


class ResetAsked(Strict, frozen=True, kw_only=True):
    """What is to be forgotten."""

    model: ModelOrAll = ""
    """The provider's name for it; empty: all, and the cooldowns of its credentials."""


class RouterView(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider fares as one router sees it."""

    router: str
    targets: tuple[TargetSeen, ...]
    cooling: tuple[CredentialSeen, ...]
    """Credentials that are spared."""


class ProviderSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A provider: what is off, and how it fares."""

    id: str
    object: Literal["provider"] = "provider"
    state: ProviderState
    disabled_models: tuple[str, ...]
    reason: str
    at: str
    """When it was last switched; empty: never."""
    by: str
    routers: tuple[RouterView, ...]
    """Those that have answered."""


class ProviderList(msgspec.Struct, frozen=True, kw_only=True):
    """All providers, as they stand in the configuration."""

    data: tuple[ProviderSeen, ...]
    object: Literal["list"] = "list"


class ProviderReset(msgspec.Struct, frozen=True, kw_only=True):
    """It was told to all."""

    id: str
    object: Literal["provider_reset"] = "provider_reset"
    done: tuple[str, ...]
    """Routers and callers that have done it."""


def provider_seen(switch: ProviderSwitch, seen: Iterable[ProvidersSeen]) -> ProviderSeen:
    """Both together."""
    return ProviderSeen(
        id=switch.id,
        state=switch.state,
        disabled_models=switch.disabled_models,
        reason=switch.reason,
        at=switch.at,
        by=switch.by,
        routers=tuple(
            RouterView(router=one.router, targets=one.targets, cooling=one.credentials)
            for one in seen
        ),
    )
