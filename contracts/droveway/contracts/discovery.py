"""Who runs: what every service tells whoever asks on `$SRV`, as JSON that NATS tools read.

Three questions (`PING`, `INFO`, `STATS`), each to all services, to those of one name, or to one
instance. Only an operator's inbox is answered.
Source: NATS ADR-32, revision 6.
"""

import re
from typing import Literal, get_args

import msgspec

from droveway.contracts.envelope import PREFIX

Verb = Literal["PING", "INFO", "STATS"]
VERBS: tuple[Verb, ...] = get_args(Verb)
ROOT = "$SRV"

OPERATOR_INBOX = re.compile(r"_INBOX\.operator(?:\.[A-Za-z0-9_-]{1,64}){1,3}")
"""Inboxes of operators: ours, and those of any client told `_INBOX.operator` as its prefix."""


class _Answer(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What all answers begin with."""

    name: str
    """Shared by all processes of one service: `droveway-router`."""
    id: str
    """The instance."""
    version: str
    """Of the package, as a semantic version."""
    metadata: dict[str, str] = {}
    """`service`, `host` and `pid`; in `Stats` also how the process stands: `unready` (why; empty:
    it is ready), `config` (the version of the configuration in force), `config_revision` (of an
    applied one; `0`: it is the file's), `open_requests` of a gateway, `owner` (`true`) of a
    limiter, `usage_lag_rows` of metrics."""


class Pong(_Answer, frozen=True, kw_only=True, tag="io.nats.micro.v1.ping_response"):
    """A process is there."""


class EndpointInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One subject that a process listens on."""

    name: str
    """What the subject carries: `inference`, `dispatch`, `control`."""
    subject: str
    queue_group: str
    """Processes that share the subject's messages; empty: each gets all."""
    metadata: dict[str, str] = {}


class Info(_Answer, frozen=True, kw_only=True, tag="io.nats.micro.v1.info_response"):
    """What a process is and listens on."""

    description: str
    endpoints: tuple[EndpointInfo, ...]


class EndpointStats(msgspec.Struct, frozen=True, kw_only=True):
    """What came on one subject since the process listens on it; times in nanoseconds."""

    name: str
    subject: str
    queue_group: str
    num_requests: int
    num_errors: int
    last_error: str
    """Its kind, never its words: those may be a client's. Empty: none so far."""
    processing_time: int
    average_processing_time: int


class Stats(_Answer, frozen=True, kw_only=True, tag="io.nats.micro.v1.stats_response"):
    """How a process fares."""

    started: str
    """RFC 3339, UTC, milliseconds."""
    endpoints: tuple[EndpointStats, ...]


encode_json = msgspec.json.Encoder().encode
stats_decoder = msgspec.json.Decoder(Stats)


def name_of(service: str) -> str:
    """The name under which a service is found."""
    return f"droveway-{service}"


def subjects(verb: Verb, service: str, instance: str) -> tuple[str, str, str]:
    """Where a process hears one question; `*` as the instance makes it a permission."""
    name = name_of(service)
    return f"{ROOT}.{verb}", f"{ROOT}.{verb}.{name}", f"{ROOT}.{verb}.{name}.{instance}"


def heard(service: str) -> tuple[str, ...]:
    """All that processes of a service may hear of discovery, as subject patterns."""
    return tuple(pattern for verb in VERBS for pattern in subjects(verb, service, "*"))


def asked() -> tuple[str, ...]:
    """All that an operator may ask, as subject patterns."""
    return tuple(f"{ROOT}.{verb}{rest}" for verb in VERBS for rest in ("", ".>"))


def endpoint_name(subject: str) -> str:
    """What a subject of ours carries: the token behind `droveway.v1`."""
    return subject.removeprefix(f"{PREFIX}.").partition(".")[0]
