"""Who may call, and how much: tenants, their keys, limits and budgets.

The same structs stand in the operator's file and, as JSON, in the KV bucket `access`, which the
administration writes: `tenant.<id>` and `key.<id>`. What stands in the file can't be changed there.
"""

from typing import Annotated, Literal

import msgspec

from droveway.contracts.envelope import Id

Count = Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
NoSha256 = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$(?!\n)")]
NatsUser = Annotated[str, msgspec.Meta(pattern=r"^(U[A-Z2-7]{55})?$(?!\n)")]
Address = Annotated[str, msgspec.Meta(min_length=2, max_length=64)]
WindowSeconds = Annotated[float, msgspec.Meta(ge=0.1, le=31 * 86_400)]
QueueSeconds = Annotated[float, msgspec.Meta(ge=0, le=600)]
Usd = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
CnyPerUsd = Annotated[float, msgspec.Meta(gt=0, le=1_000)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Period = Literal["hour", "day", "month", "total"]
KeyState = Literal["active", "not_activated", "disabled"]
TenantState = Literal["active", "disabled"]
Role = Literal["viewer", "operator", "admin"]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A misspelt field is refused with its path, never ignored."""


class Limit(Strict, frozen=True, kw_only=True, omit_defaults=True):
    """Never more than so many in any interval of `window_s`; one entry may limit several kinds."""

    requests: Count | None = None
    tokens: Count | None = None
    """Input and output together."""
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    concurrency: Count | None = None
    """Requests at the same time, whatever the window."""
    window_s: WindowSeconds = 60.0
    burst: Count | None = None
    """Spread evenly over the window instead, with at most so many at once (GCRA)."""
    model: Name = "*"
    """Only requests for this model count; a name that ends with `*` means all that begin so."""


class Budget(Strict, frozen=True, kw_only=True, omit_defaults=True):
    """Never more than so much money in a period; calendar periods begin at midnight UTC."""

    usd: Usd
    period: Period = "month"
    """`total` never begins anew: a prepaid credit."""
    soft: tuple[Share, ...] = (0.8,)
    """Shares of it at which an event is published."""


class Tenant(Strict, frozen=True, kw_only=True, omit_defaults=True):
    """Who pays: limits and budgets over all keys of a tenant together."""

    id: Id
    name: Annotated[str, msgspec.Meta(max_length=256)] = ""
    state: TenantState = "active"
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()
    usd_cny: CnyPerUsd | None = None
    """Yuan that this account is shown for a dollar; left out: the configuration's."""


class Key(Strict, frozen=True, kw_only=True, omit_defaults=True):
    """One client key; `droveway keys new --entry` prints an entry."""

    id: Id
    sha256: Sha256
    """Of the whole key as the client sends it."""
    previous_sha256: NoSha256 = ""
    """Of the secret before the last rotation, good until `previous_until`."""
    previous_until: str = ""
    """A date-time with zone (RFC 3339)."""
    tenant: Id = "default"
    state: KeyState = "active"
    expires: str = ""
    """A date-time with zone (RFC 3339); empty: never."""
    models: tuple[Name, ...] = ("*",)
    """Names that it may use; one that ends with `*` allows all that begin so."""
    limits: tuple[Limit, ...] = ()
    budgets: tuple[Budget, ...] = ()
    addresses: tuple[Address, ...] = ()
    """IP addresses or networks (`10.0.0.0/8`) that it may come from; empty: any."""
    queue_s: QueueSeconds = 0.0
    """How long its requests may wait for room in its own limits, where they don't say; 0: a full
    limit refuses at once."""
    nats_user: NatsUser = ""
    """Public NKey (`U…`) of the key's NATS user, for requests over the bus; empty: HTTP only."""


class Admin(Strict, frozen=True, kw_only=True, omit_defaults=True):
    """Who may use the administration's HTTP API; stands in the operator's file only."""

    id: Id
    sha256: Sha256
    """Of the whole key; `droveway admin key` prints an entry."""
    role: Role = "viewer"
    """`viewer` sees all but the audit trail; `operator` also reads that, and makes, changes and
    rotates keys; `admin` also deletes, and changes tenants, budgets, `nats_user` and whose a key
    is."""


tenant_decoder = msgspec.json.Decoder(Tenant)
key_decoder = msgspec.json.Decoder(Key)
