"""What a service that was taken over may try on the bus, worked out from the permission table."""

from collections.abc import Iterator

from droveway.contracts.envelope import PREFIX
from droveway.contracts.jetstream import (
    ACCESS,
    AUDIT,
    IDEMPOTENCY,
    LIMITS,
    SNAPSHOTS,
    USAGE,
)
from droveway.contracts.permissions import USERS, User, tenant_user

TENANT_KEYS = ("key1", "key2")
COMPROMISED: tuple[User, ...] = (*USERS, *(tenant_user(key_id) for key_id in TENANT_KEYS))
"""Whose credentials an attacker may have: every service's, and those of two tenants."""

STREAMS = (
    *(USAGE, LIMITS, AUDIT, "OTHER"),
    *(f"KV_{bucket}" for bucket in (IDEMPOTENCY, SNAPSHOTS, ACCESS)),
)
QUEUES = ("", "gateway", "router", "limiter", "caller", "stranger", "*", ">")
"""Groups in which an attacker may subscribe; empty: as one that hears every message."""
SERVICES = ("gateway", "router", "limiter", "caller", "metrics", "setup", "operator", "stranger")
_STREAM_VERBS = (
    "CREATE", "DELETE", "PURGE", "UPDATE", "INFO", "RESTORE", "SNAPSHOT", "MSG.DELETE", "MSG.GET",
    "LEADER.STEPDOWN", "PEER.REMOVE",
)  # fmt: skip
_CONSUMER_VERBS = ("DELETE", "INFO", "PAUSE", "UNPIN", "MSG.NEXT", "LEADER.STEPDOWN", "RESET")


def everybodys_subjects() -> list[str]:
    """One concrete subject for each thing that anybody could publish or listen to."""
    patterns = {one for user in COMPROMISED for one in (*user.publish, *user.subscribe)}
    ours = {_example(pattern.partition(" ")[0]) for pattern in patterns}
    return sorted(ours | {*_inboxes(), *_jetstream(), *_elsewhere()})


def wide_subjects() -> list[str]:
    """The same with wildcards: whole, per level, and each one above it."""
    wide = {">", "*", "*.>", "*.*.>", "$JS.>", "$SYS.>", "$KV.>", "$SRV.>", "$O.>", "_R_.>"}
    for subject in everybodys_subjects():
        tokens = subject.split(".")
        for length in range(1, len(tokens)):
            wide.add(".".join((*tokens[:length], ">")))
        for place in range(len(tokens)):
            wide.add(".".join((*tokens[:place], "*", *tokens[place + 1 :])))
    return sorted(wide)


def allowed(patterns: tuple[str, ...], subject: str, queue: str = "") -> bool:
    """Whether an allow-list names everything that `subject`, maybe with wildcards, stands for.

    An entry with a queue group is for its members alone; one without is for whatever group.
    """
    for entry in patterns:
        pattern, _, group = entry.partition(" ")
        if group in ("", queue) and _covers(pattern.split("."), subject.split(".")):
            return True
    return False


def _covers(pattern: list[str], subject: list[str]) -> bool:
    if pattern[-1] == ">":
        return len(subject) >= len(pattern) and all(map(_fits, pattern[:-1], subject))
    return len(subject) == len(pattern) and all(map(_fits, pattern, subject))


def _fits(part: str, token: str) -> bool:
    # Also a last `>`: to the server `a.*` permits `a.>`. See `below`, of which nobody may publish.
    return part in ("*", token)


def below(pattern: str) -> list[str]:
    """Subjects that `a.>` hears and `a.*` doesn't; none when `pattern` ends otherwise."""
    pattern = pattern.partition(" ")[0]
    if not pattern.endswith(".*"):
        return []
    return [f"{_example(pattern)}.below", f"{_example(pattern)}.far.below"]


def _example(pattern: str) -> str:
    return pattern.replace("*", "example").replace(">", "example.more")


def _inboxes() -> Iterator[str]:
    for service in SERVICES:
        yield f"_INBOX.{service}.{service}-0123456789ab.cafe"
        yield f"{PREFIX}.control.{service}.{service}-0123456789ab"
    yield from (f"_INBOX.t.{key_id}.cafe" for key_id in (*TENANT_KEYS, "key10", "stranger"))
    yield "_INBOX.cafe"


