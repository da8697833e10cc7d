"""A bucket is followed through nudges, losses and restarts; each revision is told once."""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.contracts.envelope import new_instance
from droveway.runtime.bus import Bus, KvWatch, KvWatchSettings, connect
from droveway.runtime.errors import BusError
from tests.support.plain_nats import PlainNats, make_bucket, serving_plain
from tests.support.waiting import until

BRISK = KvWatchSettings(check_every_s=0.05)
DELETED = {"KV-Operation": "DEL"}
PURGED = {"KV-Operation": "PURGE", "Nats-Rollup": "sub"}
TWO_USERS = """authorization { users: [
  { user: writer, password: w }
  { user: reader, password: r, permissions: { subscribe: { deny: "$KV.>" } } }
] }"""


class Follower:
    """A watch and what it has told."""

    def __init__(self, bus: Bus, bucket: str, settings: KvWatchSettings | None) -> None:
        self.told: list[tuple[str, bytes | None, int]] = []
        self.watch = KvWatch(bus, bucket, lambda *change: self.told.append(change), settings)

    @property
    def view(self) -> dict[str, bytes]:
        values = {key: value for key, value, _ in self.told}
        return {key: value for key, value in values.items() if value is not None}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainNats]:
    with serving_plain(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[PlainNats]:
    with serving_plain(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> str:
    return str(request.node.name).replace("[", "-").replace("]", "")


@contextlib.asynccontextmanager
async def joined(broker: PlainNats, **changes: Any) -> AsyncIterator[Bus]:
    settings = msgspec.structs.replace(broker.settings, **({"reconnect_base_s": 0.1} | changes))
    async with connect(settings, "gateway", new_instance("gateway")) as bus:
        yield bus


@contextlib.asynccontextmanager
async def following(
    bus: Bus, bucket: str, settings: KvWatchSettings | None = None, *, loaded: bool = True
) -> AsyncIterator[Follower]:
    follower = Follower(bus, bucket, settings)
    task = asyncio.create_task(follower.watch.run())
    try:
        if loaded:
            await asyncio.wait_for(follower.watch.loaded.wait(), 5)
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def put(
    bus: Bus, bucket: str, key: str, value: bytes, headers: dict[str, str] | None = None
) -> int:
    answer = await bus.request(f"$KV.{bucket}.{key}", value, 2, headers)
    revision: int = json.loads(answer)["seq"]
    return revision


async def test_what_is_there_is_told_first_and_then_each_change(
    broker: PlainNats, bucket: str
) -> None:
    async with joined(broker) as bus:
        await make_bucket(bus, bucket)
        await put(bus, bucket, "a", b"1")
        await put(bus, bucket, "a", b"2")
        await put(bus, bucket, "b.c", b"3")
        async with following(bus, bucket) as follower:
            assert follower.told == [("a", b"2", 2), ("b.c", b"3", 3)]
            began_s = time.monotonic()
            await put(bus, bucket, "a", b"4")
            await until(lambda: follower.told[-1] == ("a", b"4", 4))
            assert time.monotonic() - began_s < 1
            statistics = follower.watch.statistics()
            assert statistics[:6] == (2, 4, 1, 3, 0, 0)
            assert 0 <= statistics.age_s < 1


async def test_what_is_gone_is_told_as_none(broker: PlainNats, bucket: str) -> None:
    async with joined(broker) as bus:
        await make_bucket(bus, bucket)
        await put(bus, bucket, "before", b"1")
        await put(bus, bucket, "before", b"", DELETED)
        await put(bus, bucket, "a", b"1")
        await put(bus, bucket, "b", b"1")
        async with following(bus, bucket) as follower:
            await put(bus, bucket, "a", b"", DELETED)
            await put(bus, bucket, "b", b"", PURGED)
            await until(lambda: len(follower.told) == 4)
            assert follower.told[2:] == [("a", None, 5), ("b", None, 6)]
            assert follower.watch.statistics().keys == 0


async def test_an_empty_bucket_is_loaded_too(broker: PlainNats, bucket: str) -> None:
    async with joined(broker) as bus:
        await make_bucket(bus, bucket)
        async with following(bus, bucket) as follower:
            assert follower.told == []


async def test_thousands_of_keys_are_told_once_and_in_order(broker: PlainNats, bucket: str) -> None:
    async with joined(broker) as bus:
        await make_bucket(bus, bucket, storage="memory")
        for number in range(2_500):
            bus.publish(f"$KV.{bucket}.k{number}", b"%d" % number)
        await bus.jetstream(f"STREAM.INFO.KV_{bucket}", {})
        async with following(bus, bucket, msgspec.structs.replace(BRISK, load_every_s=0.0)) as one:
            assert len(one.view) == 2_500
            for number in range(500):
                bus.publish(f"$KV.{bucket}.hot", b"%d" % number)
            await until(lambda: one.view.get("hot") == b"499")
            loads = one.watch.statistics().loads
            await until(lambda: one.watch.statistics().loads > loads)
        revisions = [revision for _, _, revision in one.told]
        assert revisions == sorted(set(revisions))


async def test_a_change_right_after_a_brokers_restart_is_told_within_2_s(
    own_broker: PlainNats,
) -> None:
    async with joined(own_broker) as bus, joined(own_broker) as writer:
        await make_bucket(bus, "keys")
        await put(bus, "keys", "a", b"1")
        async with following(bus, "keys") as follower:
            own_broker.kill()
            await until(lambda: not bus.statistics().connected)
            own_broker.start()
            await until(lambda: bus.statistics().connected and writer.statistics().connected)
            began_s = time.monotonic()
            await _put_soon(writer, "keys", "a", b"revoked")
            await until(lambda: follower.view["a"] == b"revoked")
            assert time.monotonic() - began_s < 2
            assert follower.told == [("a", b"1", 1), ("a", b"revoked", 2)]


async def test_a_change_during_the_outage_is_told_after_it(own_broker: PlainNats) -> None:
    async with joined(own_broker, reconnect_base_s=1.0) as bus:
        await make_bucket(bus, "keys")
        await put(bus, "keys", "a", b"1")
        async with following(bus, "keys") as follower:
            await bus._client.force_reconnect()
            async with joined(own_broker) as writer:
                await put(writer, "keys", "a", b"2")
            await until(lambda: follower.view["a"] == b"2")
            assert bus.statistics().reconnects == 1
            assert [revision for _, _, revision in follower.told] == [1, 2]


async def test_a_lost_nudge_is_repaired_by_the_next_check(tmp_path: Path) -> None:
    with serving_plain(tmp_path / "nats", TWO_USERS) as server:
        async with (
            joined(server, user="writer", password="w") as writer,
            joined(server, user="reader", password="r") as reader,
        ):
            await make_bucket(writer, "keys")
            async with following(reader, "keys", BRISK) as follower:
                await put(writer, "keys", "a", b"1")
                await until(lambda: follower.told == [("a", b"1", 1)])
                assert follower.watch.statistics().loads == 1


async def test_keys_that_expire_are_told_by_the_next_load(broker: PlainNats, bucket: str) -> None:
    async with joined(broker) as bus:
        await make_bucket(bus, bucket, max_age=300_000_000, duplicate_window=100_000_000)
        await put(bus, bucket, "a", b"1")
        settings = msgspec.structs.replace(BRISK, load_every_s=0.1, retry_cap_s=0.05)
        async with following(bus, bucket, settings) as follower:
            await until(lambda: follower.told == [("a", b"1", 1), ("a", None, 0)])


async def test_a_bucket_made_anew_is_followed_from_its_first_revision(
    broker: PlainNats, bucket: str
) -> None:
    async with joined(broker) as bus:
        await make_bucket(bus, bucket)
        for key in ("a", "b", "c"):
            await put(bus, bucket, key, b"old")
        settings = msgspec.structs.replace(BRISK, retry_cap_s=0.05)
        async with following(bus, bucket, settings) as follower:
            await bus.jetstream(f"STREAM.DELETE.KV_{bucket}", {})
            await make_bucket(bus, bucket)
            await put(bus, bucket, "a", b"new")
            await put(bus, bucket, "d", b"new")
            await until(lambda: follower.view == {"a": b"new", "d": b"new"})


async def test_an_absent_bucket_is_complained_about_once_and_found_in_the_end(
    broker: PlainNats, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = msgspec.structs.replace(BRISK, retry_base_s=0.005, retry_cap_s=0.01)
    async with (
        joined(broker) as bus,
        following(bus, bucket, settings, loaded=False) as follower,
    ):
        await until(lambda: follower.watch.statistics().failed > 5)
        assert follower.watch.statistics().age_s == -1
        await make_bucket(bus, bucket)
        await asyncio.wait_for(follower.watch.loaded.wait(), 2)
    told = [record.message for record in caplog.records if record.message.startswith("kv_")]
    assert told == ["kv_unread"]


async def test_a_frozen_broker_is_asked_again(own_broker: PlainNats) -> None:
    settings = msgspec.structs.replace(BRISK, timeout_s=0.1)
    async with joined(own_broker) as bus:
        await make_bucket(bus, "keys")
        async with following(bus, "keys", settings) as follower:
            own_broker.signal(signal.SIGSTOP)
            await until(lambda: follower.watch.statistics().failed > 0)
            own_broker.signal(signal.SIGCONT)
            await put(bus, "keys", "a", b"1")
            await until(lambda: follower.view == {"a": b"1"})


async def test_a_value_over_the_bound_is_refused_and_the_one_before_stays(
    broker: PlainNats, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = msgspec.structs.replace(BRISK, max_value_bytes=10, load_every_s=0.0)
    async with joined(broker) as bus:
        await make_bucket(bus, bucket)
        await put(bus, bucket, "big", b"x" * 11)
        await put(bus, bucket, "a", b"1")
        async with following(bus, bucket, settings) as follower:
            await put(bus, bucket, "a", b"x" * 11)
            await until(lambda: follower.watch.statistics().refused == 2)
            await put(bus, bucket, "big", b"", DELETED)
            await put(bus, bucket, "a", b"2")
            await until(lambda: follower.view == {"a": b"2"})
            assert follower.told == [("a", b"1", 2), ("a", b"2", 5)]
    assert _messages(caplog).count("kv_value_too_big") == 2


async def test_a_key_over_the_bound_is_refused_until_there_is_room(
    broker: PlainNats, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = msgspec.structs.replace(BRISK, max_keys=2, load_every_s=0.0)
    async with joined(broker) as bus:
        await make_bucket(bus, bucket)
        for key in ("a", "b", "c", "d"):
            await put(bus, bucket, key, b"1")
        async with following(bus, bucket, settings) as follower:
            assert set(follower.view) == {"a", "b"}
            assert follower.watch.statistics().refused >= 2
            await put(bus, bucket, "a", b"", DELETED)
            await until(lambda: len(follower.view) == 2)
            await until(lambda: set(follower.view) == {"b", "c"})
    assert _messages(caplog).count("kv_too_many_keys") <= 2


async def test_a_callback_that_raises_stops_nothing(
    broker: PlainNats, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[int] = []

    def fail(_key: str, _value: bytes | None, revision: int) -> None:
        told.append(revision)
        raise RuntimeError("a bug")

    async with joined(broker) as bus:
        await make_bucket(bus, bucket)
        task = asyncio.create_task(KvWatch(bus, bucket, fail).run())
        await put(bus, bucket, "a", b"1")
        await put(bus, bucket, "a", b"2")
        await until(lambda: told[-1:] == [2])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert f"kv_handler_failed on {bucket}" in _messages(caplog)


async def test_a_watch_that_ends_leaves_nothing_behind(broker: PlainNats, bucket: str) -> None:
    async with joined(broker) as bus:
        await make_bucket(bus, bucket)
        before = len(bus._client._subs)
        async with following(bus, bucket):
            assert len(bus._client._subs) == before + 2
        assert len(bus._client._subs) == before
        assert bus.link.listeners == []
        assert bus.statistics().waiting_answers == 0


async def _put_soon(bus: Bus, bucket: str, key: str, value: bytes) -> None:
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(BusError):
                await put(bus, bucket, key, value)
                return
            await asyncio.sleep(0.01)


def _messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records]
