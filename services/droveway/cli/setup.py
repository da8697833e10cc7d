"""`droveway setup`: makes the streams and the KV buckets, or brings them up to date.

Idempotent: a second run changes nothing. Only the fields that `contracts.jetstream` names are
compared; what an operator added besides (placement, compression) stays.
"""

import asyncio
import sys
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import msgspec

from droveway.cli import terminal
from droveway.contracts import jetstream
from droveway.contracts.envelope import new_instance
from droveway.runtime import settings
from droveway.runtime.bus import Bus, BusSettings, connect
from droveway.runtime.errors import JetStreamRefused, SettingsError
from droveway.runtime.settings import Count

_MIB = 1024 * 1024
LIMIT_S = 15.0
"""For all of it; the broker is near."""
_NO_STREAM = 10059


class SetupSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may turn: `DROVEWAY_SETUP_<FIELD>`."""

    replicas: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1
    """Copies of each stream; 3 with a cluster."""
    usage_max_bytes: Count = 1024 * _MIB
    """Rows of 35 days; when full new rows are refused, and then new requests."""
    idempotency_max_bytes: Count = 128 * _MIB
    """Rows of `Idempotency-Key`; when full, requests with that header are refused."""
    responses_max_bytes: Count = 256 * _MIB
    """Stored responses; when full, new ones are answered with a warning and not kept."""
    responses_ttl_s: Annotated[int, msgspec.Meta(ge=60)] = 24 * 3600
    """How long a response is kept."""
    limits_max_bytes: Count = 128 * _MIB
    """The limiter's newest decisions; when full the oldest go, for which a snapshot stands."""
    snapshots_max_bytes: Count = 128 * _MIB
    """The limiter's state, two of them while one is written; when full none is written, and the
    next start reads more of the log."""
    access_max_bytes: Count = 64 * _MIB
    """Tenants and keys; when full changes are refused."""
    prices_max_bytes: Count = 32 * _MIB
    """The price book; when full the one before stays in force."""
    routing_max_bytes: Count = 4 * _MIB
    """What operators have changed of routing; when full changes are refused."""
    config_max_bytes: Count = 16 * _MIB
    """The applied configuration and those before it; when full the oldest go."""
    audit_max_bytes: Count = 128 * _MIB
    """Audit events of a year; when full changes are refused."""


class Change(NamedTuple):
    """One object of JetStream and what was, or would be, done to it."""

    name: str
    action: str
    """`created`, `updated` or `unchanged`."""
    details: tuple[str, ...] = ()
    """Field by field, what an update changes."""

    def __str__(self) -> str:
        text = f"{self.name}: {self.action}"
        return f"{text} ({', '.join(self.details)})" if self.details else text


def command(broker: BusSettings, *, dry_run: bool) -> None:
    """Applies the settings of the environment and prints a line per object.

    Raises:
        SettingsError: A setting is wrong, or the server refuses.
    """
    terminal.quiet()
    wanted = settings.read(SetupSettings, "setup")
    for change in asyncio.run(run(broker, wanted, dry_run=dry_run)):
        sys.stdout.write(f"{change}\n")


async def run(broker: BusSettings, wanted: SetupSettings, *, dry_run: bool = False) -> list[Change]:
    """Connects as the user `setup` and applies what differs.

    Raises:
        SettingsError: The server refuses the credentials or a definition.
    """
    try:
        async with (
            asyncio.timeout(LIMIT_S),
            connect(broker, "setup", new_instance("setup")) as bus,
        ):
            return await apply(bus, wanted, dry_run=dry_run)
    except JetStreamRefused as error:
        raise SettingsError(f"JetStream refused: {error}") from None
    except TimeoutError:
        raise SettingsError(
            f"NATS at {', '.join(broker.servers)} doesn't answer the user setup within "
            f"{LIMIT_S:.0f} s; is it there, and does it know the key of {broker.nkey_file}?"
        ) from None


async def apply(bus: Bus, wanted: SetupSettings, *, dry_run: bool) -> list[Change]:
    """Compares and changes; with `dry_run` only compares.

    Raises:
        JetStreamRefused: For example more bytes than the server may store.
    """
    return [await _stream(bus, one, dry_run=dry_run) for one in _streams(wanted)]


def _streams(own: SetupSettings) -> tuple[dict[str, Any], ...]:
    """All streams, those behind buckets among them."""
    copies = own.replicas
    return (
        jetstream.usage_stream(own.usage_max_bytes, copies),
        jetstream.idempotency_bucket(own.idempotency_max_bytes, copies),
        jetstream.responses_bucket(own.responses_max_bytes, own.responses_ttl_s, copies),
        jetstream.limits_stream(own.limits_max_bytes, copies),
        jetstream.values_bucket(jetstream.SNAPSHOTS, own.snapshots_max_bytes, copies),
        jetstream.values_bucket(jetstream.ACCESS, own.access_max_bytes, copies),
        jetstream.values_bucket(jetstream.PRICES, own.prices_max_bytes, copies),
        jetstream.values_bucket(jetstream.ROUTING, own.routing_max_bytes, copies),
        jetstream.config_bucket(own.config_max_bytes, copies),
        jetstream.audit_stream(own.audit_max_bytes, copies),
    )


async def _stream(bus: Bus, wanted: dict[str, Any], *, dry_run: bool) -> Change:
    name = wanted["name"]
    bucket = name.removeprefix("KV_")
    label = f"stream {name}" if bucket == name else f"bucket {bucket}"
    present = await _config(bus, name)
    change = compare(label, present, wanted)
    if not dry_run and change.action == "created":
        await bus.jetstream(f"STREAM.CREATE.{name}", wanted)
    elif not dry_run and change.action == "updated":
        await bus.jetstream(f"STREAM.UPDATE.{name}", (present or {}) | wanted)
    return change


async def _config(bus: Bus, stream: str) -> dict[str, Any] | None:
    try:
        answer = await bus.jetstream(f"STREAM.INFO.{stream}", {})
    except JetStreamRefused as error:
        if error.number == _NO_STREAM:
            return None
        raise
    config: dict[str, Any] = answer["config"]
    return config


def compare(label: str, present: dict[str, Any] | None, wanted: dict[str, Any]) -> Change:
    """What it takes to get from `present` (None: not there) to `wanted`."""
    if present is None:
        return Change(label, "created")
    details = (*_differences(present, wanted),)
    return Change(label, "updated" if details else "unchanged", details)


def _differences(present: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    for field, value in wanted.items():
        if present.get(field) != value:
            yield f"{field} {present.get(field)} → {value}"
