"""A configuration is applied by command, over a real broker, and adopted by what follows it."""

import asyncio

import msgspec

from droveway.contracts.config import Canary, RouteTarget
from droveway.contracts.configuration import MAX_APPLIED_BYTES, version_of
from droveway.runtime.api_key import make_key, parse_key
from droveway.runtime.discovery import Discovery
from tests.support.access import fill_trail
from tests.support.applying import FIRST, SECOND, THIRD, Here, here
from tests.support.configured import holding
from tests.support.nats import droveway_config

__all__ = ["here"]


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


async def test_a_service_that_holds_what_came_after_isnt_late(here: Here) -> None:
    async with here.nats.bus("router") as bus:
        discovery = Discovery(bus, 100)
        discovery.facts["config"] = lambda: version_of(THIRD)
        discovery.facts["config_revision"] = lambda: "8"
        await discovery.listen()
        for outcome in (await here.apply(SECOND), await here("release")):
            assert outcome.code == 0
            assert "adopted by 0 of 1 in " in outcome.stderr
            assert f"{bus.instance} holds revision 8, which came after" in outcome.stderr


async def test_it_says_that_it_is_written_when_the_broker_goes_then(here: Here) -> None:
    asked = asyncio.Event()
    async with holding(here.nats, here.file, stubborn=True, asked=asked) as (live, _):
        refused = asyncio.Event()
        live.on_reload = lambda _findings: refused.set()
        applying = asyncio.ensure_future(here.apply(SECOND, "--within", "60"))
        await refused.wait()
        asked.clear()
        await asked.wait()  # the command knows that it is written
        here.nats.kill()
        outcome = await applying
    assert outcome.code == 1
    written = f"revision 1, version {version_of(SECOND)}: it is written, but whether services"
    assert written in outcome.stderr


async def test_where_nobody_runs_it_is_stored_for_later(here: Here) -> None:
    outcome = await here.apply(SECOND)
    assert outcome.code == 0
    assert "no service runs" in outcome.stderr
    async with holding(here.nats, here.file) as (live, _):
        assert live.current == SECOND


async def test_nothing_changes_without_its_audit_event(here: Here) -> None:
    await here.apply(FIRST)
    await fill_trail(here.nats)
    outcome = await here.apply(SECOND)
    assert outcome.code == 69
    assert "the audit event can't be stored, so nothing was done" in outcome.stderr
    assert len(await here.history()) == 1


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
