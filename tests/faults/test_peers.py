"""Processes that are quiet aren't dead: only one that nobody answers for is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from droveway.contracts.relay import PEER_DEAD_MS
from droveway.runtime.bus import Bus
from droveway.runtime.relay import RelayHub
from tests.support.nats import NatsServer


@asynccontextmanager
async def _hub(nats: NatsServer, service: str) -> AsyncIterator[tuple[Bus, RelayHub]]:
    async with nats.bus(service) as bus:
        hub = RelayHub(bus)
        await hub.listen()
        task = asyncio.ensure_future(hub.run())
        try:
            yield bus, hub
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_peer_with_nothing_to_say_is_not_taken_for_dead(nats: NatsServer) -> None:
    """Relays shorter than a heartbeat leave a peer nothing to list: it never beats by itself."""
    dead: list[str] = []
    async with (
        _hub(nats, "gateway") as (door, _),
        _hub(nats, "caller") as (bus, caller),
        _hub(nats, "router") as (_, router),
    ):
        router.link(bus.instance, lambda: dead.append("caller"))
        for _ in range(PEER_DEAD_MS // 500 + 2):
            sender = caller.open_sender(
                bytes(16),
                door.instance,
                f"_INBOX.gateway.{door.instance}.t",
                lambda reason: dead.append(reason) if "gone" in reason else None,
            )
            await asyncio.sleep(0.5)
            caller.close_sender(sender)
    assert dead == []
