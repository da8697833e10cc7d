"""What holds is taken whole by all or by none; a bad file changes nothing."""

import shutil
import time
from pathlib import Path

import msgspec
import pytest

from droveway.contracts.config import Config
from droveway.contracts.configuration import version_of
from droveway.runtime.config.file import parse
from droveway.runtime.config.live import InForce, LiveConfig
from droveway.runtime.errors import SettingsError
from tests.runtime.test_config_file import BROKEN, GOOD
from tests.support.waiting import beside, until


class Adopted:
    """A listener that remembers, and can refuse."""

    def __init__(self) -> None:
        self.models: list[str] = []
        self.refuse = False

    def __call__(self, config: Config) -> None:
        if self.refuse:
            raise SettingsError("the caller can't resolve ${NAME}")
        self.models.append(config.routes[0].model)


def started(folder: Path) -> tuple[Path, Adopted, LiveConfig]:
    """A good file, and what goes by it."""
    path, adopted = folder / "droveway.yaml", Adopted()
    path.write_text(GOOD)
    live = LiveConfig(str(path))
    live.on_change(adopted)
    return path, adopted, live


def test_a_reload_takes_a_good_file_and_keeps_it_when_a_bad_one_comes(tmp_path: Path) -> None:
    path, adopted, live = started(tmp_path)
    path.write_text(GOOD.replace("gpt-5", "gpt-6"))
    assert live.reload()
    for old, new, _ in BROKEN.values():
        path.write_text(GOOD.replace(old, new, 1))
        assert not live.reload()
    assert live.current.routes[0].model == "gpt-6"
    assert adopted.models == ["gpt-5", "gpt-6"]
    assert live.statistics()[:2] == (1, len(BROKEN))
    path.unlink()
    assert not live.reload()
    path.write_text(GOOD.replace("gpt-5", "gpt-6"))
    assert live.reload()
    assert live.statistics().reloaded == 1


def test_a_listener_that_refuses_keeps_the_old_one_in_force(tmp_path: Path) -> None:
    path, adopted, live = started(tmp_path)
    adopted.refuse = True
    path.write_text(GOOD.replace("gpt-5", "gpt-6"))
    assert not live.reload()
    assert live.current.routes[0].model == "gpt-5"


async def test_a_changed_file_is_adopted_within_a_second(tmp_path: Path) -> None:
    path, adopted, live = started(tmp_path)
    async with beside(live.follow()):
        await until(lambda: _touch(path, "gpt-5.1") and "gpt-5.1" in adopted.models)
        began_s = time.monotonic()
        path.write_text(GOOD.replace("gpt-5", "gpt-6"))
        await until(lambda: adopted.models[-1] == "gpt-6")
        assert time.monotonic() - began_s < 1.0
        path.write_text("nonsense")
        await until(lambda: live.statistics().rejected)
        assert live.current.routes[0].model == "gpt-6"
        other = tmp_path / "new.yaml"
        other.write_text(GOOD.replace("gpt-5", "gpt-7"))
        other.rename(path)
        await until(lambda: adopted.models[-1] == "gpt-7")


async def test_a_swapped_configmap_is_adopted(tmp_path: Path) -> None:
    for name, model in (("..first", "gpt-5"), ("..second", "gpt-6")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "droveway.yaml").write_text(GOOD.replace("gpt-5", model))
    (tmp_path / "..data").symlink_to("..first")
    (tmp_path / "droveway.yaml").symlink_to("..data/droveway.yaml")
    adopted = Adopted()
    live = LiveConfig(str(tmp_path / "droveway.yaml"))
    live.on_change(adopted)
    async with beside(live.follow()):
        await until(lambda: _swap(tmp_path) and adopted.models[-1] == "gpt-6")
    assert adopted.models == ["gpt-5", "gpt-6"]


def test_listeners_that_had_taken_a_refused_one_get_the_one_before_again(tmp_path: Path) -> None:
    path, first, second = tmp_path / "droveway.yaml", Adopted(), Adopted()
    path.write_text(GOOD)
    live = LiveConfig(str(path))
    live.on_change(first)
    live.on_change(second)
    version, second.refuse = live.version, True
    path.write_text(GOOD.replace("gpt-5", "gpt-6"))
    assert not live.reload()
    assert first.models == ["gpt-5", "gpt-6", "gpt-5"]
    assert second.models == ["gpt-5"]
    assert live.version == version


def test_a_version_is_that_of_what_a_file_says_not_of_how(tmp_path: Path) -> None:
    path, other = tmp_path / "droveway.yaml", tmp_path / "other.yaml"
    path.write_text(GOOD + "retry: {failed: {base_s: 1}}\n")
    other.write_text("# mine\nretry: {failed: {base_s: 1.0}}\n" + GOOD)
    live = LiveConfig(str(path))
    assert live.version == LiveConfig(str(other)).version
    assert live.version == version_of(stored(live.current))
    path.write_text(GOOD)
    assert live.reload()
    assert live.version != LiveConfig(str(other)).version


