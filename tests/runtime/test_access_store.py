"""No change without its audit event, and of two changes of one revision one is refused."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from droveway.contracts.access import Budget, Key, Limit, Tenant
from droveway.contracts.audit import AuditRecorded, Author, audit_subject, encode_json
from droveway.runtime import audited_write
from droveway.runtime.access_errors import (
    EntryExists,
    EntryInvalid,
    EntryMissing,
    RevisionChanged,
    StoreUnavailable,
)
from droveway.runtime.access_store import keys_store, tenants_store
from droveway.runtime.api_key import hash_key
from droveway.runtime.audit_trail import NotRecorded, TrailFull, local_author, read_trail
from droveway.runtime.bus import Bus
from tests.support.access import TESTER, delete_stream, fill_trail, operator
from tests.support.nats import NatsServer
from tests.support.waiting import until

KEY = Key(id="k1", sha256="a" * 64)
BUSY = msgspec.structs.replace(KEY, limits=(Limit(requests=5),))


@pytest.fixture
async def bus(own_nats: NatsServer) -> AsyncIterator[Bus]:
    async with operator(own_nats) as bus:
        yield bus


async def events(bus: Bus, limit: int = 100) -> list[AuditRecorded]:
    return [event for _, event in await read_trail(bus, limit)]


async def test_a_key_is_made_changed_deleted_and_made_anew(bus: Bus) -> None:
    store = keys_store(bus)
    revision = await store.create(KEY, TESTER)
    present = await store.get("k1")
    assert present == (KEY, revision)
    assert await store.change(present, BUSY, TESTER) > revision
    assert [entry.value for entry in await store.all()] == [BUSY]
    await store.delete(await store.get("k1"), TESTER)
    assert await store.all() == []
    with pytest.raises(EntryMissing):
        await store.get("k1")
    await store.create(KEY, TESTER)
    assert (await store.get("k1")).value == KEY


async def test_each_change_is_recorded_with_what_was_and_what_is(bus: Bus) -> None:
    store = keys_store(bus)
    await store.create(KEY, TESTER)
    await store.change(await store.get("k1"), BUSY, TESTER, "limited")
    await store.delete(await store.get("k1"), TESTER)
    deleted, limited, created = await events(bus)
    assert [one.action for one in (created, limited, deleted)] == [
        "key.created", "key.limited", "key.deleted",
    ]  # fmt: skip
    assert {one.target for one in (created, limited, deleted)} == {"key.k1"}
    assert created.before is None
    assert created.after == limited.before
    assert limited.after == {"id": "k1", "limits": [{"requests": 5}]}
    assert deleted.before == {"state": "active"}
    assert deleted.after is None
    assert created.by == TESTER


async def test_no_event_holds_a_hash(bus: Bus) -> None:
    rotated = msgspec.structs.replace(
        KEY, sha256="b" * 64, previous_sha256="a" * 64, previous_until="2027-01-01T00:00:00Z"
    )
    store = keys_store(bus)
    await store.create(KEY, TESTER)
    await store.change(await store.get("k1"), rotated, TESTER, "rotated")
    recorded = msgspec.json.encode(await events(bus))
    assert b"aaaa" not in recorded
    assert b"bbbb" not in recorded
    assert b"previous_until" in recorded


async def test_of_two_changes_of_one_revision_one_is_refused_and_told_as_failed(bus: Bus) -> None:
    store = keys_store(bus)
    await store.create(KEY, TESTER)
    present = await store.get("k1")
    disabled = msgspec.structs.replace(KEY, state="disabled")
    results = await asyncio.gather(
        store.change(present, BUSY, TESTER),
        store.change(present, disabled, TESTER),
        return_exceptions=True,
    )
    assert [type(one) for one in results].count(RevisionChanged) == 1
    outcomes = {one.id: one for one in await events(bus)}
    (failed,) = [one for one in outcomes.values() if one.outcome == "failed"]
    assert outcomes[failed.of].action == failed.action == "key.updated"
    assert outcomes[failed.of].outcome == "begun"


async def test_of_two_that_make_the_same_key_one_is_refused(bus: Bus) -> None:
    store = tenants_store(bus)
    results = await asyncio.gather(
        *(store.create(Tenant(id="acme", name=name), TESTER) for name in "ab"),
        return_exceptions=True,
    )
    assert [type(one) for one in results].count(EntryExists) == 1
    with pytest.raises(EntryExists):
        await store.create(Tenant(id="acme"), TESTER)


async def test_what_cannot_be_recorded_is_not_done(own_nats: NatsServer, bus: Bus) -> None:
    store = keys_store(bus)
    await store.create(KEY, TESTER)
    present = await store.get("k1")
    await delete_stream(own_nats)
    with pytest.raises(NotRecorded):
        await store.change(present, BUSY, TESTER)
    with pytest.raises(NotRecorded):
        await store.delete(present, TESTER)
    with pytest.raises(NotRecorded):
        await store.create(msgspec.structs.replace(KEY, id="k2"), TESTER)
    assert await store.get("k1") == present
    assert len(await store.all()) == 1


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = record.__dict__["fields"]
    return fields


async def test_a_full_trail_stops_no_revocation_and_all_else(
    own_nats: NatsServer, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    keys, tenants = keys_store(bus), tenants_store(bus)
    await keys.create(BUSY, TESTER)
    await tenants.create(Tenant(id="acme"), TESTER)
    await fill_trail(own_nats)
    key, tenant = await keys.get("k1"), await tenants.get("acme")
    for changed in (KEY, msgspec.structs.replace(KEY, state="disabled")):
        with pytest.raises(TrailFull):
            await keys.change(key, changed, TESTER)
    with pytest.raises(TrailFull):
        await tenants.delete(tenant, TESTER)
    assert "audit_full" not in caplog.messages
    await tenants.change(tenant, Tenant(id="acme", state="disabled"), TESTER)
    await keys.change(key, msgspec.structs.replace(BUSY, state="disabled"), TESTER)
    disabled = await keys.get("k1")
    assert disabled.value.state == "disabled"
    with pytest.raises(TrailFull):
        await keys.change(disabled, BUSY, TESTER)
    await keys.delete(disabled, TESTER)
    assert await keys.all() == []
    told = [one for one in caplog.records if one.getMessage() == "audit_full"]
    assert [one.levelname for one in told] == ["ERROR"] * 3
    assert [fields_of(one)["action"] for one in told] == [
        "tenant.updated", "key.updated", "key.deleted",
    ]  # fmt: skip
    assert fields_of(told[1])["author"] == "tester"
    assert fields_of(told[1])["target"] == "key.k1"


async def test_a_refused_revocation_is_none_whether_the_trail_is_full_or_not(
    own_nats: NatsServer, bus: Bus
) -> None:
    keys = keys_store(bus)
    await keys.create(KEY, TESTER)
    former = await keys.get("k1")
    await keys.change(former, BUSY, TESTER)
    await fill_trail(own_nats)
    with pytest.raises(RevisionChanged):
        await keys.delete(former, TESTER)
    assert (await keys.get("k1")).value == BUSY


async def test_an_entry_larger_than_may_be_written_can_be_disabled_with_a_small_event(
    bus: Bus,
) -> None:
    large = msgspec.structs.replace(KEY, models=tuple(f"{n:0200}" for n in range(100)))
    store = keys_store(bus)
    await bus.request("$KV.access.key.k1", msgspec.json.encode(large), 2)
    present = await store.get("k1")
    with pytest.raises(EntryInvalid, match="at most 16384 are kept"):
        await store.change(present, msgspec.structs.replace(large, tenant="other"), TESTER)
    await store.change(present, msgspec.structs.replace(large, state="disabled"), TESTER)
    assert (await store.get("k1")).value.state == "disabled"
    (event,) = await events(bus)
    assert (event.before, event.after) == ({"state": "active"}, {"state": "disabled"})


async def test_a_write_that_the_bucket_refuses_is_recorded_as_failed(
    own_nats: NatsServer, bus: Bus
) -> None:
    store = keys_store(bus)
    await store.create(KEY, TESTER)
    present = await store.get("k1")
    await delete_stream(own_nats, "KV_access")
    with pytest.raises(StoreUnavailable):
        await store.change(present, BUSY, TESTER)
    assert [one.outcome for one in await events(bus)] == ["failed", "begun", "begun"]


async def test_of_a_write_without_an_answer_is_told_that_nobody_knows(
    own_nats: NatsServer, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = keys_store(bus)
    await store.create(KEY, TESTER)
    present = await store.get("k1")

    async def recorded(bus: Bus, event: AuditRecorded) -> None:
        told.append(event)
        if event.outcome == "begun":
            own_nats.pause(signal.SIGSTOP)
            assert own_nats._process is not None
            status = Path(f"/proc/{own_nats._process.pid}/status")
            await until(lambda: "State:\tT" in status.read_text())

    told: list[AuditRecorded] = []
    monkeypatch.setattr(audited_write, "record", recorded)
    monkeypatch.setattr(audited_write, "TIMEOUT_S", 0.1)
    try:
        with pytest.raises(StoreUnavailable, match="doesn't say whether"):
            await store.change(present, BUSY, TESTER)
    finally:
        own_nats.pause(signal.SIGCONT)
    assert [event.outcome for event in told] == ["begun", "unknown"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"expires": "tomorrow"}, "expires: 'tomorrow'"),
        ({"limits": (Limit(),)}, "limits[0]: limits nothing"),
        ({"limits": (Limit(tokens=5), Limit(requests=1, tokens=6))}, "limits[1].tokens"),
        ({"limits": (Limit(requests=5, model="a*b"),)}, "limits[0].model"),
        ({"budgets": (Budget(usd=1), Budget(usd=2))}, "budgets[1].period"),
        ({"addresses": ("10.0.0.1/8",)}, "addresses[0]: '10.0.0.1/8'"),
        ({"addresses": ("::ffff:10.0.0.1",)}, "addresses[0]: '::ffff:10.0.0.1' is an IPv4 network"),
        ({"sha256": hash_key("")}, "sha256: the hash of an empty text"),
        ({"sha256": hash_key("\n")}, "sha256: the hash of an empty text"),
        ({"nats_user": "U" + "A" * 55}, "nats_user"),
        ({"models": ("x*y",)}, "models[0]"),
        ({"models": tuple(f"{number:0256}" for number in range(300))}, "bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_is_refused_by_its_field(
    bus: Bus, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(EntryInvalid) as caught:
        await keys_store(bus).create(msgspec.structs.replace(KEY, **fields), TESTER)
    assert words in str(caught.value)
    assert await events(bus) == []


async def test_the_trail_is_read_newest_first_and_in_pages(bus: Bus) -> None:
    assert await read_trail(bus, 10) == []
    store = tenants_store(bus)
    for number in range(7):
        await store.create(Tenant(id=f"t{number}"), TESTER)
    first = await read_trail(bus, 3)
    assert [event.target for _, event in first] == ["tenant.t6", "tenant.t5", "tenant.t4"]
    second = await read_trail(bus, 3, before=first[-1][0])
    assert [event.target for _, event in second] == ["tenant.t3", "tenant.t2", "tenant.t1"]
    last = await read_trail(bus, 3, before=second[-1][0])
    assert [event.target for _, event in last] == ["tenant.t0"]
    assert await read_trail(bus, 3, before=last[-1][0]) == []


async def test_large_events_hide_none_that_is_newer(bus: Bus) -> None:
    store = keys_store(bus)
    names = tuple(f"{number:03}" + "x" * 250 for number in range(60))
    await store.create(msgspec.structs.replace(KEY, models=names), TESTER)
    for number in range(160):
        changed = msgspec.structs.replace(KEY, models=(*names, str(number)))
        await store.change(await store.get("k1"), changed, TESTER)
    await store.create(msgspec.structs.replace(KEY, id="k2"), TESTER)
    newest = await read_trail(bus, 1_000)
    assert newest[0][1].target == "key.k2"
    assert 1 < len(newest) < 162
    older = await read_trail(bus, 1_000, before=newest[-1][0])
    assert older[0][0] == newest[-1][0] - 1


async def test_by_which_way_an_event_came_is_what_the_broker_proves(bus: Bus) -> None:
    forged = Author(via="gateway", id="ann", role="admin")
    event = AuditRecorded(
        id="aud_1", at="2026-01-01T00:00:00.000Z", by=forged, action="key.created", target="key.k"
    )
    await bus.request(audit_subject("operator"), encode_json(event), 2)
    assert [one.by.via for one in await events(bus)] == ["operator"]


def test_the_author_of_a_command_is_not_what_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert local_author().id != "somebody-else"
