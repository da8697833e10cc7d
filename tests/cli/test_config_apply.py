"""A configuration is applied, rolled back and released by command, over a real broker."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.contracts.config import Canary, Config, RetryBudget, RouteTarget
from droveway.contracts.configuration import MAX_APPLIED_BYTES, version_of
from droveway.runtime.api_key import make_key, parse_key
from droveway.runtime.config_store import SUBJECT
from tests.support.access import delete_stream, fill_trail, make_streams
from tests.support.commands import Commands, Outcome
from tests.support.configured import holding
from tests.support.nats import NatsServer, droveway_config, serving, write_droveway_config

FIRST = droveway_config("http://127.0.0.1:9/v1")
SECOND = msgspec.structs.replace(FIRST, usd_cny=7.0, retry_budget=RetryBudget(ratio=0.1))
THIRD = droveway_config("http://127.0.0.1:9/v1", "http://127.0.0.1:8/v1")


class Here:
    """Commands beside a broker of the test's own, whose services have the file `FIRST`."""

    def __init__(self, folder: Path, nats: NatsServer, command: Commands) -> None:
        self.folder = folder
        self.nats = nats
        self.command = command
        self.file = self.write(FIRST, "services.yaml")

    async def __call__(self, *words: str) -> Outcome:
        return await self.command("config", *words)

    def write(self, config: Config, name: str = "new.yaml") -> Path:
        return write_droveway_config(self.folder / name, config)

    async def apply(self, config: Config, *words: str) -> Outcome:
        return await self("apply", str(self.write(config)), *words)

    async def history(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self("history", "--format", "json")).json
        return found

    async def audit(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.command("admin", "audit", "--json")).json
        return found


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Here]:
    monkeypatch.chdir(tmp_path)
    with serving(tmp_path / ".droveway") as nats:
        asyncio.run(make_streams(nats))
        yield Here(tmp_path, nats, Commands(tmp_path / ".droveway", capsys))


async def test_what_is_applied_holds_in_every_service_before_the_command_ends(here: Here) -> None:
    async with holding(here.nats, here.file) as (one, _), holding(here.nats, here.file) as (two, _):
        outcome = await here.apply(SECOND, "--reason", "new rate")
        assert (outcome.code, outcome.stdout) == (0, "")
        assert f"version {version_of(SECOND)}: adopted by 2 of 2 in " in outcome.stderr
        assert "  settings: changed retry_budget, usd_cny\n" in outcome.stderr
        assert one.current == two.current == SECOND
        assert one.revision == two.revision == 1
    (line,) = await here.history()
    assert (line["revision"], line["state"], line["reason"]) == (1, "in force", "new rate")
    assert line["version"] == version_of(SECOND)
    assert line["by"].startswith("operator ")


async def test_a_change_stands_in_the_audit_trail_by_versions_and_names(here: Here) -> None:
    await here.apply(FIRST)
    await here.apply(THIRD)
    newest, first = await here.audit()
    assert {(one["action"], one["target"]) for one in (first, newest)} == {
        ("config.applied", "config")
    }
    assert "before" not in first
    assert newest["before"] == {"version": version_of(FIRST), "revision": 1}
    assert newest["after"] == {
        "version": version_of(THIRD),
        "changes": {"providers": {"added": ["upstream-2"]}, "routes": {"changed": ["*"]}},
    }


async def test_what_is_in_force_already_isnt_written_again(here: Here) -> None:
    await here.apply(SECOND)
    outcome = await here.apply(SECOND)
    assert outcome.code == 0
    assert "unchanged: revision 1" in outcome.stderr
    assert len(await here.history()) == 1


async def test_a_dry_run_says_what_would_change_and_writes_nothing(here: Here) -> None:
    outcome = await here.apply(SECOND, "--dry-run")
    assert outcome.code == 0
    assert "providers: added upstream-1" in outcome.stderr
    assert "nothing was written" in outcome.stderr
    assert await here.history() == []
    assert await here.audit() == []


async def test_a_bad_file_is_refused_with_all_findings_before_anything_is_written(
    here: Here,
) -> None:
    here.write(FIRST)
    bad = here.folder / "new.yaml"
    text = bad.read_text()
    bad.write_text(text.replace("provider: upstream-1", "provider: nobody") + "aliases: {a: b*}\n")
    outcome = await here("apply", str(bad))
    assert outcome.code == 78
    assert "'nobody' isn't configured" in outcome.stderr
    assert "aliases.a" in outcome.stderr
    assert await here.history() == []


async def test_what_no_message_takes_is_refused_with_its_size(here: Here) -> None:
    many = {f"{'a' * 100}-{number}": "gpt-5" for number in range(8_000)}
    outcome = await here.apply(msgspec.structs.replace(FIRST, aliases=many))
    assert outcome.code == 78
    assert f"at most {MAX_APPLIED_BYTES} can be applied" in outcome.stderr
    assert await here.history() == []


async def test_a_reason_that_no_reader_takes_is_refused(here: Here) -> None:
    outcome = await here.apply(SECOND, "--reason", "x" * 5_000)
    assert outcome.code == 78
    assert "reason" in outcome.stderr
    assert await here.history() == []


async def test_a_change_of_another_revision_is_refused(here: Here) -> None:
    await here.apply(FIRST, "--revision", "0")
    outcome = await here.apply(SECOND, "--revision", "0")
    assert outcome.code == 78
    assert "the present revision is 1, not 0" in outcome.stderr
    assert (await here.apply(SECOND, "--revision", "1")).code == 0


