"""What may interest whoever listens now: events in JSON on `events.<service>`, each told once.

Nobody stores them and no work depends on them: who isn't listening misses them, and a service says
only so many per second. They hold ids and numbers, never content of a request or an answer.
How a request that was accepted has ended, its row tells (`usage`).
"""

from typing import Annotated

import msgspec

from droveway.contracts.envelope import PREFIX, Id, Millis, NanoUsd, NoId
from droveway.contracts.envelope import subject as _subject

ANY = f"{PREFIX}.events.*"
"""The events of all services, as a subject pattern."""

MAX_MODEL_CHARS = 256
Count = Annotated[int, msgspec.Meta(ge=0)]


def events_subject(service: str) -> str:
    """`droveway.v1.events.<service>`."""
    return _subject("events", service)


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all events begin with; their publisher fills it in."""

    at_ms: Millis = 0
    """Unix milliseconds by the sender's clock."""
    instance: NoId = ""
    unsaid: Count = 0
    """Events of the same kind that the sender left out just before: they were too many."""


class RequestRefused(_Event, frozen=True, kw_only=True, tag="request.refused.v1", tag_field="t"):
    """A door has refused a request before any router had it, so it has no row."""

    request_id: Id
    protocol: Id
    """By which way it came in: `http` or `nats`."""
    operation: str
    """`chat.completions`; `unknown` for a path that is none."""
    tenant: NoId = ""
    """Empty: it isn't known who asks."""
    key_id: NoId = ""
    model: Annotated[str, msgspec.Meta(max_length=MAX_MODEL_CHARS)] = ""
    """The name that the client asked for; empty: it didn't come so far."""
    status: Count
    code: str


class BudgetCrossed(_Event, frozen=True, kw_only=True, tag="budget.crossed.v1", tag_field="t"):
    """Spending has reached a soft threshold of a budget, or all of it."""

    scope: str
    """`key` or `tenant`."""
    id: Id
    period: str
    """`hour`, `day`, `month` or `total`."""
    period_start_ms: Millis
    """Unix milliseconds, by the broker's clock."""
    soft_nano: NanoUsd
    limit_nano: NanoUsd
    spent_nano: NanoUsd


class CooldownBegan(_Event, frozen=True, kw_only=True, tag="cooldown.began.v1", tag_field="t"):
    """A caller was told by a provider to spare one of its credentials."""

    provider: Id
    credential: Id
    why: Id
    """`rate_limited`, `exhausted` or `refused`."""
    for_ms: Millis


class CooldownEnded(_Event, frozen=True, kw_only=True, tag="cooldown.ended.v1", tag_field="t"):
    """A caller uses a credential again."""

    provider: Id
    credential: Id


class TargetOpened(_Event, frozen=True, kw_only=True, tag="target.opened.v1", tag_field="t"):
    """A router leaves a target alone: too much of what it asked there failed."""

    provider: Id
    model: Annotated[str, msgspec.Meta(max_length=MAX_MODEL_CHARS)]
    """The provider's name for it."""
    why: Id
    """The code of the failure that opened it; `slow`; `cut`."""


class TargetClosed(_Event, frozen=True, kw_only=True, tag="target.closed.v1", tag_field="t"):
    """A router uses a target again."""

    provider: Id
    model: Annotated[str, msgspec.Meta(max_length=MAX_MODEL_CHARS)]


class ConfigAdopted(_Event, frozen=True, kw_only=True, tag="config.adopted.v1", tag_field="t"):
    """A process works by a new configuration, of its file or applied."""


class ConfigRefused(_Event, frozen=True, kw_only=True, tag="config.refused.v1", tag_field="t"):
    """A process stays with the configuration before: the new one is wrong, as its log tells."""

    findings: Count


class OwnerChanged(_Event, frozen=True, kw_only=True, tag="owner.changed.v1", tag_field="t"):
    """Another limiter decides: the one that tells it."""

    partition: Count
    sequence: Count
    """Of its first append to the limits' log."""


class LedgerBehind(_Event, frozen=True, kw_only=True, tag="ledger.behind.v1", tag_field="t"):
    """Rows wait for longer than they should until the ledger has them."""

    rows: Count


class LedgerCaughtUp(_Event, frozen=True, kw_only=True, tag="ledger.caught_up.v1", tag_field="t"):
    """The ledger has all rows again."""


class CanaryRolledBack(
    _Event, frozen=True, kw_only=True, tag="canary.rolled_back.v1", tag_field="t"
):
    """A canary did worse than its route's stable channel, and gets nothing any more."""

    route: Annotated[str, msgspec.Meta(max_length=MAX_MODEL_CHARS)]
    reason: str


Event = (
    RequestRefused
    | BudgetCrossed
    | CooldownBegan
    | CooldownEnded
    | TargetOpened
    | TargetClosed
    | ConfigAdopted
    | ConfigRefused
    | OwnerChanged
    | LedgerBehind
    | LedgerCaughtUp
    | CanaryRolledBack
)
OF_SERVICES: dict[str, tuple[type[msgspec.Struct], ...]] = {
    "gateway": (RequestRefused, ConfigAdopted, ConfigRefused),
    "router": (TargetOpened, TargetClosed, ConfigAdopted, ConfigRefused),
    "limiter": (BudgetCrossed, OwnerChanged, ConfigAdopted, ConfigRefused),
    "caller": (CooldownBegan, CooldownEnded, ConfigAdopted, ConfigRefused),
    "metrics": (LedgerBehind, LedgerCaughtUp, CanaryRolledBack, ConfigAdopted, ConfigRefused),
}
"""Who tells what."""


def name_of(kind: type[msgspec.Struct]) -> str:
    """What an event is called: `budget.crossed`."""
    return str(kind.__struct_config__.tag).removesuffix(".v1")


encode_json = msgspec.json.Encoder().encode
event_decoder = msgspec.json.Decoder(Event)