def _jetstream() -> Iterator[str]:
    for stream in STREAMS:
        yield from (f"$JS.API.STREAM.{verb}.{stream}" for verb in _STREAM_VERBS)
        yield f"$JS.API.DIRECT.GET.{stream}"
        yield f"$JS.API.DIRECT.GET.{stream}.{PREFIX}.usage.default"
        for consumer in ("metrics", "other"):
            path = f"{stream}.{consumer}"
            yield from (f"$JS.API.CONSUMER.{verb}.{path}" for verb in _CONSUMER_VERBS)
            yield f"$JS.API.CONSUMER.CREATE.{path}"
            yield f"$JS.API.CONSUMER.CREATE.{path}.{PREFIX}.usage.default"
            yield f"$JS.API.CONSUMER.DURABLE.CREATE.{path}"
            yield f"$JS.ACK.{path}.1.2.3.4.5"
            yield f"$JS.ACK._.ACCOUNT.{path}.1.2.3.4.5.6"
            yield f"$JS.FC.{path}.x"
        yield f"$JS.API.CONSUMER.LIST.{stream}"
        yield f"$JS.API.CONSUMER.NAMES.{stream}"
    yield from ("$JS.API.INFO", "$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES")
    yield from ("$JS.API.META.LEADER.STEPDOWN", "$JS.API.ACCOUNT.PURGE.DROVEWAY")
    yield "$JS.EVENT.ADVISORY.API"


def _elsewhere() -> Iterator[str]:
    yield from ("anything", PREFIX, "droveway", f"{PREFIX}.unknown", "droveway.v2.inference.x")
    for key_id in (*TENANT_KEYS, "key10", "stranger"):
        yield from (f"{PREFIX}.request.{key_id}.chat", f"{PREFIX}.control.t.{key_id}.gateway-0")
    for name in ("inference", "admission", "settlement", "dispatch", "health", "usage", "events"):
        yield from (f"{PREFIX}.{name}", f"{PREFIX}.{name}.example", f"{PREFIX}.{name}.a.b")
    yield from ("$KV.other.key", f"$KV.{IDEMPOTENCY}.key1.cafe", "$O.files.C.x", "$MQTT.sub.x")
    yield from ("$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.USER.INFO")
    yield from ("$SYS.ACCOUNT.DROVEWAY.CONNECT", "$SRV.PING", "$SRV.INFO.router", "_R_.cafe")


BAD_SUBJECT_TOKENS: dict[str, bytes] = {
    "0xff": b"\xff\xfe",
    "NUL": b"a\x00b",
    "half a character": b"\xe2\x82",
    "control bytes": b"\x01\x1b[2J",
    "two dots": b"a..b",
    "last dot": b"a.",
    "tab": b"a\tb",
    "space": b"a b",
    "line end": b"a\r\nPING",
    "5 kB": b"a" * 5_000,
}
"""What no token of ours is; the server cuts off who sends some of them."""

EVIL_REPLIES: tuple[str, ...] = (
    f"{PREFIX}.usage.evil", f"{PREFIX}.dispatch.evil", f"{PREFIX}.control.caller.evil",
    "$JS.API.STREAM.PURGE.USAGE", "$JS.API.STREAM.DELETE.USAGE", "$JS.API.INFO",
    "$SYS.REQ.SERVER.PING", "evil", "_INBOX.evil", "_INBOX.gateway.other", "_INBOX.router.other",
    "_INBOX.gateway.gateway-0123456789ab", "_INBOX.gateway.gateway-0123456789ab.a.b",
    "_INBOX.gateway.router-0123456789ab.evil", "_INBOX.router.gateway-0123456789ab.evil",
    "_INBOX.metrics.metrics-0123456789ab.evil", "_INBOX.gateway.gateway-0123456789ab.EVIL",
    "_INBOX.gateway.gateway-0123456789ab.*", "_INBOX.gateway.>", "_INBOX.>", "*", ">",
    "_INBOX.gateway.gateway-0123456789ab." + "a" * 500, "_INBOX.gateway.gateway-0123456789ab.\xe9",
)  # fmt: skip
"""Reply subjects that aren't the inbox of a process that may ask; the empty one goes without."""

FORBIDDEN_HEADERS: dict[str, bytes] = {
    "rollup of the stream": b"Nats-Rollup: all\r\n",
    "rollup of a subject": b"Nats-Rollup: sub\r\n",
    "time to live": b"Nats-TTL: 1s\r\n",
    "time to live for ever": b"Nats-TTL: never\r\n",
    "schedule": b"Nats-Schedule: @every 1s\r\nNats-Schedule-Target: droveway.v1.usage.evil\r\n",
    "counter": b"Nats-Incr: 1\r\n",
    "atomic batch": b"Nats-Batch-Id: b\r\nNats-Batch-Sequence: 1\r\nNats-Batch-Commit: 1\r\n",
    "other stream": b"Nats-Expected-Stream: OTHER\r\n",
    "other last message": b"Nats-Expected-Last-Msg-Id: none\r\n",
}
"""JetStream features that none of our streams has, or conditions that don't hold."""

STREAM_FEATURES = (
    "allow_rollup_hdrs", "allow_msg_ttl", "allow_msg_counter", "allow_msg_schedules",
    "allow_atomic", "allow_batched", "mirror", "sources", "republish", "subject_transform",
    "sealed", "no_ack",
)  # fmt: skip
"""Fields of a stream's configuration that are absent or false in all of ours."""
