"""A tenant's own NATS user turned against us: what it asks, steers and wants answered elsewhere."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from droveway.contracts.client import Cancel, control_subject, request_subject
from droveway.contracts.envelope import token
from droveway.gateway.settings import GatewaySettings
from droveway.runtime.api_key import parse_key
from tests.contracts.test_hostile_bytes import INPUTS
from tests.hostile.nats_cases import EVIL_REPLIES
from tests.hostile.nats_world import (
    OTHER_KEY,
    OTHER_TENANT,
    SPY,
    TENANT,
    WITHIN_S,
    NatsWorld,
    nats_world,
)
from tests.support.pace import Pace
from tests.support.raw_nats import RawNats, raw_nats
from tests.support.simulator import chat_body

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPERATION = "chat-completions"
DROPPED = "droveway_key_rate_dropped_total"
FLOOD, CALM_WITHIN_S = 40_000, 5.0
PER_S = GatewaySettings().max_key_requests_per_s
ENDS = (b'{"t":"completed"', b'{"t":"failed"')
BODY = msgspec.json.encode(chat_body("numbered-5"))
BODIES: dict[str, bytes] = {
    **{name: data for name, data in INPUTS.items() if name != "nothing"},
    "nothing": b"",
    "null": b"null",
    "list": b"[]",
    "200k nested lists": b"[" * 200_000,
    "bytes that are no UTF-8": b'{"model":"\xff"}',
    "lone surrogate": b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
    "NaN": b'{"model":"m","messages":[],"temperature":NaN}',
    "model as pattern": msgspec.json.encode(chat_body("numbered-5") | {"model": ["*", ">"]}),
    "no messages": b'{"model":"numbered-5"}',
    "text behind it": BODY + b"x",
    "zeros": bytes(700_000),
    "over 768 KiB": bytes(800_000),
    "1 MiB": bytes(1024 * 1024),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsWorld]:
    folder = tmp_path_factory.mktemp("door")
    async with nats_world(folder, token_interval_ms=8) as running:
        yield running


def key_id(world: NatsWorld) -> str:
    return parse_key(world.stack.key).id


async def asked(tenant: RawNats, key: str, payload: bytes, operation: str = OPERATION) -> Any:
    """The one answer to a request without frames."""
    inbox = f"_INBOX.t.{key}.app.{token()}"
    answer = await tenant.ask(request_subject(key, operation), payload, inbox)
    return msgspec.msgpack.decode(answer.payload) if payload[:1] in MAPS else _json(answer.payload)


MAPS = {bytes([first]) for first in range(0x80, 0x90)} | {b"\xde", b"\xdf"}


def _json(payload: bytes) -> Any:
    return msgspec.json.decode(payload)


async def test_no_answer_goes_where_a_tenant_may_not_listen(world: NatsWorld) -> None:
    subject = request_subject(key_id(world), OPERATION)
    others = (f"_INBOX.t.{OTHER_KEY}.app.cafe", "_INBOX.t.*.cafe", f"_INBOX.t.{key_id(world)}.>")
    replies = (*EVIL_REPLIES, *others, f"_INBOX.t.{key_id(world)}", "")
    before = await world.value("gateway", "droveway_nats_door_unanswerable_total")
    upstream = world.stack.simulator.book.totals.requests
    async with raw_nats(world.server, SPY) as spy, raw_nats(world.server, TENANT) as tenant:
        spy.subscribe(">")
        await spy.settle()
        for reply in replies:
            tenant.publish(subject, BODY, reply)
        assert await tenant.settle() == []
        await world.answers(5)
        await spy.settle()
        assert [one for one in spy.messages if one.subject in replies] == []
    after = await world.value("gateway", "droveway_nats_door_unanswerable_total")
    assert after - before == len(replies)
    assert world.stack.simulator.book.totals.requests == upstream + 1


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_is_none_is_refused_in_one_answer(world: NatsWorld, body: bytes) -> None:
    upstream = world.stack.simulator.book.totals.requests
    async with raw_nats(world.server, TENANT) as tenant:
        answer = await asked(tenant, key_id(world), body)
        assert answer["t"] == "failed"
        assert 400 <= answer["status"] < 500
        assert answer["error"]["code"]
        assert not answer["should_retry"]
        assert len(tenant.messages) == 1
    assert world.stack.simulator.book.totals.requests == upstream


async def test_an_operation_that_is_none_is_refused(world: NatsWorld) -> None:
    async with raw_nats(world.server, TENANT) as tenant:
        answer = await asked(tenant, key_id(world), BODY, "delete-everything")
    assert (answer["t"], answer["status"]) == ("failed", 404)


@pytest.mark.parametrize("body", [b"{}", BODY], ids=["refused", "served until its limit"])
async def test_a_flood_of_one_tenants_requests_stops_no_other(
    world: NatsWorld, body: bytes
) -> None:
    """Each of its messages is answered, or counted as dropped; most cost no more than that."""
    inbox = f"_INBOX.t.{OTHER_KEY}.app.{token()}"
    subject = request_subject(OTHER_KEY, OPERATION)
    line = b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), inbox.encode(), len(body), body)
    async with (
        raw_nats(world.server, OTHER_TENANT) as evil,
        raw_nats(world.server, TENANT) as tenant,
    ):
        await until_its_share_is_whole(evil)
        evil.messages.clear()
        dropped = await world.value("gateway", DROPPED)
        refused = await world.value("gateway", "droveway_key_rate_refused_total")
        lines = world.log.events["key_floods"]
        began_s = time.monotonic()
        with Pace() as pace:
            await flooded(world, evil, tenant, inbox, line, dropped)
        assert pace.elapsed_s < CALM_WITHIN_S
    running = "droveway_consumer_running"
    await world.until("gateway", running, lambda it: it == 0, consumer="client")
    dropped = await world.value("gateway", DROPPED) - dropped
    refused = await world.value("gateway", "droveway_key_rate_refused_total") - refused
    passed, took_s = FLOOD - dropped - refused, time.monotonic() - began_s
    seconds = 2 + took_s  # the counted ones may begin before it and end after it
    assert 0 < passed <= PER_S * seconds
    assert world.log.events["key_floods"] - lines <= seconds
    assert await world.value("gateway", "droveway_bus_reconnects_total") == 0


async def flooded(
    world: NatsWorld, evil: RawNats, tenant: RawNats, inbox: str, line: bytes, dropped: float
) -> None:
    """Sends the flood and waits until each message of it is answered or counted."""
    evil.subscribe(inbox)
    assert await evil.settle() == []
    evil.send(line * FLOOD)
    await until_served(world, tenant)
    await world.until("gateway", DROPPED, lambda it: it > dropped + 0.9 * FLOOD)
    answered = FLOOD - (await world.value("gateway", DROPPED) - dropped)
    await evil.until(lambda: len(evil.messages) >= answered, WITHIN_S)
    assert len(evil.messages) == answered
    assert [one for one in evil.messages if not one.payload.startswith(ENDS)] == []


async def until_its_share_is_whole(evil: RawNats) -> None:
    """An earlier flood has used up the key's share of a second; then messages are dropped."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    if (await asked(evil, OTHER_KEY, b"{}"))["status"] != 503:
                        return


