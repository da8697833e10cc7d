"""The bus under frozen brokers, reset links, storms and revoked credentials."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from droveway.contracts.envelope import new_instance
from droveway.runtime.bus import Bus, BusSettings, connect
from droveway.runtime.errors import BusError, Disconnected
from tests.support.fault_proxy import FaultProxy
from tests.support.plain_nats import PlainNats, serving_plain
from tests.support.waiting import until

BRISK = {"beat_every_s": 0.05, "deaf_after_s": 0.3, "reconnect_base_s": 0.1}
TWO_USERS = "authorization { users: [ { user: a, password: a }, { user: b, password: b } ] }"
ONE_USER = "authorization { users: [ { user: b, password: b } ] }"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[PlainNats]:
    with serving_plain(tmp_path / "nats") as server:
        yield server


@contextlib.asynccontextmanager
async def watched(settings: BusSettings) -> AsyncIterator[Bus]:
    async with connect(settings, "gateway", new_instance("gateway")) as bus:
        task = asyncio.create_task(bus.watch())
        try:
            yield bus
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_frozen_broker_is_left_and_met_again_under_two_thousand_publishers(
    broker: PlainNats,
) -> None:
    settings = msgspec.structs.replace(broker.settings, **BRISK, max_unsent_bytes=1024 * 1024)
    publishing = True
    refused = 0

    async def publish(bus: Bus) -> None:
        nonlocal refused
        while publishing:
            try:
                bus.publish("t", bytes(4_096))
            except BusError:
                refused += 1
            await asyncio.sleep(0.1)

    async with watched(settings) as bus:
        publishers = [asyncio.create_task(publish(bus)) for _ in range(2_000)]
        await until(lambda: bus.statistics().last_beat_s < 0.1)
        broker.signal(signal.SIGSTOP)
        await until(lambda: not bus.statistics().connected, 2)
        assert bus.statistics().unsent_bytes <= 2 * settings.max_unsent_bytes
        assert not bus.ready
        assert refused
        broker.signal(signal.SIGCONT)
        await until(lambda: bus.ready and bus.statistics().last_beat_s < 0.1)
        publishing = False
        await asyncio.gather(*publishers)


async def test_a_link_that_is_reset_all_the_time_leaks_nothing_and_never_closes_for_good(
    broker: PlainNats,
) -> None:
    async with FaultProxy("127.0.0.1", broker.port) as link:
        settings = msgspec.structs.replace(
            broker.settings, servers=(f"nats://127.0.0.1:{link.port}",), reconnect_base_s=0.01
        )
        asking = True

        async def ask(bus: Bus) -> None:
            while asking:
                with contextlib.suppress(BusError):
                    await bus.request("t", b"", 0.5)
                await asyncio.sleep(0.002)

        async with watched(settings) as bus:
            await bus.subscribe("t", lambda payload, reply: bus.publish(reply, payload))
            assert await bus.request("t", b"before", 2) == b"before"
            before = _held(bus)
            askers = [asyncio.create_task(ask(bus)) for _ in range(20)]
            link.reset_each(0.03)
            await until(lambda: bus.statistics().reconnects >= 30)
            link.heal()
            asking = False
            await asyncio.gather(*askers)
            await until(lambda: bus.statistics().connected and link.statistics.open == 1)
            await bus.settle()
            assert await bus.request("t", b"after", 2) == b"after"
            await until(lambda: _held(bus) == before)


async def test_attempts_that_fail_half_way_leave_no_socket(broker: PlainNats) -> None:
    settings = msgspec.structs.replace(
        broker.settings, **BRISK, reconnect_cap_s=0.01, connect_timeout_s=0.02
    )
    async with watched(settings) as bus:
        before = _held(bus)
        broker.signal(signal.SIGSTOP)
        await until(lambda: not bus.statistics().connected, 2)
        await until(lambda: bus._client.server_pool[0].reconnects >= 15)
        assert _held(bus)[0] <= before[0] + 1
        broker.signal(signal.SIGCONT)
        await until(lambda: bus.ready)


async def test_two_hundred_clients_of_a_restarted_broker_come_back_spread(
    broker: PlainNats,
) -> None:
    settings = msgspec.structs.replace(broker.settings, reconnect_base_s=1.0)
    async with contextlib.AsyncExitStack() as stack:
        connecting = (
            stack.enter_async_context(connect(settings, "gateway", new_instance("gateway")))
            for _ in range(200)
        )
        buses = [await one for one in connecting]
        broker.kill()
        await until(lambda: not any(bus.statistics().connected for bus in buses))
        await asyncio.to_thread(broker.start)  # else all would wait for this loop, and go at once
        began_s = time.monotonic()
        await until(lambda: all(bus.statistics().connected for bus in buses))
        arrived_s = sorted(bus._client.connected_at_s for bus in buses)
        assert time.monotonic() - began_s < 3
        assert arrived_s[-1] - arrived_s[0] > 0.5
        busiest = max(
            sum(1 for other_s in arrived_s if at_s <= other_s < at_s + 0.1) for at_s in arrived_s
        )
        assert busiest < 100


async def test_revoked_credentials_are_told_once_and_end_the_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving_plain(tmp_path / "nats", TWO_USERS) as server:
        settings = msgspec.structs.replace(
            server.settings, **BRISK, user="a", password="a", give_up_after_s=1.5,
            reconnect_cap_s=0.1,
        )  # fmt: skip
        async with connect(settings, "gateway", new_instance("gateway")) as bus:
            watching = asyncio.create_task(bus.watch())
            await until(lambda: bus.statistics().last_beat_s < 0.1)
            server.reload(ONE_USER)
            await until(lambda: not bus.statistics().connected)
            await until(lambda: not bus.ready and not bus.statistics().connected)
            began_s = time.monotonic()
            with pytest.raises(Disconnected, match="Authorization Violation"):
                await watching
            assert time.monotonic() - began_s < 2.5
            assert 5 < bus._client.server_pool[0].reconnects < 100
    (told,) = [record for record in caplog.records if record.message == "bus_refused"]
    assert told.levelno == logging.ERROR


async def test_credentials_that_are_given_back_are_taken_up(tmp_path: Path) -> None:
    with serving_plain(tmp_path / "nats", TWO_USERS) as server:
        settings = msgspec.structs.replace(
            server.settings, **BRISK, user="a", password="a", reconnect_cap_s=0.1
        )
        async with watched(settings) as bus:
            server.reload(ONE_USER)
            await until(lambda: not bus.statistics().connected)
            server.reload(TWO_USERS)
            await until(lambda: bus.ready)


async def test_closing_waits_for_no_frozen_broker(broker: PlainNats) -> None:
    settings = msgspec.structs.replace(broker.settings, close_within_s=0.1)
    async with connect(settings, "gateway", new_instance("gateway")) as bus:
        broker.signal(signal.SIGSTOP)
        question = asyncio.create_task(bus.request("t", b"", 30))
        with contextlib.suppress(BusError):
            while True:
                bus.publish("t", bytes(512 * 1024))
                await asyncio.sleep(0)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 1
    with pytest.raises(BusError):
        await question
    broker.signal(signal.SIGCONT)


async def test_what_was_published_before_closing_arrives(broker: PlainNats) -> None:
    heard: list[bytes] = []
    async with watched(broker.settings) as listener:
        await listener.subscribe("t", lambda payload, _reply: heard.append(payload))
        async with connect(broker.settings, "gateway", new_instance("gateway")) as bus:
            bus.publish("t", b"last words")
        await until(lambda: heard == [b"last words"])


def _held(bus: Bus) -> tuple[int, int, int, int]:
    """File descriptors, tasks, inboxes and open questions."""
    statistics = bus.statistics()
    return (
        len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        len(asyncio.all_tasks()),
        statistics.open_inboxes,
        statistics.waiting_answers,
    )


async def test_a_loop_that_was_busy_blames_nobody(
    broker: PlainNats, caplog: pytest.LogCaptureFixture
) -> None:
    settings = msgspec.structs.replace(broker.settings, **BRISK)
    async with watched(settings) as bus:
        await bus.settle()  # behind the first beat, so the next is due later
        time.sleep(2 * settings.deaf_after_s)  # noqa: ASYNC251 - that is the fault
        await until(lambda: bus.statistics().last_beat_s < 0.1)
        assert bus.statistics().reconnects == 0
    assert "bus_deaf" not in caplog.text


async def test_a_beat_behind_a_flood_of_messages_is_waited_for(
    broker: PlainNats, caplog: pytest.LogCaptureFixture
) -> None:
    settings = msgspec.structs.replace(broker.settings, **BRISK)
    longest_s = 0.0
    got = 0

    def slow(_payload: bytes, _reply: str) -> None:
        nonlocal got, longest_s
        got += 1
        time.sleep(0.002)
        longest_s = max(longest_s, bus.statistics().last_beat_s)

    async with watched(settings) as bus, watched(broker.settings) as other:
        await bus.subscribe("flood", slow)
        await bus.settle()
        for _ in range(300):
            other.publish("flood", bytes(1024))
        await until(lambda: got == 300)
        await until(lambda: bus.statistics().last_beat_s < 0.1)
        assert bus.statistics().reconnects == 0
    assert longest_s > settings.deaf_after_s
    assert "bus_deaf" not in caplog.text


async def test_a_watchdog_that_pings_leaves_a_link_that_swallows_everything(
    broker: PlainNats, caplog: pytest.LogCaptureFixture
) -> None:
    async with FaultProxy("127.0.0.1", broker.port) as link:
        settings = msgspec.structs.replace(
            broker.settings, servers=(f"nats://127.0.0.1:{link.port}",), echoes=False, **BRISK
        )
        async with watched(settings) as bus:
            await until(lambda: bus.ready and bus.statistics().last_beat_s < 0.1)
            link.set("down", black_hole=True)
            await until(lambda: not bus.statistics().connected, 2)
            with pytest.raises(Disconnected):
                bus.publish("t", b"")
            link.heal()
            await until(lambda: bus.ready and bus.statistics().last_beat_s < 0.1)
            assert bus.statistics().reconnects == 1
            assert bus.statistics().waiting_answers == 0
    assert "bus_deaf" in caplog.text
