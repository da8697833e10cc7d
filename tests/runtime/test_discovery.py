"""Service discovery as `nats micro` has it, asked by a plain nats-py client as the operator."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jsonschema
import msgspec
import nats.aio.client
import pytest

from droveway.contracts import discovery as contract
from droveway.contracts.envelope import encode, new_instance
from droveway.contracts.inference import Accepted
from droveway.runtime.bus import Bus
from droveway.runtime.consumer import Consumer, on_message
from droveway.runtime.discovery import Discovery, semantic_version
from tests.support.nats import NatsServer
from tests.support.waiting import settled

TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
NAME = {"type": "string", "pattern": r"^[A-Za-z0-9_-]+$"}
METADATA = {"type": "object", "additionalProperties": TEXT}
SEMVER = {
    "type": "string",
    "pattern": r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$",
}
RFC3339 = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}


def whole(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def answer(verb: str, **properties: Any) -> dict[str, Any]:
    kind = {"const": f"io.nats.micro.v1.{verb.lower()}_response"}
    return whole(type=kind, name=NAME, id=TEXT, version=SEMVER, metadata=METADATA, **properties)


LISTENS = {"name": NAME, "subject": TEXT, "queue_group": TEXT}
NUMBERS = dict.fromkeys(
    ("num_requests", "num_errors", "processing_time", "average_processing_time"), COUNT
)
SCHEMAS = {
    "PING": answer("PING"),
    "INFO": answer(
        "INFO",
        description=TEXT,
        endpoints={"type": "array", "items": whole(**LISTENS, metadata=METADATA)},
    ),
    "STATS": answer(
        "STATS",
        started=RFC3339,
        endpoints={"type": "array", "items": whole(**LISTENS, **NUMBERS, last_error=TEXT)},
    ),
}
"""The fields of NATS ADR-32, revision 6."""
MESSAGE = encode(Accepted(request_id="r", router="router-1"))
DECODER = msgspec.msgpack.Decoder(Accepted)


class Operator:
    """A plain client with the operator's seed."""

    def __init__(self, client: nats.aio.client.Client) -> None:
        self.client = client

    async def ask(self, subject: str) -> dict[str, Any]:
        reply = await self.client.request(subject, b"", timeout=2)
        found: dict[str, Any] = json.loads(reply.data)
        return found


@asynccontextmanager
async def operator(server: NatsServer) -> AsyncIterator[Operator]:
    client = nats.aio.client.Client()
    seed = str(server.folder.seed_file("operator"))
    await client.connect(server.url, nkeys_seed=seed, inbox_prefix="_INBOX.operator")
    try:
        yield Operator(client)
    finally:
        await client.close()


@asynccontextmanager
async def discoverable(
    server: NatsServer, service: str = "router", answers_per_s: int = 1_000
) -> AsyncIterator[tuple[Bus, Discovery]]:
    async with server.bus(service) as bus:
        discovery = Discovery(bus, answers_per_s)
        await discovery.listen()
        yield bus, discovery


@pytest.mark.parametrize("verb", contract.VERBS)
@pytest.mark.parametrize("width", [0, 1, 2], ids=["all", "name", "instance"])
async def test_an_answer_has_the_form_of_the_protocol(
    verb: contract.Verb, width: int, nats: NatsServer
) -> None:
    async with discoverable(nats) as (bus, _), operator(nats) as asking:
        await bus.subscribe("droveway.v1.inference.interactive", lambda *_: None, "router")
        found = await asking.ask(contract.subjects(verb, "router", bus.instance)[width])
    jsonschema.validate(found, SCHEMAS[verb])
    assert (found["name"], found["id"]) == ("droveway-router", bus.instance)
    assert found["metadata"]["service"] == "router"
    if verb != "PING":
        (endpoint,) = found["endpoints"]
        assert (endpoint["name"], endpoint["queue_group"]) == ("inference", "router")
        assert endpoint["subject"] == "droveway.v1.inference.interactive"


@pytest.mark.parametrize("service", ["gateway", "router", "limiter", "caller", "metrics"])
async def test_every_service_may_answer(service: str, nats: NatsServer) -> None:
    async with discoverable(nats, service) as (bus, _), operator(nats) as asking:
        for verb in contract.VERBS:
            for subject in contract.subjects(verb, service, bus.instance):
                assert (await asking.ask(subject))["id"] == bus.instance


async def test_another_name_or_instance_is_not_answered(nats: NatsServer) -> None:
    async with discoverable(nats) as (bus, discovery), operator(nats) as asking:
        for tail in ("droveway-limiter", f"droveway-router.{new_instance('router')}", "router"):
            with pytest.raises(Exception, match="no responders"):
                await asking.ask(f"$SRV.PING.{tail}")
        await bus.settle()
        assert discovery.statistics() == (0, 0, 0)