async def until_served(world: NatsWorld, tenant: RawNats) -> None:
    """Asks until there is an answer; all services share a loop here, so one may be too late."""
    while (answer := await asked(tenant, key_id(world), BODY))["t"] != "completed":
        assert (answer["status"], answer["should_retry"]) == (503, True), answer


async def test_one_tenant_steers_no_answer_of_another(world: NatsWorld) -> None:
    inbox = f"_INBOX.t.{key_id(world)}.app.cafe"
    body = msgspec.json.encode(chat_body("numbered-40", stream=True))
    before = await world.value("gateway", "droveway_client_relay_invalid_total")
    async with (
        raw_nats(world.server, TENANT) as tenant,
        raw_nats(world.server, OTHER_TENANT) as other,
    ):
        tenant.subscribe(inbox)
        flow = b"droveway-flow: none\r\n"
        tenant.publish(request_subject(key_id(world), OPERATION), body, inbox, flow)
        await tenant.until(lambda: len(tenant.messages) > 3)
        opened = msgspec.json.decode(tenant.messages[0].payload)
        words = [
            msgspec.json.encode(Cancel(relay_id=opened["relay_id"])),
            msgspec.json.encode(Cancel(relay_id="0" * 32)), b"", b"{}", b"\xc1", b"[" * 1_000,
        ]  # fmt: skip
        for word in words:
            other.publish(control_subject(OTHER_KEY, world.instance("gateway")), word)
        assert await other.settle() == []
        other.publish(opened["control"], words[0])
        assert "Permissions Violation for Publish" in (await other.settle())[0]
        await tenant.until(lambda: b'"completed"' in tenant.messages[-1].payload)
        assert len(tenant.messages) > 40
    after = await world.value("gateway", "droveway_client_relay_invalid_total")
    assert after - before == len(words)
