"""Operators and gateways to routers and callers: what is off, how each target fares, start anew.

What is switched off stands as JSON in the KV bucket `routing`, an entry for each provider; every
router follows it. How a target fares each router tells for itself, so all of them are asked. A
reset is told to all routers and callers, each of which says that it was done.
"""

from typing import Annotated, Literal

import msgspec

from droveway.contracts.envelope import Id, Millis, NoId
from droveway.contracts.envelope import subject as _subject

ENTRIES = "provider."
"""What the names of entries in the bucket begin with; a provider's id follows."""
MAX_MODELS = 256
"""Models of one provider that may be off by name; a provider can be off as a whole."""
MAX_SEEN = 1_000
"""Targets, and credentials, that one router tells of; those that don't fare well come first."""
UNNAMED = "*"
"""Stands for a model where a route takes any and none is known yet."""

ProviderState = Literal["active", "disabled"]
TargetState = Literal["closed", "open", "probing"]
ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Reason = Annotated[str, msgspec.Meta(max_length=256)]
Moment = Annotated[str, msgspec.Meta(max_length=64)]


class ProviderSwitch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What operators have switched off at one provider: all of it, or single models."""

    id: Id
    state: ProviderState = "active"
    disabled_models: Annotated[tuple[ModelName, ...], msgspec.Meta(max_length=MAX_MODELS)] = ()
    """By the provider's names for them."""
    reason: Reason = ""
    at: Moment = ""
    """When it was last changed: RFC 3339, UTC."""
    by: Annotated[str, msgspec.Meta(max_length=256)] = ""
    """Who did."""

    def disables(self, model: str) -> bool:
        """Whether the target gets nothing."""
        return self.state == "disabled" or model in self.disabled_models


class ProvidersAsked(
    msgspec.Struct, frozen=True, kw_only=True, tag="providers.asked.v1", tag_field="t"
):
    """How do targets and credentials fare?"""

    provider: NoId = ""
    """Empty: of all."""


class ProvidersReset(
    msgspec.Struct, frozen=True, kw_only=True, tag="providers.reset.v1", tag_field="t"
):
    """Forget what was seen: breakers close; of a provider as a whole its cooldowns end, too."""

    provider: NoId = ""
    """Empty: all."""
    model: str = ""
    """Empty: all of its models, and its credentials."""


class TargetSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One target as a router sees it."""

    provider: Id
    model: str
    """The provider's name for it; `*`: any, as far as none is known."""
    state: TargetState = "closed"
    """`open`: it gets nothing but probes; `probing`: the next request may be one."""
    for_ms: Millis = 0
    """It has been so for so long; a probe that fails doesn't end it."""
    why: str = ""
    """What opened it: a code, or `slow`."""
    outcomes: int = 0
    """Of the window that is judged."""
    failed: int = 0
    """Of these: failed, slow, or cut."""
    first_token_ms: Millis = 0
    """The mean that `fastest` goes by; 0: not known."""
    disabled: bool = False


class CredentialSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One credential that is to be spared."""

    provider: Id
    credential: Id
    cooldown_ms: Millis
    why: str


class ProvidersSeen(
    msgspec.Struct, frozen=True, kw_only=True, tag="providers.seen.v1", tag_field="t"
):
    """What one router sees."""

    router: Id
    targets: Annotated[tuple[TargetSeen, ...], msgspec.Meta(max_length=MAX_SEEN)] = ()
    credentials: Annotated[tuple[CredentialSeen, ...], msgspec.Meta(max_length=MAX_SEEN)] = ()


class ResetDone(
    msgspec.Struct, frozen=True, kw_only=True, tag="providers.reset_done.v1", tag_field="t"
):
    """One router or caller has done it."""

    instance: Id


Question = ProvidersAsked | ProvidersReset
Answer = ProvidersSeen | ResetDone

question_decoder: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
answer_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
switch_decoder = msgspec.json.Decoder(ProviderSwitch)


def providers_subject() -> str:
    """`droveway.v1.providers`: every router and caller hears it."""
    return _subject("providers")


def entry_name(provider: Id) -> str:
    """The key of a provider's entry in the bucket."""
    return f"{ENTRIES}{provider}"


def switched_off(switch: ProviderSwitch) -> bool:
    """Whether anything is."""
    return switch.state == "disabled" or bool(switch.disabled_models)