def test_listeners_see_the_version_of_what_they_are_told(tmp_path: Path) -> None:
    path = tmp_path / "droveway.yaml"
    path.write_text(GOOD)
    live = LiveConfig(str(path))
    seen: list[str] = []
    live.on_change(lambda config: seen.append(live.version))
    path.write_text(GOOD.replace("gpt-5", "gpt-6"))
    assert live.reload()
    assert seen[-1] == live.version == version_of(live.current)
    assert len(set(seen)) == 2


def test_an_applied_configuration_holds_instead_of_the_file_until_it_is_released(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, adopted, live = started(tmp_path)
    assert (live.source, live.revision) == ("file", 0)
    assert live.apply(in_force("gpt-6", 3))
    assert (live.source, live.revision, live.version) == ("bucket", 3, "0123456789ab")
    path.write_text(GOOD.replace("gpt-5", "gpt-7"))
    assert live.reload()
    assert adopted.models == ["gpt-5", "gpt-6"]
    assert "config_file_shadowed" in caplog.messages
    assert live.statistics() == (1, 0, 1, 3)
    assert live.reload()
    assert live.statistics().shadowed_files == 1
    assert live.apply(None)
    assert adopted.models == ["gpt-5", "gpt-6", "gpt-7"]
    assert (live.source, live.revision) == ("file", 0)


def test_an_applied_configuration_that_a_listener_refuses_changes_nothing(tmp_path: Path) -> None:
    path, adopted, findings = tmp_path / "droveway.yaml", Adopted(), list[int]()
    path.write_text(GOOD)
    live = LiveConfig(str(path))
    live.on_change(adopted)
    live.on_reload = findings.append
    adopted.refuse = True
    assert not live.apply(in_force("gpt-6", 3))
    assert (live.source, live.current.routes[0].model) == ("file", "gpt-5")
    assert findings == [1]
    adopted.refuse = False
    assert live.apply(in_force("gpt-6", 3))
    adopted.refuse = True
    assert not live.apply(None)
    assert live.revision == 3


def in_force(model: str, revision: int) -> InForce:
    config = parse(GOOD.replace("gpt-5", model).encode(), "f")
    return InForce(config, "0123456789ab", revision)


def stored(config: Config) -> Config:
    """As whoever reads an entry of the bucket has it."""
    return msgspec.json.decode(msgspec.json.encode(config), type=Config)


def _touch(path: Path, model: str) -> bool:
    """Writes until the watch, which begins in a thread, has seen it."""
    path.write_text(GOOD.replace("gpt-5", model))
    return True


def _swap(folder: Path) -> bool:
    """Kubernetes' way of renewing a mounted ConfigMap."""
    (folder / "..data_tmp").symlink_to("..second")
    (folder / "..data_tmp").replace(folder / "..data")
    return True


def test_a_mended_file_holds_at_once_after_a_release_that_was_refused(tmp_path: Path) -> None:
    path, adopted, live = started(tmp_path)
    applied = parse(GOOD.replace("gpt-5", "gpt-6").encode(), "applied")
    assert live.apply(InForce(applied, version_of(applied), 7))
    adopted.refuse = True
    assert not live.apply(None)
    assert live.revision == 7
    adopted.refuse = False
    path.write_text(GOOD.replace("gpt-5", "gpt-7"))
    assert live.reload()
    assert (live.source, adopted.models[-1]) == ("file", "gpt-7")


def test_a_listener_that_chokes_at_a_value_refuses_it(tmp_path: Path) -> None:
    _, adopted, live = started(tmp_path)
    bad = parse(GOOD.replace("gpt-5", "gpt-6").encode(), "applied")

    def choke(config: Config) -> None:
        if config == bad:
            raise UnicodeError("no host name")

    live.on_change(choke)
    assert not live.apply(InForce(bad, version_of(bad), 7))
    assert (live.revision, adopted.models) == (0, ["gpt-5", "gpt-6", "gpt-5"])


async def test_a_file_that_cant_be_watched_is_read_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder" / "droveway.yaml"
    path.parent.mkdir()
    path.write_text(GOOD)
    live = LiveConfig(str(path))
    monkeypatch.setattr("droveway.runtime.config.live.LOOK_EVERY_S", 0.02)
    shutil.move(path.parent, tmp_path / "gone")
    async with beside(live.follow()):
        await until(lambda: live.statistics().rejected)
        path.parent.mkdir()
        path.write_text(GOOD.replace("gpt-5", "gpt-6"))
        await until(lambda: live.current.routes[0].model == "gpt-6")
