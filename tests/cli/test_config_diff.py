"""What is in force is shown and compared: files and revisions, as a person would write them."""

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml
from rich.console import Console

from droveway.cli import config_diff
from droveway.cli.config import to_yaml
from droveway.cli.main import main
from droveway.contracts.config import Config, Provider
from droveway.contracts.configuration import version_of
from droveway.runtime.config.changes import changes_between
from droveway.runtime.config.file import parse
from droveway.runtime.config.store import ConfigStore
from tests.support.access import TESTER, make_streams
from tests.support.commands import Commands
from tests.support.nats import NatsServer, droveway_config, serving, write_droveway_config

OLD = droveway_config("http://127.0.0.1:9/v1")
NEW = msgspec.structs.replace(OLD, usd_cny=7.0, aliases={"b": "gpt-5", "a": "gpt-5"})
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DROVEWAY_CONFIG", raising=False)
    write_droveway_config(tmp_path / "old.yaml", OLD)
    write_droveway_config(tmp_path / "new.yaml", NEW)
    return tmp_path


@pytest.fixture
def nats(folder: Path) -> Iterator[NatsServer]:
    with serving(folder / ".droveway") as server:
        asyncio.run(make_streams(server))
        yield server


@pytest.fixture
def config(folder: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(folder / ".droveway", capsys)


def typed(*words: str) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(words)


async def apply(nats: NatsServer, *configs: Config) -> None:
    async with nats.bus("operator") as bus:
        store = ConfigStore(bus)
        for one in configs:
            await store.apply(await store.current(), one, TESTER)


async def test_two_files_that_differ_end_with_1_and_need_no_broker(config: Commands) -> None:
    outcome = await config("config", "diff", "old.yaml", "new.yaml")
    assert outcome.code == 1
    assert outcome.stdout.splitlines()[:3] == ["--- old.yaml", "+++ new.yaml", "@@ -6,3 +6,7 @@"]
    added = [line for line in outcome.stdout.splitlines()[3:] if line.startswith("+")]
    assert added == ["+aliases:", "+  a: gpt-5", "+  b: gpt-5", "+usd_cny: 7.0"]


async def test_files_that_say_the_same_in_other_words_are_equal(
    folder: Path, config: Commands
) -> None:
    document = yaml.safe_load((folder / "new.yaml").read_text())
    document["aliases"] = {"a": "gpt-5", "b": "gpt-5"}
    document["providers"][0]["pool"] = "default"
    (folder / "other.yaml").write_text("# mine\n" + json.dumps(document))
    outcome = await config("config", "diff", "new.yaml", "other.yaml")
    assert (outcome.code, outcome.stdout) == (0, "")


async def test_what_is_in_force_is_compared_with_this_machines_file(
    folder: Path, nats: NatsServer, config: Commands
) -> None:
    outcome = await config("config", "diff")
    assert (outcome.code, "nothing is applied" in outcome.stderr) == (78, True)
    await apply(nats, OLD, NEW)
    (folder / "droveway.yaml").write_text((folder / "old.yaml").read_text())
    outcome = await config("config", "diff")
    assert outcome.code == 1
    assert outcome.stdout.startswith("--- revision 2 (in force)\n+++ droveway.yaml\n")
    assert "-usd_cny: 7.0" in outcome.stdout


async def test_a_revision_is_compared_with_what_is_in_force(
    nats: NatsServer, config: Commands
) -> None:
    await apply(nats, OLD, NEW)
    outcome = await config("config", "diff", "1")
    assert outcome.stdout.startswith("--- revision 2 (in force)\n+++ revision 1\n")
    assert (await config("config", "diff", "1", "2")).code == 1
    assert (await config("config", "diff", "2", "new.yaml")).code == 0
    assert (await config("config", "diff", "3", "new.yaml")).code == 78
    assert (await config("config", "diff", "none.yaml")).code == 78


async def test_a_revision_is_shown_as_a_file_that_can_be_applied(
    folder: Path, nats: NatsServer, config: Commands
) -> None:
    (folder / "droveway.yaml").write_text((folder / "old.yaml").read_text())
    outcome = await config("config", "show")
    assert "each service holds what its file says; this is droveway.yaml" in outcome.stderr
    assert parse(outcome.stdout.encode(), "shown") == OLD
    await apply(nats, NEW, OLD)
    assert (await config("config", "show")).stdout.startswith("# revision 2, version ")
    outcome = await config("config", "show", "1")
    assert parse(outcome.stdout.encode(), "shown") == NEW
    assert version_of(NEW) in outcome.stdout.partition("\n")[0]


def test_a_terminal_gets_colours_and_a_pipe_none(folder: Path) -> None:
    for is_terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=is_terminal, highlight=False)
        config_diff.diff(folder / ".droveway", "old.yaml", "new.yaml", console)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert ("\x1b[32m+usd_cny: 7.0" in text) == is_terminal


def test_versions_dont_hang_on_how_a_file_is_written() -> None:
    again = parse(to_yaml(NEW).encode(), "x")
    stored = msgspec.json.decode(msgspec.json.encode(NEW), type=Config)
    assert version_of(again) == version_of(stored) == version_of(NEW) != version_of(OLD)


def test_changes_are_told_by_areas_and_names_without_values() -> None:
    first, second = (Provider(id=name, base_url="https://x/v1") for name in ("a", "b"))
    third = Provider(id="a", base_url="https://y/v1")
    before = msgspec.structs.replace(OLD, providers=(first, second))
    after = msgspec.structs.replace(OLD, providers=(third,), price_book="seeds")
    assert changes_between(before, after) == {
        "providers": {"changed": ["a"], "removed": ["b"]},
        "settings": {"changed": ["price_book"]},
    }
    turned = msgspec.structs.replace(OLD, providers=(second, first))
    assert changes_between(before, turned) == {"providers": {"changed": ["the order"]}}
    many = msgspec.structs.replace(OLD, aliases={f"m{number}": "x" for number in range(60)})
    assert changes_between(OLD, many)["aliases"]["added"][-1] == "and 10 more"
    assert "keys" not in changes_between(None, OLD)


def test_the_schema_is_the_repositorys_and_takes_a_good_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("config", "schema")
    text = capsys.readouterr().out
    assert text == (REPOSITORY / "contracts/schemas/config.json").read_text()
    document = yaml.safe_load((folder / "new.yaml").read_text())
    jsonschema.Draft202012Validator(json.loads(text)).validate(document)
    with pytest.raises(jsonschema.ValidationError, match="'provider' was unexpected"):
        jsonschema.Draft202012Validator(json.loads(text)).validate({**document, "provider": []})


def test_check_tells_the_version_and_references_that_lead_nowhere(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CORPORATE_PROXY", raising=False)
    text = (folder / "old.yaml").read_text()
    more = "base_url: https://api.example.com/v1\n  proxy: ${CORPORATE_PROXY}\n  ca_file: /none.pem"
    (folder / "proxied.yaml").write_text(text.replace("base_url: http://127.0.0.1:9/v1", more))
    typed("config", "check", "proxied.yaml")
    told = capsys.readouterr().out
    assert "1 providers, 1 routes, 0 keys; version " in told
    assert "note: provider upstream-1: CORPORATE_PROXY isn't set here\n" in told
    assert "note: provider upstream-1: /none.pem isn't there\n" in told
