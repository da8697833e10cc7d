"""One process's events: bounded per second, counted when left out, and never in anybody's way."""

import asyncio
from pathlib import Path

import pytest

from droveway.contracts import events
from droveway.contracts.events import ConfigAdopted, ConfigRefused, OwnerChanged
from droveway.runtime.bus import Bus
from droveway.runtime.config.live import LiveConfig
from droveway.runtime.events import Events
from tests.support.nats import NatsServer, droveway_config, nats, write_droveway_config

__all__ = ["nats"]


class Heard:
    """What an operator hears."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[events.Event] = asyncio.Queue()

    async def listen(self, bus: Bus) -> None:
        def take(payload: bytes, _reply: str) -> None:
            self.events.put_nowait(events.event_decoder.decode(payload))

        await bus.subscribe(events.ANY, take)

    async def next(self) -> events.Event:
        async with asyncio.timeout(5):
            return await self.events.get()


async def test_an_event_says_who_tells_it_and_when(nats: NatsServer) -> None:
    async with nats.bus("limiter") as bus, nats.bus("operator") as operator:
        heard = Heard()
        await heard.listen(operator)
        voice = Events(bus, 10)
        voice.tell(OwnerChanged(partition=0, sequence=5))
        event = await heard.next()
    assert isinstance(event, OwnerChanged)
    assert (event.instance, event.sequence, event.unsaid) == (bus.instance, 5, 0)
    assert event.at_ms > 1_700_000_000_000
    assert voice.statistics() == (1, 0)


async def test_a_flood_of_one_kind_is_cut_and_leaves_room_for_others(nats: NatsServer) -> None:
    async with nats.bus("limiter") as bus, nats.bus("operator") as operator:
        heard = Heard()
        await heard.listen(operator)
        voice = Events(bus, 3)
        for _ in range(500):
            voice.tell(ConfigRefused(findings=1))
        voice.tell(OwnerChanged(partition=0, sequence=1))
        told = [await heard.next()]
        while not isinstance(told[-1], OwnerChanged):
            told.append(await heard.next())
        exported, dropped = voice.statistics()
        assert exported + dropped == 501
        assert 4 <= exported <= 7, "a second may end between"
        assert len(told) == exported
        await asyncio.sleep(1.05)  # the next second
        voice.tell(ConfigRefused(findings=2))
        later = await heard.next()
    assert isinstance(later, ConfigRefused)
    assert later.unsaid > 400


async def test_without_a_connection_it_is_left_out(nats: NatsServer) -> None:
    async with nats.bus("limiter") as bus:
        voice = Events(bus, 3)
    voice.tell(ConfigAdopted())
    assert voice.statistics() == (0, 1)


@pytest.fixture
def live(tmp_path: Path) -> LiveConfig:
    config = droveway_config("http://127.0.0.1:1/v1")
    return LiveConfig(str(write_droveway_config(tmp_path / "droveway.yaml", config)))


def spoil(live: LiveConfig) -> None:
    Path(live.path).write_text("providers: [{api_key: sk-canary}")


async def test_configurations_are_told_without_their_words(
    nats: NatsServer, live: LiveConfig
) -> None:
    async with nats.bus("router") as bus, nats.bus("operator") as operator:
        heard = Heard()
        await heard.listen(operator)
        Events(bus, 10).follow(live)
        assert live.reload(), "nothing has changed, so nothing is told"
        write_droveway_config(Path(live.path), droveway_config("http://127.0.0.1:2/v1"))
        live.reload()
        assert isinstance(await heard.next(), ConfigAdopted)
        spoil(live)
        live.reload()
        refused = await heard.next()
    assert isinstance(refused, ConfigRefused)
    assert refused.findings == 1
    assert b"canary" not in events.encode_json(refused)