async def test_a_service_that_keeps_the_old_one_is_named_and_the_code_is_1(here: Here) -> None:
    async with (
        holding(here.nats, here.file),
        holding(here.nats, here.file, stubborn=True) as (live, stubborn),
    ):
        outcome = await here.apply(SECOND, "--within", "0.5")
        assert live.current == FIRST
    assert outcome.code == 1
    assert "adopted by 1 of 2 in " in outcome.stderr
    still = f"{stubborn} holds {version_of(FIRST)} of its file: look for config_reload_failed"
    assert still in outcome.stderr


async def test_where_nobody_runs_it_is_stored_for_later(here: Here) -> None:
    outcome = await here.apply(SECOND)
    assert outcome.code == 0
    assert "no service runs" in outcome.stderr
    async with holding(here.nats, here.file) as (live, _):
        assert live.current == SECOND


async def test_a_rollback_brings_the_one_before_back_as_a_new_revision(here: Here) -> None:
    await here.apply(FIRST)
    await here.apply(SECOND)
    async with holding(here.nats, here.file) as (live, _):
        outcome = await here("rollback", "--reason", "wrong rate")
        assert "revision 3" in outcome.stderr
        assert "of revision 1: adopted by 1 of 1" in outcome.stderr
        assert (outcome.code, live.current, live.revision) == (0, FIRST, 3)
    newest = (await here.history())[0]
    assert (newest["revision"], newest["of"], newest["state"]) == (3, 1, "in force")
    event = (await here.audit())[0]
    assert (event["action"], event["reason"]) == ("config.rolled_back", "wrong rate")
    assert event["after"]["of"] == 1


async def test_any_kept_revision_can_be_brought_back_and_no_other(here: Here) -> None:
    for config in (FIRST, SECOND, THIRD):
        await here.apply(config)
    outcome = await here("rollback", "1")
    assert f"version {version_of(FIRST)}" in outcome.stderr
    assert "unchanged" in (await here("rollback", "4")).stderr
    outcome = await here("rollback", "9")
    assert (outcome.code, len(await here.history())) == (78, 4)
    assert "there is no revision 9" in outcome.stderr


async def test_without_an_earlier_revision_there_is_no_way_back(here: Here) -> None:
    assert "no earlier revision" in (await here("rollback")).stderr
    await here.apply(FIRST)
    outcome = await here("rollback")
    assert outcome.code == 78
    assert "no earlier revision" in outcome.stderr


async def test_released_services_hold_their_files_again(here: Here) -> None:
    async with holding(here.nats, here.file) as (live, _):
        await here.apply(SECOND)
        outcome = await here("release")
        assert "revision 2: released, services hold their files: adopted by 1" in outcome.stderr
        assert (outcome.code, live.current, live.revision) == (0, FIRST, 0)
        assert (await here("release")).code == 78
        assert [one["state"] for one in await here.history()] == ["released", ""]
        assert (await here.audit())[0]["action"] == "config.released"
        assert "has no configuration" in (await here("rollback", "2")).stderr
        await here("rollback")
        assert live.current == SECOND


async def test_an_entry_that_nobody_can_read_can_be_replaced(here: Here) -> None:
    await here.apply(FIRST)
    async with here.nats.bus("operator") as bus:
        await bus.request(SUBJECT, b'{"config": 1, "by": "a later version"}', 2.0)
    assert "can't be read" in (await here("show")).stderr
    assert (await here.history())[0]["by"] == "a later version"
    async with holding(here.nats, here.file) as (live, _):
        assert live.current == FIRST
        assert (await here.apply(SECOND)).code == 0
        assert live.current == SECOND


async def test_nothing_changes_without_its_audit_event(here: Here) -> None:
    await here.apply(FIRST)
    await fill_trail(here.nats)
    outcome = await here.apply(SECOND)
    assert outcome.code == 69
    assert "the audit event can't be stored, so nothing was done" in outcome.stderr
    assert len(await here.history()) == 1


async def test_without_the_bucket_the_set_up_job_is_named(here: Here) -> None:
    await delete_stream(here.nats, "KV_config")
    for words in (("apply", str(here.file)), ("history",), ("show",), ("release",)):
        outcome = await here(*words)
        assert outcome.code == 69
        assert "`droveway setup` makes it" in outcome.stderr


async def test_other_commands_go_by_what_is_applied_and_not_by_the_file_here(here: Here) -> None:
    here.write(FIRST, "droveway.yaml")
    key = make_key("test")
    keyed = droveway_config("http://127.0.0.1:9/v1", key=key)
    other = RouteTarget(provider="upstream-1", model="new")
    route = msgspec.structs.replace(keyed.routes[0], canary=Canary(targets=(other,), percent=5))
    await here.apply(msgspec.structs.replace(keyed, routes=(route,)))
    key_id = parse_key(key).id
    refused = await here.command("keys", "disable", key_id)
    assert f"the key '{key_id}' stands in revision 1 of the configuration" in refused.stderr
    assert (await here.command("canary", "advance", "*")).code == 0
    (canary,) = (await here.command("canary", "show", "--json")).json
    assert (canary["from"], canary["canary"]["percent"]) == ("order", 20)


async def test_the_history_is_a_table_newest_first(here: Here) -> None:
    assert "nothing was ever applied" in (await here("history")).stderr
    await here.apply(FIRST, "--reason", "the first\x1b[2J")
    await here.apply(SECOND)
    head, newest, oldest = (await here("history")).stdout.splitlines()
    assert head.split() == ["revision", "when", "who", "version", "of", "reason"]
    assert newest.startswith("2")
    assert "in force" in newest
    assert version_of(SECOND) in newest
    assert "the first?[2J" in oldest
    assert (await here("history", "--format", "csv")).code == 78
