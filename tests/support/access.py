"""Buckets of the administration and the stream AUDIT, as the set-up job makes them; entries."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from droveway.contracts.access import Key, Tenant
from droveway.contracts.audit import Author
from droveway.contracts.jetstream import (
    ACCESS,
    AUDIT,
    ROUTING,
    audit_stream,
    config_bucket,
    values_bucket,
)
from droveway.runtime.access_errors import EntryMissing
from droveway.runtime.access_store import AccessStore, keys_store, tenants_store
from droveway.runtime.bus import Bus
from droveway.runtime.errors import JetStreamRefused
from tests.support.nats import NatsServer

TESTER = Author(via="operator", id="tester")
_MIB = 1024 * 1024
_NAME_IN_USE = 10058


async def make_streams(nats: NatsServer) -> None:
    """Makes what isn't there."""
    async with nats.bus("setup") as bus:
        for body in (
            values_bucket(ACCESS, 64 * _MIB, 1),
            values_bucket(ROUTING, 4 * _MIB, 1),
            config_bucket(16 * _MIB, 1),
            audit_stream(64 * _MIB, 1),
        ):
            try:
                await bus.jetstream(f"STREAM.CREATE.{body['name']}", body)
            except JetStreamRefused as error:
                if error.number != _NAME_IN_USE:
                    raise


async def delete_stream(nats: NatsServer, name: str = AUDIT) -> None:
    """As if the set-up job had never made it."""
    async with nats.bus("setup") as bus:
        await bus.jetstream(f"STREAM.DELETE.{name}", {})


async def fill_trail(nats: NatsServer) -> None:
    """Leaves no room in AUDIT for another event."""
    async with nats.bus("setup") as bus:
        found = await bus.jetstream(f"STREAM.INFO.{AUDIT}", {})
        full = {**found["config"], "max_bytes": max(1, found["state"]["bytes"])}
        await bus.jetstream(f"STREAM.UPDATE.{AUDIT}", full)


@asynccontextmanager
async def operator(nats: NatsServer) -> AsyncIterator[Bus]:
    """A connection of the operator, with the streams there."""
    await make_streams(nats)
    async with nats.bus("operator") as bus:
        yield bus


async def put_key(bus: Bus, key: Key) -> int:
    """Stores a key, whatever is there; its revision."""
    return await _put(keys_store(bus), key)


async def put_tenant(bus: Bus, tenant: Tenant) -> int:
    """Stores a tenant, whatever is there; its revision."""
    return await _put(tenants_store(bus), tenant)


async def drop_key(bus: Bus, key_id: str) -> None:
    """Deletes a key."""
    store = keys_store(bus)
    await store.delete(await store.get(key_id), TESTER)


async def _put(store: AccessStore[Key] | AccessStore[Tenant], entry: Key | Tenant) -> int:
    try:
        present = await store.get(entry.id)
    except EntryMissing:
        return await store.create(entry, TESTER)  # type: ignore[arg-type]
    return await store.change(present, entry, TESTER)  # type: ignore[arg-type]
