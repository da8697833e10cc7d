"""A secret in a file is renewed while the caller runs; one that went bad stays as it was."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from droveway.caller.secret_files import SecretFiles
from droveway.caller.upstreams import Upstreams
from droveway.contracts.config import Config, Credential, Provider, Route, RouteTarget, Tier
from tests.support.waiting import beside, until

VERSION = "000000000001"


def config(path: Path) -> Config:
    return Config(
        providers=(
            Provider(
                id="p",
                base_url="http://127.0.0.1:9/v1",
                credentials=(Credential(api_key=f"file:{path}"), Credential(id="none")),
            ),
        ),
        routes=(Route(model="*", tiers=(Tier(targets=(RouteTarget(provider="p"),)),)),),
    )


class World:
    def __init__(self, upstreams: Upstreams) -> None:
        self.upstreams = upstreams
        self.news = 0
        self.files = SecretFiles(upstreams, self._hear)

    def _hear(self) -> None:
        self.news += 1

    def configure(self, path: Path, version: str = VERSION) -> None:
        self.upstreams.configure(config(path), version)
        self.files.configure()

    @property
    def key(self) -> str:
        """What the next call's header has."""
        (upstream,) = self.upstreams.all()
        return upstream.secrets["main"].header("bearer")[1].decode().removeprefix("Bearer ")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with Upstreams("default", "") as upstreams:
        world = World(upstreams)
        async with beside(world.files.run()):
            yield world


def write(path: Path, text: str) -> bool:
    """In one piece; again and again, since a watch begins in a thread."""
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    fresh.replace(path)
    return True


async def test_a_changed_file_is_the_next_calls_secret(world: World, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("sk-1")
    world.configure(path)
    upstream = world.upstreams.all()[0]
    assert world.key == "sk-1"
    await until(lambda: write(path, "sk-2") and world.key == "sk-2")
    write(path, "sk-3\n")
    await until(lambda: world.key == "sk-3")
    assert world.upstreams.all()[0] is upstream
    assert world.files.statistics() == (1, 2, 0, 0)
    assert world.news == 2


@pytest.mark.parametrize("bad", ["", "two words", None])
async def test_a_bad_file_leaves_the_last_good_secret(
    world: World, tmp_path: Path, bad: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "key"
    path.write_text("sk-1")
    world.configure(path)
    await until(lambda: write(path, "sk-2") and world.key == "sk-2")
    if bad is None:
        path.unlink()
    else:
        write(path, bad)
    await until(lambda: world.files.statistics().bad)
    assert world.key == "sk-2"
    assert caplog.messages.count("secret_unreadable") == 1
    assert "sk-" not in caplog.text
    assert "two words" not in caplog.text
    write(path, "sk-3")
    await until(lambda: world.key == "sk-3")
    assert world.files.statistics()[-2:] == (1, 0)


async def test_a_swapped_kubernetes_secret_is_read(world: World, tmp_path: Path) -> None:
    for folder, key in (("..first", "sk-1"), ("..second", "sk-2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "key").write_text(key)
    (tmp_path / "..data").symlink_to("..first")
    (tmp_path / "key").symlink_to("..data/key")
    world.configure(tmp_path / "key")

    def swap() -> bool:
        (tmp_path / "..data_tmp").symlink_to("..second")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        return True

    assert world.key == "sk-1"
    await until(lambda: swap() and world.key == "sk-2")


async def test_files_of_another_configuration_are_followed(world: World, tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "key", tmp_path / "b" / "key"
    for path in (first, second):
        path.parent.mkdir()
        path.write_text("sk-1")
    world.configure(first)
    await until(lambda: world.files.statistics().files == 1)
    world.configure(second, "000000000002")
    await until(lambda: world.files.statistics().files == 2)
    await until(lambda: write(second, "sk-2") and world.key == "sk-2")


async def test_a_folder_that_goes_away_ends_nothing(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    (folder / "key").write_text("sk-1")
    world.upstreams.configure(config(folder / "key"), VERSION)
    (folder / "key").unlink()
    folder.rmdir()
    world.files.configure()
    await until(lambda: world.files.statistics().bad)
    assert world.key == "sk-1"
    folder.mkdir()
    (folder / "key").write_text("sk-2")
    world.files.configure()
    await until(lambda: world.key == "sk-2")


async def test_a_file_that_only_earlier_configurations_name_may_go(
    world: World, tmp_path: Path
) -> None:
    old, new = tmp_path / "old" / "key", tmp_path / "new" / "key"
    for path in (old, new):
        path.parent.mkdir()
        path.write_text(f"sk-{path.parent.name}")
    world.configure(old)
    world.configure(new, "000000000002")
    await until(lambda: world.files.statistics().files == 2)
    shutil.rmtree(old.parent)
    await until(lambda: write(new, "sk-newer") and world.key == "sk-newer")
    assert world.files.statistics().bad == 0
