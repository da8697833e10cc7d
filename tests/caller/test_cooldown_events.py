"""Operators are told of a cooldown when it begins and when it is over, once each."""

import asyncio

from droveway.caller.cooldown_events import CooldownEvents
from droveway.contracts import events
from droveway.contracts.health import EXHAUSTED, RATE_LIMITED, CredentialHealth
from droveway.runtime.events import Events
from tests.support.nats import NatsServer, nats

__all__ = ["nats"]


def health(credential: str, cooldown_ms: int, why: str = RATE_LIMITED) -> CredentialHealth:
    return CredentialHealth(
        provider="openai", credential=credential, cooldown_ms=cooldown_ms,
        why=why if cooldown_ms else "",
    )  # fmt: skip


async def test_a_cooldown_is_told_when_it_begins_and_when_it_is_over(nats: NatsServer) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    def take(payload: bytes, _reply: str) -> None:
        event = events.event_decoder.decode(payload)
        assert isinstance(event, events.CooldownBegan | events.CooldownEnded)
        why = f" {event.why} {event.for_ms}" if isinstance(event, events.CooldownBegan) else ""
        heard.put_nowait(f"{events.name_of(type(event))} {event.credential}{why}")

    async with nats.bus("caller") as bus, nats.bus("operator") as operator:
        await operator.subscribe(events.ANY, take)
        cooldowns = CooldownEvents(Events(bus, 100))
        cooldowns.take((health("a", 0),))
        cooldowns.take((health("a", 2_000), health("b", 500)))
        cooldowns.take((health("a", 1_000), health("b", 0)))
        cooldowns.take((health("a", 900, EXHAUSTED),))
        cooldowns.take(())
        async with asyncio.timeout(5):
            told = [await heard.get() for _ in range(5)]
    assert sorted(told[:2]) == [
        "cooldown.began a rate_limited 2000",
        "cooldown.began b rate_limited 500",
    ]
    assert told[2:] == [
        "cooldown.ended b",
        "cooldown.began a exhausted 900",
        "cooldown.ended a",
    ]
    assert heard.empty()
