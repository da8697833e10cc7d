"""The operator's one YAML file: providers, routes, keys.

Secrets stay references (`${NAME}` or `file:/path`) until the caller, the only service that talks to
providers, resolves them. Client keys are SHA-256 hashes. `check` finds what types can't.
"""

from typing import Annotated, Literal

import msgspec

from droveway.contracts.envelope import Id

Positive = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
"""Seconds, up to a day: an infinite time-out is none."""
Count = Annotated[int, msgspec.Meta(ge=1)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
NatsUser = Annotated[str, msgspec.Meta(pattern=r"^(U[A-Z2-7]{55})?$(?!\n)")]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A misspelt field is refused with its path, never ignored."""


class Credential(_Strict, frozen=True, kw_only=True):
    """One key of one provider."""

    id: Id = "main"
    api_key: str = ""
    """`${NAME}` (environment of the caller) or `file:/path`; empty for a provider without keys."""


class Timeouts(_Strict, frozen=True, kw_only=True):
    """Phases of an upstream call, in seconds."""

    connect_s: Positive = 3.0
    write_s: Positive = 30.0
    first_token_s: Positive = 60.0
    """Request sent to first token; the next target is tried after it."""
    idle_s: Positive = 30.0
    """Silence between two reads once the answer has begun."""
    total_s: Positive = 600.0


class Price(_Strict, frozen=True, kw_only=True):
    """US dollars per million tokens; overrides the built-in price list."""

    input: Annotated[float, msgspec.Meta(ge=0)]
    output: Annotated[float, msgspec.Meta(ge=0)]
    cached_input: Annotated[float, msgspec.Meta(ge=0)] | None = None


class Provider(_Strict, frozen=True, kw_only=True):
    """An upstream API."""

    id: Id
    base_url: str
    """Up to and including the version: `https://api.openai.com/v1`."""
    dialect: Literal["openai"] = "openai"
    pool: Id = "default"
    """Which callers serve it."""
    credentials: tuple[Credential, ...] = (Credential(),)
    models: tuple[Name, ...] = ()
    """Names listed by `GET /v1/models` for routes that take any model."""
    timeouts: Timeouts = Timeouts()
    max_in_flight: Count = 100
    """Per caller; when reached the answer is `Busy` and the router goes elsewhere."""
    max_keepalive: Count = 20
    allow_http: bool = False
    """Plain http to a host that isn't loopback."""
    prices: dict[str, Price] = {}


class RouteTarget(_Strict, frozen=True, kw_only=True):
    """One place where a route's requests can go."""

    provider: Id
    model: str = ""
    """The provider's name for it; empty: as the client wrote it."""
    credential: Id = "main"
    weight: Count = 1


class Tier(_Strict, frozen=True, kw_only=True):
    """Targets of equal priority, chosen by weight; the next tier is for when all of them failed."""

    targets: Annotated[tuple[RouteTarget, ...], msgspec.Meta(min_length=1)]


class Route(_Strict, frozen=True, kw_only=True):
    """What serves a model name; a name that ends with `*` serves all that begin so."""

    model: Name
    tiers: Annotated[tuple[Tier, ...], msgspec.Meta(min_length=1)]


class Limit(_Strict, frozen=True, kw_only=True):
    """Never more than `requests` in any interval of `window_s`."""

    requests: Count
    window_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60.0


class Key(_Strict, frozen=True, kw_only=True):
    """One client key; `droveway keys new` prints an entry."""

    id: Id
    sha256: Sha256
    """Of the whole key as the client sends it."""
    tenant: Id = "default"
    state: Literal["active", "not_activated", "disabled"] = "active"
    expires: str = ""
    """A date-time with zone (RFC 3339); empty: never."""
    models: tuple[Name, ...] = ("*",)
    """Names that it may use; one that ends with `*` allows all that begin so."""
    limits: tuple[Limit, ...] = ()
    nats_user: NatsUser = ""
    """Public NKey (`U…`) of the key's NATS user, for requests over the bus; empty: HTTP only."""


class Cors(_Strict, frozen=True, kw_only=True):
    """Which web pages may call the gateway; by default none."""

    origins: tuple[str, ...] = ()
    """`https://app.example.com`, or `*` for all."""
    max_age_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 600


class Config(_Strict, frozen=True, kw_only=True):
    """The whole file."""

    version: Literal[1] = 1
    providers: Annotated[tuple[Provider, ...], msgspec.Meta(min_length=1)]
    routes: Annotated[tuple[Route, ...], msgspec.Meta(min_length=1)]
    keys: tuple[Key, ...] = ()
    cors: Cors = Cors()
