"""Keys and tenants of file and bucket are one directory, true within a moment."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.contracts.access import Key, Limit, Tenant
from droveway.contracts.config import Config
from droveway.runtime.bus import Bus, KvWatchSettings
from droveway.runtime.config.live import LiveConfig
from droveway.runtime.directory import WATCH, Directory
from droveway.runtime.errors import SettingsError
from tests.support.access import drop_key, make_streams, operator, put_key, put_tenant
from tests.support.nats import NatsServer, droveway_config, serving, write_droveway_config
from tests.support.waiting import until

MANY = 50_000


def key(key_id: str, digit: str = "a", **fields: Any) -> Key:
    return Key(id=key_id, sha256=digit * 64, **fields)


def newer(entry: Key | Tenant) -> bytes:
    """As a later version may write it."""
    return msgspec.json.encode(entry).replace(b'"id"', b'"extra":1,"id"')


def config(*keys: Key, tenants: tuple[Tenant, ...] = ()) -> Config:
    base = droveway_config("http://127.0.0.1:9/v1")
    return msgspec.structs.replace(base, keys=keys, tenants=tenants)


class World:
    def __init__(
        self, bus: Bus, folder: Path, *keys: Key, watch: KvWatchSettings = WATCH, **fields: Any
    ) -> None:
        self.path = write_droveway_config(folder / "droveway.yaml", config(*keys, **fields))
        self.live = LiveConfig(str(self.path))
        self.directory = Directory(bus, self.live, watch)
        self.told: list[tuple[str, Key | None]] = []
        self.directory.on_key(lambda key_id, entry: self.told.append((key_id, entry)))

    def write(self, *keys: Key, **fields: Any) -> None:
        write_droveway_config(self.path, config(*keys, **fields))
        assert self.live.reload()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.directory.run())
        try:
            assert await self.directory.until_loaded(5)
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def admin(own_nats: NatsServer) -> AsyncIterator[Bus]:
    async with operator(own_nats) as bus:
        yield bus


@pytest.fixture
async def bus(own_nats: NatsServer, admin: Bus) -> AsyncIterator[Bus]:
    async with own_nats.bus("gateway") as bus:
        yield bus


async def test_keys_of_the_file_are_there_before_the_bucket_was_read(
    bus: Bus, tmp_path: Path
) -> None:
    world = World(bus, tmp_path, key("k1"))
    assert world.told == [("k1", key("k1"))]
    assert not world.directory.loaded
    assert world.directory.statistics().age_s == -1


async def test_a_change_of_the_bucket_is_told_within_a_moment(
    bus: Bus, admin: Bus, tmp_path: Path
) -> None:
    world = World(bus, tmp_path, key("k1"))
    async with world.running():
        await put_key(admin, key("k2", "b"))
        await until(lambda: "k2" in world.directory.keys)
        began_s = time.monotonic()
        await put_key(admin, key("k2", "b", state="disabled"))
        await until(lambda: world.directory.keys["k2"].state == "disabled")
        assert time.monotonic() - began_s < 1
        await drop_key(admin, "k2")
        await until(lambda: "k2" not in world.directory.keys)
        assert [*world.directory.keys] == ["k1"]
    assert [entry and entry.state for _, entry in world.told] == [
        "active", "active", "disabled", None,
    ]  # fmt: skip


async def test_a_revocation_is_live_within_a_second_at_the_99th_percentile(
    bus: Bus, admin: Bus, tmp_path: Path
) -> None:
    world = World(bus, tmp_path)
    took_s = []
    async with world.running():
        for number in range(100):
            state = ("active", "disabled")[number % 2]
            began_s = time.monotonic()
            await put_key(admin, key("k", state=state))
            await until(lambda: world.told[-1:] == [("k", key("k", state=state))])  # noqa: B023
            took_s.append(time.monotonic() - began_s)
    assert sorted(took_s)[98] < 1


async def test_the_file_wins_over_the_bucket_and_gives_way_when_its_entry_goes(
    bus: Bus, admin: Bus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await put_key(admin, key("k1", "b", state="disabled"))
    world = World(bus, tmp_path, key("k1"))
    async with world.running():
        await put_key(admin, key("k1", "c"))
        await asyncio.sleep(0.2)
        assert world.directory.keys["k1"] == key("k1")
        assert world.directory.statistics().shadowed == 1
        world.write()
        assert world.directory.keys["k1"] == key("k1", "c")
        assert world.directory.statistics().shadowed == 0
        world.write(key("k1"))
        assert world.directory.keys["k1"] == key("k1")
    shadowed = [r for r in caplog.records if r.getMessage() == "access_entry_shadowed"]
    assert len(shadowed) == 1


async def test_no_two_keys_have_one_hash_and_the_files_is_the_one(
    bus: Bus, admin: Bus, tmp_path: Path
) -> None:
    await put_key(admin, key("first"))
    world = World(bus, tmp_path)
    async with world.running():
        await put_key(admin, key("second"))
        await put_key(admin, key("other", "b"))
        await until(lambda: "other" in world.directory.keys)
        assert sorted(world.directory.keys) == ["first", "other"]
        await drop_key(admin, "first")
        await until(lambda: "second" in world.directory.keys)
        world.write(key("mine"))
        assert sorted(world.directory.keys) == ["mine", "other"]
        world.write()
        assert sorted(world.directory.keys) == ["other", "second"]


async def test_of_two_with_one_hash_all_processes_choose_the_same_whatever_they_read_first(
    bus: Bus, admin: Bus, tmp_path: Path
) -> None:
    early = World(bus, tmp_path)
    async with early.running():
        for name in ("b", "c", "a"):
            await put_key(admin, key(name))
        await put_key(admin, key("a", state="disabled"))
        await put_key(admin, key("last", "b"))
        await until(lambda: "last" in early.directory.keys)
        late = World(bus, tmp_path)
        async with late.running():
            expected = {"a": key("a", state="disabled"), "last": key("last", "b")}
            assert dict(early.directory.keys) == dict(late.directory.keys) == expected
        assert early.directory.statistics().shadowed == 2
        await drop_key(admin, "a")
        await until(lambda: "b" in early.directory.keys)
        assert sorted(early.directory.keys) == ["b", "last"]


async def test_hashes_may_change_places_in_the_file(bus: Bus, tmp_path: Path) -> None:
    world = World(bus, tmp_path, key("k1", "a"), key("k2", "b"))
    world.write(key("k1", "b"), key("k2", "a"))
    assert dict(world.directory.keys) == {"k1": key("k1", "b"), "k2": key("k2", "a")}
    assert world.directory.statistics().shadowed == 0


@pytest.mark.parametrize(
    "value",
    [
        msgspec.json.encode(key("other")),
        msgspec.json.encode(key("k1")).replace(b'"id"', b'"extra":1,"id"'),
        msgspec.json.encode(key("k1", expires="tomorrow")),
        msgspec.json.encode(key("k1", addresses=("10.0.0.1/8",))),
        msgspec.json.encode(key("k1", limits=(Limit(),))),
        b"x" * 70_000,
    ],
    ids=lambda value: f"{value[:30]!r}",
)  # fmt: skip
async def test_a_value_that_cannot_be_read_leaves_the_one_before(
    bus: Bus, admin: Bus, tmp_path: Path, value: bytes
) -> None:
    await put_key(admin, key("k1"))
    world = World(bus, tmp_path)
    async with world.running():
        await admin.request("$KV.access.key.k1", value, 2)
        await admin.request("$KV.access.nonsense", value, 2)
        await put_key(admin, key("k2", "b"))
        await until(lambda: "k2" in world.directory.keys)
        assert world.directory.keys["k1"] == key("k1")
        expected = 0 if len(value) > 65_536 else 2
        assert world.directory.statistics().unreadable == expected


@pytest.mark.parametrize(
    "value",
    [
        b"", b"{", b"\xff", b"[]", b'{"id":"k1"}', b"[" * 5_000, b'{"sha256":"x"}', b'{"state":1}',
        newer(key("k1", state="disabled")), newer(key("k1", state="not_activated")),
        newer(key("k1")).replace(b'"id"', b'"state":"suspended","id"'), newer(key("k1", "c")),
        newer(key("k1"))[:-1],
    ],
    ids=lambda value: f"{value[:60]!r}",
)  # fmt: skip
async def test_a_value_that_may_be_a_revocation_revokes_the_one_before(
    bus: Bus, admin: Bus, tmp_path: Path, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await put_key(admin, key("k1"))
    await put_key(admin, key("twin"))
    world = World(bus, tmp_path)
    async with world.running():
        await admin.request("$KV.access.key.k1", value, 2)
        await until(lambda: world.directory.keys["k1"].state == "disabled")
        assert world.told[-1] == ("k1", key("k1", state="disabled"))
        assert "twin" not in world.directory.keys
        assert world.directory.statistics().unreadable == 1
        assert "access_entry_unreadable" in caplog.messages
        await admin.request("$KV.access.key.k1", msgspec.json.encode(key("k1", expires="")), 2)
        await until(lambda: world.directory.keys["k1"].state == "active")


async def test_a_tenant_that_may_be_disabled_is_whether_it_was_known_or_not(
    bus: Bus, admin: Bus, tmp_path: Path
) -> None:
    acme = Tenant(id="acme", limits=(Limit(requests=5),))
    await put_tenant(admin, acme)
    await admin.request("$KV.access.tenant.gone", newer(Tenant(id="gone", state="disabled")), 2)
    world = World(bus, tmp_path)
    async with world.running():
        tenants = world.directory.tenants
        assert dict(tenants) == {"acme": acme, "gone": Tenant(id="gone", state="disabled")}
        await admin.request("$KV.access.tenant.acme", newer(Tenant(id="acme")), 2)
        await admin.request("$KV.access.tenant.junk", b"{", 2)
        await until(lambda: "junk" in tenants)
        assert tenants["junk"].state == "disabled"
        assert tenants["acme"] == acme
        await admin.request("$KV.access.tenant.acme", b"{", 2)
        await until(lambda: tenants["acme"] == msgspec.structs.replace(acme, state="disabled"))


async def test_an_unreadable_value_of_the_bucket_does_nothing_to_the_file(
    bus: Bus, admin: Bus, tmp_path: Path
) -> None:
    await put_key(admin, key("k1"))
    world = World(bus, tmp_path, key("k1"))
    async with world.running():
        await admin.request("$KV.access.key.k1", b"{", 2)
        await until(lambda: world.directory.statistics().unreadable == 1)
        assert world.directory.keys["k1"].state == "active"


async def test_a_key_that_names_a_tenant_is_found_in_force_or_not(
    bus: Bus, admin: Bus, tmp_path: Path
) -> None:
    await put_key(admin, key("k1", tenant="acme"))
    await put_key(admin, key("k2", tenant="twins"))
    world = World(bus, tmp_path, key("k3", "b", tenant="filed"))
    async with world.running():
        found = [world.directory.key_of(one) for one in ("acme", "twins", "filed", "nobody")]
    assert found == ["k1", "k2", "k3", None]


async def test_tenants_come_the_same_way(bus: Bus, admin: Bus, tmp_path: Path) -> None:
    world = World(bus, tmp_path, tenants=(Tenant(id="acme"),))
    told: list[tuple[str, Tenant | None]] = []
    world.directory.on_tenant(lambda tenant_id, entry: told.append((tenant_id, entry)))
    async with world.running():
        await put_tenant(admin, Tenant(id="acme", state="disabled"))
        await put_tenant(admin, Tenant(id="other", state="disabled"))
        await until(lambda: "other" in world.directory.tenants)
    assert world.directory.tenants["acme"].state == "active"
    assert told == [("acme", Tenant(id="acme")), ("other", Tenant(id="other", state="disabled"))]
    assert world.directory.file_has("tenant", "acme")
    assert not world.directory.file_has("tenant", "other")


async def test_no_key_of_the_bucket_is_good_before_all_tenants_are_known(
    bus: Bus, admin: Bus, tmp_path: Path
) -> None:
    await put_key(admin, key("k1", tenant="acme"))
    await put_tenant(admin, Tenant(id="acme", state="disabled"))
    world = World(bus, tmp_path, watch=msgspec.structs.replace(WATCH, page_messages=1))
    known: list[bool] = []
    world.directory.on_key(lambda _key_id, _entry: known.append("acme" in world.directory.tenants))
    async with world.running():
        assert known == [True]
        assert [*world.directory.keys] == ["k1"]
        await drop_key(admin, "k1")
        await until(lambda: not world.directory.keys)


async def test_listeners_of_the_whole_get_file_and_bucket_in_one(
    bus: Bus, admin: Bus, tmp_path: Path
) -> None:
    await put_key(admin, key("k2", "b"))
    world = World(bus, tmp_path, key("k1"))
    wholes: list[Config] = []
    world.directory.on_change(wholes.append)
    assert [[one.id for one in whole.keys] for whole in wholes] == [["k1"]]
    async with world.running():
        await until(lambda: [one.id for one in wholes[-1].keys] == ["k1", "k2"])
        for number in range(50):
            await put_key(admin, key(f"more-{number}", "c", state="disabled"))
        await put_tenant(admin, Tenant(id="acme"))
        await until(lambda: [one.id for one in wholes[-1].tenants] == ["acme"])
        assert len(wholes) < 40  # not each change by itself
        world.write(key("k3", "d"))
        assert [one.id for one in wholes[-1].keys][:2] == ["k3", "k2"]


async def test_a_file_that_a_listener_refuses_changes_nothing(bus: Bus, tmp_path: Path) -> None:
    world = World(bus, tmp_path, key("k1"))

    def refuse(whole: Config) -> None:
        if not whole.keys:
            raise SettingsError("no keys")

    world.directory.on_change(refuse)
    write_droveway_config(world.path, config())
    assert not world.live.reload()
    assert [*world.directory.keys] == ["k1"]


async def test_a_missing_bucket_leaves_the_file_in_force(tmp_path: Path) -> None:
    with serving(tmp_path / "nats", set_up=False) as server:
        async with server.bus("gateway") as bus:
            world = World(bus, tmp_path, key("k1"))
            task = asyncio.create_task(world.directory.run())
            assert not await world.directory.until_loaded(0.1)
            assert [*world.directory.keys] == ["k1"]
            await make_streams(server)
            async with server.bus("operator") as admin:
                await put_key(admin, key("k2", "b"))
            assert await world.directory.until_loaded(5)
            await until(lambda: [*world.directory.keys] == ["k1", "k2"])
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_one_change_among_50_000_keys_costs_what_one_costs(bus: Bus, tmp_path: Path) -> None:
    world = World(bus, tmp_path)
    on_value = world.directory._on_value
    for number in range(MANY):
        entry = Key(id=f"k{number}", sha256=f"{number:064x}")
        on_value(f"key.{entry.id}", msgspec.json.encode(entry), number + 1)
    assert world.directory.statistics().keys == MANY
    value = msgspec.json.encode(Key(id="k7", sha256=f"{7:064x}", state="disabled"))
    began_s = time.perf_counter()
    on_value("key.k7", value, MANY + 1)
    assert time.perf_counter() - began_s < 0.005
    assert world.told[-1][1] == Key(id="k7", sha256=f"{7:064x}", state="disabled")
