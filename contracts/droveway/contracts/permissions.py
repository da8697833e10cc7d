"""Who may publish and subscribe what: one NATS user per service, allow-lists only.

There is no `allow_responses` (it lets a caller make a service publish anywhere) and no deny-list.
The server configuration is generated from this table; a test holds it against the running server.
"""

import msgspec

from droveway.contracts.envelope import PREFIX
from droveway.contracts.jetstream import IDEMPOTENCY, USAGE, USAGE_CONSUMER


class User(msgspec.Struct, frozen=True, kw_only=True):
    """One NATS user's allow-lists, as subject patterns."""

    name: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def _v1(*patterns: str) -> tuple[str, ...]:
    return tuple(f"{PREFIX}.{pattern}" for pattern in patterns)


def _inboxes(*services: str) -> tuple[str, ...]:
    return tuple(f"_INBOX.{service}.>" for service in services)


_ACKS = (
    f"$JS.ACK.{USAGE}.{USAGE_CONSUMER}.>",
    f"$JS.ACK.*.*.{USAGE}.{USAGE_CONSUMER}.>",
)
"""Both forms of acknowledgement subject: servers from 2.15 on may name domain and account."""

USERS: tuple[User, ...] = (
    User(
        name="gateway",
        publish=(
            *_v1("inference.*", "control.caller.*", "control.router.*", "usage.*"),
            *_inboxes("gateway", "caller"),
            f"$KV.{IDEMPOTENCY}.>",
            f"$JS.API.STREAM.MSG.GET.KV_{IDEMPOTENCY}",
        ),
        subscribe=(*_v1("control.gateway.*"), *_inboxes("gateway")),
    ),
    User(
        name="router",
        publish=(
            *_v1("admission.*", "dispatch.*", "control.caller.*"),
            *_inboxes("router", "gateway"),
        ),
        subscribe=(*_v1("inference.*", "control.router.*"), *_inboxes("router")),
    ),
    User(
        name="limiter",
        publish=_inboxes("limiter", "router"),
        subscribe=(*_v1("admission.*"), *_inboxes("limiter")),
    ),
    User(
        name="caller",
        publish=(
            *_v1("control.gateway.*", "control.router.*", "usage.*"),
            *_inboxes("caller", "gateway", "router"),
        ),
        subscribe=(*_v1("dispatch.*", "control.caller.*"), *_inboxes("caller")),
    ),
    User(
        name="metrics",
        publish=(
            f"$JS.API.CONSUMER.MSG.NEXT.{USAGE}.{USAGE_CONSUMER}",
            *_ACKS,
            *_inboxes("metrics"),
        ),
        subscribe=_inboxes("metrics"),
    ),
    User(
        name="setup",
        publish=("$JS.API.STREAM.>", "$JS.API.CONSUMER.>", *_inboxes("setup")),
        subscribe=_inboxes("setup"),
    ),
    User(
        name="operator",
        publish=(f"$JS.API.DIRECT.GET.{USAGE}", *_inboxes("operator")),
        subscribe=_inboxes("operator"),
    ),
)
"""Services, the set-up job, and whoever reads traces from the command line."""
