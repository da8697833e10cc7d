import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio

from droveway.cli.setup import SetupSettings, apply
from droveway.contracts.access import Key
from droveway.contracts.jetstream import MAX_RESPONSE_BYTES, RESPONSES
from droveway.gateway.refusal import Refusal
from droveway.gateway.stored_responses import Record, StoredResponses
from droveway.runtime.bus import Bus
from droveway.runtime.errors import JetStreamRefused
from tests.support.nats import NatsServer, nats, serving  # noqa: F401

LIMIT = 512 * 1024


def key(id_: str = "key1", tenant: str = "acme") -> Key:
    return Key(id=id_, tenant=tenant, sha256="0" * 64)


def record(text: str = "hello") -> Record:
    return Record(
        response=msgspec.Raw(b'{"id":"resp_1","output":[]}'),
        messages=[{"role": "user", "content": text}],
        input_items=[{"id": "msg_1", "type": "message"}],
    )


@pytest_asyncio.fixture
async def bus(nats: NatsServer) -> AsyncIterator[Bus]:  # noqa: F811
    async with nats.bus("gateway") as bus:
        yield bus


@pytest.fixture
def response_id() -> str:
    return f"resp_{uuid4().hex}"


async def raw(bus: Bus, response_id: str) -> Any:
    subject = f"$KV.{RESPONSES}.*.*.{response_id}"
    return await bus.jetstream(
        f"STREAM.MSG.GET.KV_{RESPONSES}", {"seq": 1, "next_by_subj": subject}, 2.0
    )


async def test_what_was_stored_is_read_again(bus: Bus, response_id: str) -> None:
    stored = StoredResponses(bus, LIMIT)
    assert await stored.put(key(), response_id, record()) == ""
    assert await stored.get(key(), response_id) == record()
    assert bytes((await stored.get(key(), response_id)).response) == bytes(record().response)  # type: ignore[union-attr]


@pytest.mark.parametrize("other", [key("key2"), key(tenant="umbrella")])
async def test_another_key_or_tenant_finds_nothing(bus: Bus, response_id: str, other: Key) -> None:
    stored = StoredResponses(bus, LIMIT)
    await stored.put(key(), response_id, record())
    assert await stored.get(other, response_id) is None
    assert not await stored.delete(other, response_id)
    assert await stored.get(key(), response_id) is not None


async def test_a_deleted_response_is_gone_from_the_stream(bus: Bus, response_id: str) -> None:
    stored = StoredResponses(bus, LIMIT)
    await stored.put(key(), response_id, record("canary"))
    assert b"canary" in base64.b64decode((await raw(bus, response_id))["message"]["data"])
    assert await stored.delete(key(), response_id)
    assert not await stored.delete(key(), response_id)
    assert await stored.get(key(), response_id) is None
    with pytest.raises(JetStreamRefused, match="no message found"):
        await raw(bus, response_id)


@pytest.mark.parametrize(
    "wild", ["*", ">", "", "resp_*", f"resp_{'A' * 32}", f"resp_{'a' * 31}", f"resp_{'a' * 32}\n"]
)
async def test_what_is_no_id_finds_nothing(bus: Bus, response_id: str, wild: str) -> None:
    stored = StoredResponses(bus, LIMIT)
    await stored.put(key(), response_id, record())
    assert await stored.get(key(), wild) is None
    assert not await stored.delete(key(), wild)


async def test_a_response_beyond_the_bound_is_not_stored_and_says_so(
    bus: Bus, response_id: str
) -> None:
    stored = StoredResponses(bus, 2_000)
    warning = await stored.put(key(), response_id, record("x" * 2_000))
    assert warning == (
        "store: the response is larger than 2000 bytes with its conversation and is not kept"
    )
    assert await stored.get(key(), response_id) is None
    assert await stored.put(key(), response_id, record("x" * 1_800)) == ""


async def test_the_largest_response_comes_back(bus: Bus, response_id: str) -> None:
    stored = StoredResponses(bus, MAX_RESPONSE_BYTES)
    overhead = len(msgspec.json.encode(record("")))
    whole = record("x" * (MAX_RESPONSE_BYTES - overhead))
    assert await stored.put(key(), response_id, whole) == ""
    assert await stored.get(key(), response_id) == whole


async def test_it_counts_what_becomes_of_responses(bus: Bus, response_id: str) -> None:
    stored = StoredResponses(bus, 2_000)
    await stored.put(key(), response_id, record())
    await stored.put(key(), response_id, record("x" * 2_000))
    await stored.get(key(), response_id)
    await stored.get(key("key2"), response_id)
    await stored.delete(key(), response_id)
    size = len(msgspec.json.encode(record()))
    assert stored.statistics() == (2_000, 1, size, 1, 0, 1, 1, 1)


async def test_without_the_bucket_an_answer_loses_only_its_storing(
    tmp_path: Path, response_id: str
) -> None:
    with serving(tmp_path / "nats", set_up=False) as server:
        async with server.bus("gateway") as bus:
            stored = StoredResponses(bus, LIMIT)
            assert "could not be kept" in await stored.put(key(), response_id, record())
            for ask in (stored.get, stored.delete):
                with pytest.raises(Refusal) as caught:
                    await ask(key(), response_id)
                assert caught.value.failure.code == "service_unavailable"
            assert stored.statistics().failed == 1


async def test_a_full_bucket_keeps_what_it_has_and_takes_no_more(tmp_path: Path) -> None:
    with serving(tmp_path / "nats", set_up=False) as server:
        async with server.bus("setup") as bus:
            await apply(bus, SetupSettings(responses_max_bytes=20_000), dry_run=False)
        async with server.bus("gateway") as bus:
            stored = StoredResponses(bus, LIMIT)
            ids = [f"resp_{uuid4().hex}" for _ in range(3)]
            warnings = [await stored.put(key(), one, record("x" * 8_000)) for one in ids]
            assert warnings[:2] == ["", ""]
            assert "could not be kept" in warnings[2]
            assert await stored.get(key(), ids[0]) is not None
            assert await stored.delete(key(), ids[0])
            assert await stored.put(key(), ids[2], record("x" * 8_000)) == ""


async def test_the_bucket_drops_a_response_after_its_time(nats: NatsServer) -> None:  # noqa: F811
    async with nats.bus("setup") as bus:
        info = await bus.jetstream(f"STREAM.INFO.KV_{RESPONSES}", {})
    assert info["config"]["max_age"] == 24 * 3600 * 10**9


async def test_other_services_can_neither_read_nor_write_responses(
    nats: NatsServer,  # noqa: F811
    bus: Bus,
    response_id: str,
) -> None:
    await StoredResponses(bus, LIMIT).put(key(), response_id, record("canary"))
    async with nats.bus("router") as router:
        other = StoredResponses(router, LIMIT)
        with pytest.raises(Refusal):
            await other.get(key(), response_id)


async def test_a_record_holds_nothing_but_what_was_said(bus: Bus, response_id: str) -> None:
    await StoredResponses(bus, LIMIT).put(key(), response_id, record())
    message = (await raw(bus, response_id))["message"]
    kept = json.loads(base64.b64decode(message["data"]))
    assert set(kept) == {"response", "messages", "input_items"}
    assert message["subject"] == f"$KV.{RESPONSES}.acme.key1.{response_id}"
    assert "hdrs" not in message
