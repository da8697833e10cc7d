"""Who may publish and subscribe what: one NATS user per service and tenant's key, allow-lists only.

There is no `allow_responses` (it lets a caller make a service publish anywhere) and no deny-list.
Work that replicas share is heard in their queue group only: a plain subscription would copy all.
The server configuration is generated from this table; a test holds it against the running server.
"""

import msgspec

from droveway.contracts import discovery
from droveway.contracts.client import inbox_prefix
from droveway.contracts.envelope import PREFIX
from droveway.contracts.jetstream import IDEMPOTENCY, RESPONSES, USAGE, USAGE_CONSUMER


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


_ACKS = (
    f"$JS.ACK.{USAGE}.{USAGE_CONSUMER}.>",
    f"$JS.ACK.*.*.{USAGE}.{USAGE_CONSUMER}.>",
)
"""Both forms of acknowledgement subject: servers from 2.15 on may name domain and account."""

USERS: tuple[User, ...] = (
    User(
        name="gateway",
        publish=(
            *_v1("inference.*", "direct.*.*", "control.caller.*", "control.router.*", "usage.*"),
            *_inboxes("gateway", "caller", "operator", "t"),
            f"$KV.{IDEMPOTENCY}.>",
            f"$JS.API.STREAM.MSG.GET.KV_{IDEMPOTENCY}",
            f"$KV.{RESPONSES}.>",
            f"$JS.API.STREAM.MSG.GET.KV_{RESPONSES}",
            f"$JS.API.STREAM.MSG.DELETE.KV_{RESPONSES}",
        ),
        subscribe=(
            _shared("request.*.*", "gateway"),
            *_v1("control.gateway.*", "control.t.*.*"),
            *_heard("gateway"),
        ),
    ),
    User(
        name="router",
        publish=(
            *_v1("admission.*", "dispatch.*", "control.caller.*"),
            *_inboxes("router", "gateway", "operator"),
        ),
        subscribe=(
            _shared("inference.*", "router"),
            *_v1("direct.*.*", "control.router.*"),
            *_heard("router"),
        ),
    ),
    User(
        name="limiter",
        publish=_inboxes("limiter", "router", "operator"),
        subscribe=(_shared("admission.*", "limiter"), *_heard("limiter")),
    ),
    User(
        name="caller",
        publish=(
            *_v1("control.gateway.*", "control.router.*", "usage.*"),
            *_inboxes("caller", "gateway", "router", "operator"),
        ),
        subscribe=(
            _shared("dispatch.*", "caller"),
            *_v1("control.caller.*"),
            *_heard("caller"),
        ),
    ),
    User(
        name="metrics",
        publish=(
            f"$JS.API.CONSUMER.MSG.NEXT.{USAGE}.{USAGE_CONSUMER}",
            *_ACKS,
            *_inboxes("metrics", "operator"),
        ),
        subscribe=_heard("metrics"),
    ),
    User(
        name="setup",
        publish=("$JS.API.STREAM.>", "$JS.API.CONSUMER.>", *_inboxes("setup")),
        subscribe=_inboxes("setup"),
    ),
    User(
        name="operator",
        publish=(f"$JS.API.DIRECT.GET.{USAGE}", *discovery.asked(), *_inboxes("operator")),
        subscribe=_inboxes("operator"),
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
