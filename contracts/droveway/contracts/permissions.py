"""Who may publish and subscribe what: one NATS user per service and tenant's key, allow-lists only.

There is no `allow_responses` (it lets a caller make a service publish anywhere) and no deny-list.
Work that replicas share is heard in their queue group only: a plain subscription would copy all.
The server configuration is generated from this table; a test holds it against the running server.
"""

import msgspec

from droveway.contracts import discovery
from droveway.contracts.canary import PREFIX as CANARIES
from droveway.contracts.client import inbox_prefix
from droveway.contracts.envelope import PREFIX
from droveway.contracts.jetstream import (
    ACCESS,
    AUDIT,
    CONFIG,
    IDEMPOTENCY,
    LIMITS,
    PRICES,
    RESPONSES,
    ROUTING,
    SNAPSHOTS,
    STREAMS,
    USAGE,
)
from droveway.contracts.reports import METRICS


class User(msgspec.Struct, frozen=True, kw_only=True):
    """One NATS user's allow-lists, as subject patterns."""

    name: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    """`subject`, or `subject group`: then as a member of that queue group and in no other way.

    Source: NATS documentation, "Authorization", queue permissions.
    """


def _v1(*patterns: str) -> tuple[str, ...]:
    return tuple(f"{PREFIX}.{pattern}" for pattern in patterns)


def _shared(pattern: str, group: str) -> str:
    """Each message goes to one member of the group."""
    return f"{PREFIX}.{pattern} {group}"


def _inboxes(*services: str) -> tuple[str, ...]:
    return tuple(f"_INBOX.{service}.>" for service in services)


def _heard(service: str) -> tuple[str, ...]:
    """What every service hears besides its own subjects: replies, and operators who ask."""
    return (*_inboxes(service), *discovery.heard(service))


def _read(stream: str) -> str:
    """Any message of a stream, by number or subject."""
    return f"$JS.API.DIRECT.GET.{stream}"


def _bucket(name: str) -> str:
    """Where a bucket's values are written, and heard as they change."""
    return f"$KV.{name}.>"


USERS: tuple[User, ...] = (
    User(
        name="gateway",
        publish=(
            *_v1("inference.*", "direct.*.*", "control.caller.*", "control.router.*", "usage.*"),
            *_v1("events.gateway"),
            *_inboxes("gateway", "caller", "operator", "t"),
            f"$KV.{IDEMPOTENCY}.>",
            f"$JS.API.STREAM.MSG.GET.KV_{IDEMPOTENCY}",
            f"$KV.{RESPONSES}.>",
            f"$JS.API.STREAM.MSG.GET.KV_{RESPONSES}",
            f"$JS.API.STREAM.MSG.DELETE.KV_{RESPONSES}",
            *_v1("standing.*", "report", "providers", "audit.gateway"),
            *map(_bucket, (ACCESS, ROUTING)),
            *map(_read, (f"KV_{ACCESS}", f"KV_{ROUTING}", f"KV_{CONFIG}", AUDIT)),
        ),
        subscribe=(
            _shared("request.*.*", "gateway"),
            *_v1("control.gateway.*", "control.t.*.*"),
            *map(_bucket, (ACCESS, CONFIG)),
            *_heard("gateway"),
        ),
    ),
    User(
        name="router",
        publish=(
            *_v1("admission.*", "settlement.*", "dispatch.*", "control.caller.*", "usage.*"),
            *_v1("events.router"),
            *map(_read, (f"KV_{ROUTING}", f"KV_{CONFIG}", f"KV_{PRICES}")),
            *_inboxes("router", "gateway", "caller", "operator"),
        ),
        subscribe=(
            _shared("inference.*", "router"),
            *_v1("direct.*.*", "control.router.*", "health.*", "providers"),
            # While requests wait for room in a credential's limits: each of them needs to hear it.
            *_v1("settlement.*"),
            *map(_bucket, (ROUTING, CONFIG, PRICES)),
            *_heard("router"),
        ),
    ),
    User(
        name="limiter",
        publish=(
            *_v1("limits.*", "owner.*", "events.limiter"),
            _bucket(SNAPSHOTS),
            *map(_read, (LIMITS, USAGE, f"KV_{SNAPSHOTS}", f"KV_{ACCESS}", f"KV_{PRICES}")),
            _read(f"KV_{CONFIG}"),
            f"$JS.API.STREAM.INFO.{LIMITS}",
            *_inboxes("limiter", "router", "gateway", "operator"),
        ),
        subscribe=(
            # Each replica hears all: a standby knows what its owner left unanswered.
            *_v1("admission.*", "settlement.*", "standing.*", "limits.*", "owner.*", "usage.*"),
            *map(_bucket, (ACCESS, PRICES, CONFIG)),
            *_heard("limiter"),
        ),
    ),
    User(
        name="caller",
        publish=(
            *_v1("control.gateway.*", "control.router.*", "settlement.*", "usage.*", "health.*"),
            *_v1("events.caller"),
            _read(f"KV_{CONFIG}"),
            *_inboxes("caller", "gateway", "router", "operator"),
        ),
        subscribe=(
            _shared("dispatch.*", "caller"),
            # Each caller spares what another one of its pool was told to spare.
            *_v1("control.caller.*", "health.*", "providers"),
            _bucket(CONFIG),
            *_heard("caller"),
        ),
    ),
    User(
        name="metrics",
        publish=(
            *_v1("usage.*", "events.metrics", "audit.metrics"),
            _bucket(PRICES),
            f"$KV.{ROUTING}.{CANARIES}*",
            *map(_read, (USAGE, f"KV_{ACCESS}", f"KV_{PRICES}", f"KV_{ROUTING}", f"KV_{CONFIG}")),
            *(f"$JS.API.STREAM.INFO.{stream}" for stream in STREAMS),
            *_inboxes("metrics", "gateway", "operator"),
        ),
        subscribe=(
            _shared("report", METRICS),
            *_v1("events.limiter"),
            *map(_bucket, (ACCESS, ROUTING, CONFIG)),
            *_heard("metrics"),
        ),
    ),
    User(
        name="setup",
        publish=("$JS.API.STREAM.>", *_inboxes("setup")),
        subscribe=_inboxes("setup"),
    ),
    User(
        name="operator",
        publish=(
            *map(_read, (USAGE, AUDIT, f"KV_{ACCESS}", f"KV_{PRICES}", f"KV_{ROUTING}")),
            _read(f"KV_{CONFIG}"),
            *map(_bucket, (ACCESS, ROUTING, CONFIG)),
            *_v1("standing.*", "report", "providers", "audit.operator"),
            *discovery.asked(),
            *_inboxes("operator"),
        ),
        # Rows have no content: who watches the system live hears them as they are stored.
        subscribe=(*_inboxes("operator"), *_v1("usage.*", "events.*")),
    ),
)
"""Services, the set-up job, and whoever reads traces from the command line."""


def tenant_user(key_id: str) -> User:
    """The NATS user of a client key: asks and steers under its own key id, and hears its inboxes.

    The broker proves the key id in a subject by this list, so no secret travels with a request.
    Its inboxes aren't publishable: what comes there is a gateway's.
    """
    return User(
        name=f"t.{key_id}",
        publish=_v1(f"request.{key_id}.*", f"control.t.{key_id}.*"),
        subscribe=(f"{inbox_prefix(key_id)}.>",),
    )
