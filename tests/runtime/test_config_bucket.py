"""The applied configuration is read from the bucket; what is wrong with it changes nothing."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from droveway.contracts.config import Config
from droveway.contracts.configuration import (
    ENTRY,
    MAX_APPLIED_BYTES,
    AppliedConfig,
    encode_applied,
    version_of,
)
from droveway.contracts.jetstream import CONFIG
from droveway.runtime.bus import Bus, store
from droveway.runtime.config.bucket import ConfigBucket
from droveway.runtime.config.file import parse
from droveway.runtime.config.live import LiveConfig
from tests.runtime.test_config_file import GOOD
from tests.support.access import make_streams, operator
from tests.support.nats import NatsServer
from tests.support.waiting import beside, until

SUBJECT = f"$KV.{CONFIG}.{ENTRY}"


class World:
    """A service's view: its file, and the bucket as `user` may read it."""

    def __init__(self, bus: Bus, folder: Path) -> None:
        self.path = folder / "droveway.yaml"
        self.path.write_text(GOOD)
        self.live = LiveConfig(str(self.path))
        self.models: list[str] = []
        self.live.on_change(lambda config: self.models.append(config.routes[0].model))
        self.bucket = ConfigBucket(bus, self.live)

    @asynccontextmanager
    async def running(self, within_s: float = 5.0, *, read: bool = True) -> AsyncIterator[None]:
        async with beside(self.bucket.run()):
            assert await self.bucket.until_read(within_s) == read
            yield


@pytest.fixture
async def admin(own_nats: NatsServer) -> AsyncIterator[Bus]:
    async with operator(own_nats) as bus:
        yield bus


@pytest.fixture(params=["gateway", "router", "limiter", "caller", "metrics"])
async def bus(request: pytest.FixtureRequest, own_nats: NatsServer) -> AsyncIterator[Bus]:
    async with own_nats.bus(request.param) as bus:
        yield bus


@pytest.fixture
async def router(own_nats: NatsServer) -> AsyncIterator[Bus]:
    async with own_nats.bus("router") as bus:
        yield bus


def config(model: str) -> Config:
    return parse(GOOD.replace("gpt-5", model).encode(), "f")


def entry(model: str) -> bytes:
    told = config(model)
    return encode_applied(
        AppliedConfig(
            config=told, version=version_of(told), at="2026-11-23T00:00:00Z", by="operator tester"
        )
    )


async def put(bus: Bus, value: bytes) -> int:
    return await store(bus, SUBJECT, value, 2.0)


async def delete(bus: Bus) -> None:
    await store(bus, SUBJECT, b"", 2.0, headers={"KV-Operation": "DEL"})


async def test_every_service_takes_an_entry_at_once_and_the_file_again_after_it(
    admin: Bus, bus: Bus, tmp_path: Path
) -> None:
    world = World(bus, tmp_path)
    async with world.running():
        assert world.live.source == "file"
        began_s = time.monotonic()
        revision = await put(admin, entry("gpt-6"))
        await until(lambda: world.live.revision == revision)
        assert time.monotonic() - began_s < 1
        assert world.live.version == version_of(config("gpt-6"))
        await delete(admin)
        await until(lambda: world.live.source == "file")
    assert world.models == ["gpt-5", "gpt-6", "gpt-5"]


async def test_a_start_reads_the_newest_entry_and_none_of_those_before(
    admin: Bus, router: Bus, tmp_path: Path
) -> None:
    for number in range(6, 70):
        await put(admin, entry(f"gpt-{number}"))
    world = World(router, tmp_path)
    async with world.running():
        assert world.models == ["gpt-5", "gpt-69"]
        assert world.bucket.statistics().changes == 1


async def test_a_start_after_a_release_has_the_file(
    admin: Bus, router: Bus, tmp_path: Path
) -> None:
    await put(admin, entry("gpt-6"))
    await delete(admin)
    world = World(router, tmp_path)
    async with world.running():
        assert (world.models, world.live.revision) == (["gpt-5"], 0)
        await put(admin, entry("gpt-7"))
        await until(lambda: world.models == ["gpt-5", "gpt-7"])


