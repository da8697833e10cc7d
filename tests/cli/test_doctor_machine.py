"""What `droveway doctor` learns of the machine that it runs on, and whom it asks about budgets."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from droveway.cli.doctor import machine
from droveway.cli.doctor.budgets import MOST_KEYS, Holders, ask_budgets, in_force, payers_of
from droveway.cli.doctor.evidence import LocalFile, Machine, Unasked
from droveway.cli.main import main
from droveway.contracts.access import Budget, Key, Tenant
from droveway.contracts.admission import (
    BudgetStanding,
    StandingReported,
    standing_decoder,
    standing_subject,
)
from droveway.contracts.envelope import encode
from droveway.runtime.config.entries import Standing
from tests.support.nats import NatsServer, droveway_config, write_droveway_config

RICH = Budget(usd=5)
T = TypeVar("T")


def key(key_id: str, tenant: str = "default", *budgets: Budget, state: str = "active") -> Key:
    fields = {"id": key_id, "sha256": "0" * 64, "tenant": tenant, "state": state}
    return msgspec.structs.replace(msgspec.convert(fields, Key), budgets=budgets)


def holders(keys: Iterable[Key], *rich: str) -> Holders:
    tenants = {name: Tenant(id=name, budgets=(RICH,)) for name in rich}
    return Holders({one.id: one for one in keys}, tenants)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    seeds = tmp_path / "data/nats/keys"
    seeds.mkdir(parents=True)
    for path in (tmp_path / "data/key", seeds / "k1.nk", seeds.parent / "router.nk"):
        path.write_text("secret")
        path.chmod(0o600)
    return tmp_path / "data"


def test_a_machine_without_a_data_folder_has_nothing_to_say(tmp_path: Path) -> None:
    assert machine.data_folder(tmp_path / "none") == Machine()


def test_the_disk_of_the_data_folder_is_measured(folder: Path) -> None:
    found = machine.data_folder(folder)
    assert (found.folder, found.exposed) == (str(folder), ())
    assert 0 < found.free_bytes < found.total_bytes


@pytest.mark.parametrize("name", ["key", "nats/router.nk", "nats/keys/k1.nk"])
@pytest.mark.parametrize("mode", [0o640, 0o604], ids=["group", "all"])
def test_a_secret_that_others_can_read_is_named(folder: Path, name: str, mode: int) -> None:
    (folder / name).chmod(mode)
    assert machine.data_folder(folder).exposed == (str(folder / name),)


def test_of_files_that_are_mounted_the_group_may_read(folder: Path) -> None:
    path = folder / "nats/router.nk"
    path.chmod(0o640)
    assert machine.exposed(("", str(path), "/nowhere")) == ()
    path.chmod(0o644)
    assert machine.exposed((str(path),)) == (str(path),)


def test_the_configuration_file_is_read_or_its_findings_are_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DROVEWAY_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert machine.local_file(folder) == LocalFile()
    config = droveway_config("http://127.0.0.1:9/v1")
    path = write_droveway_config(folder / "droveway.yaml", config)
    assert machine.local_file(folder) == LocalFile(str(path), config)
    path.write_text("providers: [")
    assert "not YAML" in machine.local_file(folder).problem
    monkeypatch.setenv("DROVEWAY_CONFIG", "/nowhere.yaml")
    assert machine.local_file(folder).path == "/nowhere.yaml"


def test_without_a_known_server_it_says_that_it_could_not_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DROVEWAY_CONFIG", "DROVEWAY_NATS_URL", "NATS_URL", "NATS_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 3
    assert "no NATS server known" in capsys.readouterr().out


PAYERS: dict[str, tuple[list[Key], tuple[str, ...], list[str]]] = {
    "nobody has a budget": ([key("a"), key("b", "acme")], (), []),
    "a key has one": ([key("a"), key("b", "acme", RICH)], (), ["b"]),
    "a tenant is asked about by one of its keys": (
        [key("a", "acme"), key("b", "acme"), key("c", "other")], ("acme",), ["a"],
    ),
    "a key's own question tells of its tenant": (
        [key("a", "acme"), key("b", "acme", RICH)], ("acme",), ["b"],
    ),
    "of a disabled key nobody waits": (
        [key("a", "acme", RICH, state="disabled"), key("b", "acme")], ("acme",), ["b"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "rich", "expected"), PAYERS.values(), ids=PAYERS)
def test_who_is_asked_about(keys: list[Key], rich: tuple[str, ...], expected: list[str]) -> None:
    assert [one.id for one in payers_of(holders(keys, *rich))] == expected


def test_the_configuration_wins_over_the_store() -> None:
    config = msgspec.structs.replace(
        droveway_config("http://127.0.0.1:9/v1"), keys=(key("a", "filed"),)
    )
    found = in_force(config, [key("a", "stored"), key("b")], [Tenant(id="acme")])
    assert (found.keys["a"].tenant, sorted(found.keys)) == ("filed", ["a", "b"])
    assert [*found.tenants] == ["acme"]


async def test_so_many_keys_are_asked_about_and_the_others_counted(nats: NatsServer) -> None:
    asked: list[str] = []

    def on_question(payload: bytes, reply: str) -> None:
        question = standing_decoder.decode(payload)
        asked.append(question.key_id)
        standing = BudgetStanding(
            scope="key", period="month", limit_nano=10, spent_nano=9, reserved_nano=0
        )
        limiter.publish(
            reply,
            encode(StandingReported(key_id=question.key_id, owner="x", budgets=(standing,))),
        )

    keys = [key(f"k{number}", "acme", RICH) for number in range(MOST_KEYS + 3)]
    async with nats.bus("limiter") as limiter, nats.bus("operator") as bus:
        await limiter.subscribe(standing_subject(0), on_question)
        found = await ask_budgets(
            bus, told(keys), told(Unasked("no answer")), told(Standing(0, None)), LocalFile()
        )
    assert (len(asked), len(found.found), found.left_out) == (MOST_KEYS, MOST_KEYS, 3)
    assert found.found[0].whose == "key k0"


def told(answer: T) -> asyncio.Task[T]:
    async def give() -> T:
        return answer

    return asyncio.ensure_future(give())
