"""What was applied is listed, brought back and released by command, over a real broker."""

from droveway.contracts.configuration import version_of
from droveway.runtime.config.store import SUBJECT
from tests.support.access import delete_stream
from tests.support.applying import FIRST, SECOND, THIRD, Here, here
from tests.support.configured import holding

__all__ = ["here"]


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


async def test_without_the_bucket_the_set_up_job_is_named(here: Here) -> None:
    await delete_stream(here.nats, "KV_config")
    for words in (("apply", str(here.file)), ("history",), ("show",), ("release",)):
        outcome = await here(*words)
        assert outcome.code == 69
        assert "`droveway setup` makes it" in outcome.stderr


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