async def test_of_many_that_come_at_once_the_newest_holds_soon(
    admin: Bus, router: Bus, tmp_path: Path
) -> None:
    world = World(router, tmp_path)
    async with world.running():
        began_s = time.monotonic()
        await asyncio.gather(*(put(admin, entry(f"gpt-{number}")) for number in range(6, 36)))
        await put(admin, entry("gpt-36"))
        await until(lambda: world.models[-1] == "gpt-36")
        assert time.monotonic() - began_s < 1


async def test_a_large_one_is_taken_too(admin: Bus, router: Bus, tmp_path: Path) -> None:
    world = World(router, tmp_path)
    async with world.running():
        many = "".join(f"  - {{id: n{one}, sha256: '{one + 1:064x}'}}\n" for one in range(2_000))
        large = parse((GOOD + many).encode(), "f")
        applied = AppliedConfig(config=large, version=version_of(large), at="", by="operator a")
        revision = await put(admin, encode_applied(applied))
        await until(lambda: world.live.revision == revision)
        assert len(world.live.current.keys) == 2_001


BAD = {
    "no JSON": b"nonsense",
    "no entry": b"{}",
    "a field too many": entry("gpt-6").replace(b'"at"', b'"mine":1,"at"'),
    "dangling name": entry("gpt-6").replace(b'"provider":"openai"', b'"provider":"nobody"'),
    "a secret": entry("gpt-6").replace(b"${OPENAI_API_KEY}", b"sk-canary"),
    "too large": entry("gpt-6") + b" " * MAX_APPLIED_BYTES,
}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
async def test_a_bad_entry_changes_nothing(
    value: bytes, admin: Bus, router: Bus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(router, tmp_path)
    async with world.running():
        revision = await put(admin, entry("gpt-6"))
        await until(lambda: world.live.revision == revision)
        bad = await put(admin, value)
        await until(lambda: world.bucket.statistics().revision == bad)
        told = world.bucket.statistics
        await until(lambda: world.live.statistics().rejected or told().refused)
        assert world.live.revision == revision
        assert "sk-canary" not in caplog.text
        await put(admin, entry("gpt-7"))
        await until(lambda: world.models[-1] == "gpt-7")


async def test_a_start_with_an_unreadable_entry_has_the_file(
    admin: Bus, router: Bus, tmp_path: Path
) -> None:
    await put(admin, b"nonsense")
    world = World(router, tmp_path)
    async with world.running():
        assert world.models == ["gpt-5"]
        assert world.live.statistics().rejected == 1


async def test_without_the_bucket_the_file_holds_and_the_bucket_is_found_once_it_is_there(
    own_nats: NatsServer, router: Bus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(router, tmp_path)
    async with world.running(0.3, read=False):
        assert "config_not_read" in caplog.messages
        assert caplog.messages.count("kv_unread") == 1
        world.path.write_text(GOOD.replace("gpt-5", "gpt-6"))
        assert world.live.reload()
        assert world.models == ["gpt-5", "gpt-6"]
        await make_streams(own_nats)
        async with own_nats.bus("operator") as admin:
            await put(admin, entry("gpt-7"))
        await until(lambda: world.models[-1] == "gpt-7")


async def test_an_entry_outlives_the_broker(
    own_nats: NatsServer, admin: Bus, router: Bus, tmp_path: Path
) -> None:
    world = World(router, tmp_path)
    async with world.running():
        await put(admin, entry("gpt-6"))
        await until(lambda: world.models[-1] == "gpt-6")
        own_nats.kill()
        own_nats.start()
        async with own_nats.bus("operator") as again:
            await put(again, entry("gpt-7"))
        await until(lambda: world.models[-1] == "gpt-7", 10)
    assert world.models == ["gpt-5", "gpt-6", "gpt-7"]