async def test_numbers_are_those_of_the_work(nats: NatsServer) -> None:
    go = asyncio.Event()

    async def handle(_message: Accepted, reply: str) -> None:
        await go.wait()
        if reply == "boom":
            raise ZeroDivisionError("words of a client")

    subject = "droveway.v1.inference.interactive"
    async with (
        discoverable(nats) as (bus, _),
        nats.bus("gateway") as gateway,
        operator(nats) as asking,
        asyncio.TaskGroup() as tasks,
    ):
        consumer = Consumer("inference", tasks, 2)
        receive = on_message(consumer, DECODER, handle, lambda *_: None)
        await bus.subscribe(subject, receive, "router")
        for payload, reply in ((MESSAGE, ""), (MESSAGE, "boom"), (MESSAGE, ""), (b"\xc1", "")):
            gateway.publish(subject, payload, reply)
        await gateway.settle()
        await bus.settle()
        go.set()
        await consumer.drain(2)
        found = await asking.ask("$SRV.STATS.droveway-router")
    (endpoint,) = found["endpoints"]
    assert (endpoint["num_requests"], endpoint["num_errors"]) == (4, 3)
    assert endpoint["last_error"] == "ZeroDivisionError"
    assert endpoint["processing_time"] > 0
    assert endpoint["average_processing_time"] == endpoint["processing_time"] // 4


async def test_work_in_the_read_loop_is_counted_too(nats: NatsServer) -> None:
    def handle(payload: bytes, _reply: str) -> None:
        if payload:
            raise KeyError("words of a client")

    subject = "droveway.v1.admission.0"
    async with (
        discoverable(nats, "limiter") as (bus, _),
        nats.bus("router") as router,
        operator(nats) as asking,
    ):
        await bus.subscribe(subject, handle, "limiter")
        for payload in (b"", b"x", b""):
            router.publish(subject, payload)
        await router.settle()
        await bus.settle()
        (endpoint,) = (await asking.ask("$SRV.STATS"))["endpoints"]
    assert (endpoint["num_requests"], endpoint["num_errors"]) == (3, 1)
    assert endpoint["last_error"] == "KeyError"


REPLIES = {
    "nothing": "",
    "another service": f"_INBOX.gateway.{new_instance('gateway')}.x",
    "no token": "_INBOX.operator",
    "four tokens": "_INBOX.operator.a.b.c.d",
    "not ours": "_INBOX.operators.x",
    "not a token": "_INBOX.operator.a=b",
    "a subject": "droveway.v1.usage.acme",
    "long": "_INBOX.operator." + "x" * 65,
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
async def test_only_an_operators_inbox_is_answered(reply: str, nats: NatsServer) -> None:
    async with discoverable(nats) as (bus, discovery), nats.bus("operator") as asking:
        asking.publish(f"$SRV.PING.droveway-router.{bus.instance}", b"", reply)
        await asking.settle()
        await bus.settle()
        assert discovery.statistics() == (0, 1, 0)


@pytest.mark.parametrize("reply", ["_INBOX.operator.a\n", "x_INBOX.operator.a", "_INBOX.operator."])
def test_an_inbox_is_told_by_the_whole_of_it(reply: str) -> None:
    assert contract.OPERATOR_INBOX.fullmatch(reply) is None


async def test_a_flood_of_questions_gets_a_bounded_number_of_answers(nats: NatsServer) -> None:
    bound, asked = 5, 400
    async with discoverable(nats, answers_per_s=bound) as (bus, discovery), operator(nats) as one:
        began_s = asyncio.get_running_loop().time()
        for _ in range(asked):
            await one.client.publish("$SRV.STATS", reply="_INBOX.operator.flood")
        await settled(one.client)
        await bus.settle()
        seconds = int(asyncio.get_running_loop().time() - began_s) + 2
        found = discovery.statistics()
    assert found.handled + found.dropped == asked
    assert bound <= found.handled <= bound * seconds


async def test_answers_come_again_after_a_reconnect(own_nats: NatsServer) -> None:
    async with discoverable(own_nats) as (bus, _):
        again = asyncio.Event()
        bus.on_reconnected(again.set)
        own_nats.kill()
        own_nats.start()
        async with asyncio.timeout(10):
            await again.wait()
        async with operator(own_nats) as asking:
            assert (await asking.ask("$SRV.PING"))["id"] == bus.instance


VERSIONS = {
    "0.1.0": "0.1.0", "1.2.3rc1": "1.2.3-rc1", "1.2.3a2": "1.2.3-a2", "1.2.3.dev4": "1.2.3-dev4",
}  # fmt: skip


@pytest.mark.parametrize(("version", "semantic"), VERSIONS.items())
def test_a_package_version_becomes_a_semantic_one(version: str, semantic: str) -> None:
    assert semantic_version(version) == semantic
    jsonschema.validate(semantic, SEMVER)


def test_what_is_no_version_is_refused() -> None:
    with pytest.raises(ValueError, match="'one' is no version: expected"):
        semantic_version("one")
