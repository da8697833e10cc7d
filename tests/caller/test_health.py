"""Digests over a real broker: at once when a cooldown begins, each second, never a storm."""

import asyncio
import time
from collections.abc import Callable

from droveway.caller.credential_limits import CredentialLimits
from droveway.caller.health import MAX_AT_ONCE_PER_S, HealthDigests
from droveway.caller.outcomes import Outcomes
from droveway.contracts.errors import failure
from droveway.contracts.health import HEALTH_OF_ALL, PoolHealth, health_decoder
from droveway.runtime.heard_health import HeardHealth
from tests.support.flows import eventually
from tests.support.nats import NatsServer, nats  # noqa: F401

LIMITED = failure("provider_rate_limited")


def _kept(digests: list[PoolHealth]) -> Callable[[bytes, str], None]:
    return lambda payload, _reply: digests.append(health_decoder.decode(payload))


async def test_routers_and_callers_hear_it_at_once_and_then_each_second(
    nats: NatsServer,  # noqa: F811
) -> None:
    async with nats.bus("caller") as teller, nats.bus("router") as router, nats.bus("caller") as o:
        heard: dict[str, list[PoolHealth]] = {"router": [], "caller": []}
        for name, bus in (("router", router), ("caller", o)):
            await bus.subscribe(HEALTH_OF_ALL, _kept(heard[name]))
            await bus.settle()
        limits = CredentialLimits(600, 60, HeardHealth())
        digests = HealthDigests(teller, "default", limits, Outcomes())
        began_s = time.monotonic()
        limits.failed(("openai", "main"), 429, {"retry-after": "2"}, LIMITED)
        await eventually(lambda: bool(heard["router"] and heard["caller"]))
        assert time.monotonic() - began_s < 0.5
        running = asyncio.ensure_future(digests.run())
        await eventually(lambda: len(heard["router"]) >= 3)
        running.cancel()
        assert time.monotonic() - began_s >= 1.0
        waits_ms = [one.credentials[0].cooldown_ms for one in heard["router"]]
        assert waits_ms[0] > waits_ms[2]
        assert {one.caller for one in heard["router"]} == {teller.instance}


async def test_a_storm_of_changes_is_no_storm_of_digests(
    nats: NatsServer,  # noqa: F811
) -> None:
    async with nats.bus("caller") as teller, nats.bus("router") as router:
        heard: list[PoolHealth] = []
        await router.subscribe(HEALTH_OF_ALL, _kept(heard))
        await router.settle()
        limits = CredentialLimits(600, 60, HeardHealth())
        HealthDigests(teller, "default", limits, Outcomes())
        for number in range(500):
            limits.failed(("openai", f"main-{number}"), 429, {"retry-after": "2"}, LIMITED)
        await eventually(lambda: len(heard) >= MAX_AT_ONCE_PER_S)
        await teller.settle()
        await router.settle()
        assert len(heard) == MAX_AT_ONCE_PER_S
