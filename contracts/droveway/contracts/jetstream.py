"""JetStream streams and KV buckets as plain data; nobody needs a consumer.

The set-up job creates them; services only check that they are there. The dictionaries are the
bodies of `$JS.API` requests (NATS 2.14), durations in nanoseconds.
"""

from typing import Any

from droveway.contracts.envelope import PREFIX

_SECOND_NS = 1_000_000_000
_DAY_S = 24 * 3600

USAGE = "USAGE"
"""Attempt and request rows: the ledger's source."""
IDEMPOTENCY = "idempotency"
"""The KV bucket of `Idempotency-Key` rows: outcome and fingerprint, never content."""
RESPONSES = "responses"
"""The KV bucket of stored responses: the only place where content of clients is kept."""
LIMITS = "LIMITS"
"""The limiter's log, one subject per partition."""
SNAPSHOTS = "limits"
"""The KV bucket of the limiter's state as of a sequence of its log."""
ACCESS = "access"
"""The KV bucket of tenants and keys that the administration writes; hashes, never a key."""
PRICES = "prices"
"""The KV bucket of the price book."""
ROUTING = "routing"
"""The KV bucket of what operators have changed of routing while it runs."""
CONFIG = "config"
"""The KV bucket of the configuration that was applied, and of those before it."""
AUDIT = "AUDIT"
"""Who changed what, when, from what to what: kept for a year."""
CONFIG_HISTORY = 64
"""Revisions of the configuration that are kept."""
STREAMS = (
    *(USAGE, LIMITS, AUDIT),
    *(f"KV_{bucket}" for bucket in (IDEMPOTENCY, RESPONSES, SNAPSHOTS)),
    *(f"KV_{bucket}" for bucket in (ACCESS, PRICES, ROUTING, CONFIG)),
)
"""All streams, those behind buckets among them."""
MAX_RESPONSE_BYTES = 700 * 1024
"""A stored response; read back in base64 it still fits one message of 1 MiB."""


def usage_stream(max_bytes: int, replicas: int) -> dict[str, Any]:
    """35 days of rows on file; when full, new rows are refused rather than old ones dropped."""
    return {
        "name": USAGE,
        "subjects": [f"{PREFIX}.usage.*"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_age": 35 * _DAY_S * _SECOND_NS,
        "max_bytes": max_bytes,
        "max_msg_size": 64 * 1024,
        "num_replicas": replicas,
        "duplicate_window": 120 * _SECOND_NS,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
    }


def idempotency_bucket(max_bytes: int, replicas: int) -> dict[str, Any]:
    """The stream behind the KV bucket: one row per key, kept for 24 hours.

    Roll-ups and purges, which other buckets have, would let one message empty it.
    """
    return {
        "name": f"KV_{IDEMPOTENCY}",
        "subjects": [f"$KV.{IDEMPOTENCY}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "max_age": _DAY_S * _SECOND_NS,
        "max_bytes": max_bytes,
        "max_msg_size": 4 * 1024,
        "num_replicas": replicas,
        "allow_direct": True,
        "allow_rollup_hdrs": False,
        "deny_delete": True,
        "deny_purge": True,
    }


def responses_bucket(max_bytes: int, ttl_s: int, replicas: int) -> dict[str, Any]:
    """The stream behind the KV bucket: one value per response, gone after `ttl_s`.

    When full, new responses aren't kept rather than old ones dropped before their time. Messages
    can be deleted, and their bytes are overwritten then: clients may delete what they stored.
    """
    return {
        "name": f"KV_{RESPONSES}",
        "subjects": [f"$KV.{RESPONSES}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "max_age": ttl_s * _SECOND_NS,
        "max_bytes": max_bytes,
        "max_msg_size": MAX_RESPONSE_BYTES + 1024,
        "num_replicas": replicas,
        "allow_direct": False,
        "allow_rollup_hdrs": False,
        "deny_delete": False,
        "deny_purge": True,
    }


def limits_stream(max_bytes: int, replicas: int) -> dict[str, Any]:
    """The newest decisions; snapshots stand for older ones, so the oldest are dropped.

    Without an age: a log that expired while nobody asked would lose its last sequence, which is
    what the owner's next append names.
    """
    return {
        "name": LIMITS,
        "subjects": [f"{PREFIX}.limits.*"],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_msgs_per_subject": 200_000,
        "max_age": 0,
        "max_bytes": max_bytes,
        "num_replicas": replicas,
        "duplicate_window": 120 * _SECOND_NS,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
    }


def audit_stream(max_bytes: int, replicas: int) -> dict[str, Any]:
    """Audit events of a year; when full, changes are refused rather than left unrecorded."""
    return {
        "name": AUDIT,
        "subjects": [f"{PREFIX}.audit.*"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_age": 365 * _DAY_S * _SECOND_NS,
        "max_bytes": max_bytes,
        "max_msg_size": 256 * 1024,
        "num_replicas": replicas,
        "duplicate_window": 120 * _SECOND_NS,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
    }


def values_bucket(bucket: str, max_bytes: int, replicas: int) -> dict[str, Any]:
    """The stream behind a KV bucket whose newest values count: access, prices, routing.

    What marks a deletion may have an end: else each name that was ever used would be kept.
    """
    return {
        "name": f"KV_{bucket}",
        "subjects": [f"$KV.{bucket}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "max_age": 0,
        "max_bytes": max_bytes,
        "max_msg_size": 1024 * 1024,
        "num_replicas": replicas,
        "allow_direct": True,
        "allow_msg_ttl": True,
        "allow_rollup_hdrs": False,
        "deny_delete": True,
        "deny_purge": True,
    }


def config_bucket(max_bytes: int, replicas: int) -> dict[str, Any]:
    """The stream behind the KV bucket: the newest `CONFIG_HISTORY` revisions of its one value."""
    stream = values_bucket(CONFIG, max_bytes, replicas)
    return stream | {"max_msgs_per_subject": CONFIG_HISTORY, "discard": "old"}
