"""What the administration's HTTP API takes and answers; the OpenAPI document is made from it."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from droveway.contracts.access import (
    Address,
    Budget,
    CnyPerUsd,
    Key,
    KeyState,
    Limit,
    Name,
    NatsUser,
    NoSha256,
    QueueSeconds,
    Strict,
    Tenant,
    TenantState,
    Usd,
)
from droveway.contracts.audit import AuditRecorded
from droveway.contracts.envelope import Id, NoId
from droveway.runtime.access_changes import MAX_OVERLAP_S

Source = Literal["file", "store"]
Label = Annotated[str, msgspec.Meta(max_length=256)]
Moment = Annotated[str, msgspec.Meta(max_length=64)]
Environment = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]{1,16}$(?!\n)")]
Overlap = Annotated[float, msgspec.Meta(ge=0, le=MAX_OVERLAP_S)]
Secret = Annotated[str, msgspec.Meta(description="Shown once, and stored nowhere.")]


class NewKey(Strict, frozen=True, kw_only=True):
    """A key to be made; with `sha256` it is one that a client has, else its secret is answered."""

    id: NoId = ""
    """Empty: one is made."""
    sha256: NoSha256 = ""
    environment: Environment = "live"
    """Stands in the key's text."""
    tenant: Id = "default"
    state: KeyState = "active"
    expires: Moment = ""
    models: tuple[Name, ...] = ("*",)
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()
    addresses: tuple[Address, ...] = ()
    queue_s: QueueSeconds = 0.0
    nats_user: NatsUser = ""


class KeyChange(Strict, frozen=True, kw_only=True):
    """Fields of a key to be replaced; what is left out stays."""

    tenant: Id | UnsetType = UNSET
    state: KeyState | UnsetType = UNSET
    expires: Moment | UnsetType = UNSET
    models: tuple[Name, ...] | UnsetType = UNSET
    limits: tuple[Limit, ...] | UnsetType = UNSET
    budgets: tuple[Budget, ...] | UnsetType = UNSET
    addresses: tuple[Address, ...] | UnsetType = UNSET
    queue_s: QueueSeconds | UnsetType = UNSET
    nats_user: NatsUser | UnsetType = UNSET


class NewTenant(Strict, frozen=True, kw_only=True):
    """A tenant to be made."""

    id: Id
    name: Label = ""
    state: TenantState = "active"
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()
    usd_cny: CnyPerUsd | None = None
    """Yuan that this account is shown for a dollar; null: as the configuration says."""


class TenantChange(Strict, frozen=True, kw_only=True):
    """Fields of a tenant to be replaced; what is left out stays."""

    name: Label | UnsetType = UNSET
    state: TenantState | UnsetType = UNSET
    limits: tuple[Limit, ...] | UnsetType = UNSET
    budgets: tuple[Budget, ...] | UnsetType = UNSET
    usd_cny: CnyPerUsd | UnsetType | None = UNSET


class Rotation(Strict, frozen=True, kw_only=True):
    """How a key gets a new secret."""

    overlap_s: Overlap = 86_400.0
    """How long the former one stays good."""
    environment: Environment = "live"


class Limits(Strict, frozen=True, kw_only=True):
    """All limits of a key or a tenant."""

    limits: tuple[Limit, ...]


class Budgets(Strict, frozen=True, kw_only=True):
    """All budgets of a key or a tenant."""

    budgets: tuple[Budget, ...]


class Credit(Strict, frozen=True, kw_only=True):
    """Credit to be added: to the budget with the period `total`."""

    usd: Usd


class KeySeen(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it may be seen: without its hash."""

    id: str
    object: Literal["key"] = "key"
    source: Source
    """The operator's file, whose entries are changed there, or the store."""
    tenant: str
    state: KeyState
    expires: str
    """Empty: never."""
    previous_until: str
    """Until when the secret before the last rotation is good; empty: it isn't."""
    models: tuple[str, ...]
    limits: tuple[Limit, ...]
    budgets: tuple[Budget, ...]
    addresses: tuple[str, ...]
    queue_s: float
    """How long its requests may wait for room in its limits; 0: they don't."""
    nats_user: str


class KeyMade(KeySeen, frozen=True, kw_only=True):
    """A key just made or rotated, with its secret; null where the client has it already."""

    key: Secret | None


class TenantSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant."""

    id: str
    object: Literal["tenant"] = "tenant"
    source: Source
    name: str
    state: TenantState
    limits: tuple[Limit, ...]
    budgets: tuple[Budget, ...]
    usd_cny: float | None
    """Null: as the configuration says."""


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """Keys by id; the next page begins `after` the last."""

    data: tuple[KeySeen, ...]
    object: Literal["list"] = "list"
    has_more: bool


class TenantList(msgspec.Struct, frozen=True, kw_only=True):
    """Tenants by id; the next page begins `after` the last."""

    data: tuple[TenantSeen, ...]
    object: Literal["list"] = "list"
    has_more: bool


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """It is gone."""

    id: str
    object: Literal["key", "tenant"]
    deleted: Literal[True] = True


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An audit event with its number."""

    number: int
    event: AuditRecorded


class Trail(msgspec.Struct, frozen=True, kw_only=True):
    """Audit events, newest first; the next page is `before` the last one's number."""

    data: tuple[Event, ...]
    object: Literal["list"] = "list"


def key_seen(key: Key, source: Source) -> KeySeen:
    """What may be seen of a key."""
    return KeySeen(
        id=key.id,
        source=source,
        tenant=key.tenant,
        state=key.state,
        expires=key.expires,
        previous_until=key.previous_until,
        models=key.models,
        limits=key.limits,
        budgets=key.budgets,
        addresses=key.addresses,
        queue_s=key.queue_s,
        nats_user=key.nats_user,
    )


def key_made(key: Key, secret: str | None) -> KeyMade:
    """The same with its secret."""
    return KeyMade(**msgspec.structs.asdict(key_seen(key, "store")), key=secret)


def tenant_seen(tenant: Tenant, source: Source) -> TenantSeen:
    """A tenant as it is answered."""
    return TenantSeen(
        id=tenant.id,
        source=source,
        name=tenant.name,
        state=tenant.state,
        limits=tenant.limits,
        budgets=tenant.budgets,
        usd_cny=tenant.usd_cny,
    )
