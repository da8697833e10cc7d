"""Where a taken-over service wants our answers to go, and what it wants JetStream to do."""

import os
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from droveway.contracts import relay
from droveway.contracts.admission import AdmissionRequested, Admitted, decision_decoder
from droveway.contracts.dispatch import CallRouted
from droveway.contracts.envelope import PREFIX, encode, new_request_id, token
from droveway.contracts.inference import InferenceRequested
from droveway.contracts.jetstream import IDEMPOTENCY, USAGE
from droveway.runtime.api_key import parse_key
from tests.contracts.samples import SHORT
from tests.hostile.nats_cases import EVIL_REPLIES, FORBIDDEN_HEADERS, STREAM_FEATURES
from tests.hostile.nats_world import NatsWorld, nats_world
from tests.support.raw_nats import RawNats, raw_nats

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAMS = (USAGE, f"KV_{IDEMPOTENCY}")
GOOD = "droveway.v1.usage.good"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsWorld]:
    async with nats_world(tmp_path_factory.mktemp("replies")) as running:
        yield running


def sample(kind: type[Any]) -> Any:
    """A message that its receiver would act upon."""
    (found,) = [one for one in SHORT if type(one) is kind]
    return found


def admission(world: NatsWorld) -> bytes:
    key_id = parse_key(world.stack.key).id
    asked = sample(AdmissionRequested)
    return encode(msgspec.structs.replace(asked, key_id=key_id, request_id=new_request_id()))


def question(world: NatsWorld, subject: str) -> bytes:
    """A valid message for a subject, new each time."""
    if subject.endswith("admission.0"):
        return admission(world)
    if "control" in subject:
        return encode(relay.Heartbeat("gateway-0123456789ab"))
    kind = CallRouted if "dispatch" in subject else InferenceRequested
    own = {"relay_id": token().encode()[:16], "request_id": new_request_id()}
    return encode(msgspec.structs.replace(sample(kind), **own))


@pytest.mark.parametrize(
    ("attacker", "subject"),
    [
        ("gateway", f"{PREFIX}.inference.interactive"),
        ("router", f"{PREFIX}.admission.0"),
        ("router", f"{PREFIX}.dispatch.default"),
        ("gateway", "caller"),
        ("gateway", "router"),
        ("caller", "gateway"),
    ],
)
async def test_no_service_answers_to_what_is_no_inbox_of_who_may_ask(
    world: NatsWorld, attacker: str, subject: str
) -> None:
    if "." not in subject:
        subject = relay.control_subject(world.instance(subject))
    refused = await misaddressed(world, subject)
    async with raw_nats(world.server, "spy") as spy, raw_nats(world.server, attacker) as evil:
        spy.subscribe(">")
        await spy.settle()
        for reply in (*EVIL_REPLIES, ""):
            evil.publish(subject, question(world, subject), reply)
        assert await evil.settle() == []
        await spy.until(lambda: len(spy.on(subject)) > len(EVIL_REPLIES))
        await world.answers()
        await spy.settle()
        answered = [one for one in spy.messages if one.subject in EVIL_REPLIES]
        assert answered == []
    if "control" not in subject:
        assert await misaddressed(world, subject) - refused > len(EVIL_REPLIES)


async def test_discovery_tells_nobody_but_operators(world: NatsWorld) -> None:
    services = ("gateway", "router", "limiter", "caller", "metrics")
    before = [await world.value(one, "droveway_discovery_refused_total") for one in services]
    async with raw_nats(world.server, "spy") as spy, raw_nats(world.server, "operator") as evil:
        spy.subscribe(">")
        await spy.settle()
        for reply in (*EVIL_REPLIES, ""):
            for verb in ("PING", "INFO", "STATS"):
                evil.publish(f"$SRV.{verb}", os.urandom(16), reply)
        assert await evil.settle() == []
        await world.answers()
        await spy.settle()
        assert [one for one in spy.messages if one.subject in EVIL_REPLIES] == []
    for service, earlier in zip(services, before, strict=True):
        refused = await world.value(service, "droveway_discovery_refused_total") - earlier
        assert refused == 3 * (len(EVIL_REPLIES) + 1)


async def misaddressed(world: NatsWorld, subject: str) -> float:
    """Messages that weren't acted upon for their reply subject."""
    if subject.endswith("admission.0"):
        return await world.value("limiter", "droveway_admission_refused_total")
    service = "caller" if "dispatch" in subject else "router"
    return await world.value(service, f"droveway_{service}_misaddressed_total")


async def test_a_caller_relays_to_no_inbox_but_a_doors(world: NatsWorld) -> None:
    subject = f"{PREFIX}.dispatch.default"
    refused = await misaddressed(world, subject)
    async with raw_nats(world.server, "spy") as spy, raw_nats(world.server, "router") as evil:
        spy.subscribe(">")
        await spy.settle()
        for answer_to in EVIL_REPLIES:
            call = msgspec.structs.replace(sample(CallRouted), answer_to=answer_to)
            evil.publish(subject, encode(call), "_INBOX.router.router-0123456789ab.cafe")
        await evil.settle()
        await world.answers()
        assert [one for one in spy.messages if one.subject in EVIL_REPLIES] == []
    assert await misaddressed(world, subject) - refused == len(EVIL_REPLIES)


async def test_a_door_sends_a_body_to_no_inbox_but_a_callers(world: NatsWorld) -> None:
    subject = relay.control_subject(world.instance("gateway"))
    before = await world.value("gateway", "droveway_relay_malformed_total")
    async with raw_nats(world.server, "spy") as spy, raw_nats(world.server, "caller") as evil:
        spy.subscribe(">")
        await spy.settle()
        for answer_to in EVIL_REPLIES:
            pull = relay.Pull(bytes(16), answer_to, "caller-0123456789ab", bytes(16))
            evil.publish(subject, encode(pull))
        await evil.settle()
        await world.answers()
        assert [one for one in spy.messages if one.subject in EVIL_REPLIES] == []
    after = await world.value("gateway", "droveway_relay_malformed_total")
    assert after - before == len(EVIL_REPLIES)


async def test_the_limiter_answers_who_asks_as_a_router(world: NatsWorld) -> None:
    async with raw_nats(world.server, "router") as router:
        inbox = "_INBOX.router.router-0123456789ab.cafe"
        answer = await router.ask(f"{PREFIX}.admission.0", admission(world), inbox)
    assert isinstance(decision_decoder.decode(answer.payload), Admitted)


async def info(setup: RawNats, stream: str, subject: str = "") -> dict[str, Any]:
    """A stream's configuration and state; with `subject` also how many it has under that."""
    inbox = f"_INBOX.setup.setup-0123456789ab.{token()}"
    only = msgspec.json.encode({"subjects_filter": subject}) if subject else b""
    answer = await setup.ask(f"$JS.API.STREAM.INFO.{stream}", only, inbox)
    found: dict[str, Any] = msgspec.json.decode(answer.payload)
    return found


async def test_jetstreams_own_answers_do_nothing_wherever_they_are_sent(world: NatsWorld) -> None:
    """The server answers a stored message to any reply subject: its permissions aren't ours."""
    async with raw_nats(world.server, "caller") as evil, raw_nats(world.server, "setup") as setup:
        before = [await info(setup, stream) for stream in STREAMS]
        for stream in STREAMS:
            for verb in ("PURGE", "DELETE", "MSG.DELETE", "UPDATE", "RESTORE"):
                evil.publish(GOOD, b"x", f"$JS.API.STREAM.{verb}.{stream}")
        evil.publish(GOOD, b"x", "$JS.API.CONSUMER.DELETE.USAGE.metrics")
        for service in ("router", "caller", "gateway"):
            evil.publish(GOOD, b"x", relay.control_subject(world.instance(service)))
        for subject in ("inference.interactive", "admission.0", "dispatch.default"):
            evil.publish(GOOD, b"x", f"{PREFIX}.{subject}")
        assert await evil.settle() == []
        await world.answers()
        after = [await info(setup, stream) for stream in STREAMS]
    for then, now in zip(before, after, strict=True):
        assert now["config"] == then["config"]
        assert now["state"]["messages"] >= then["state"]["messages"]
        assert now["state"]["first_seq"] == then["state"]["first_seq"] or not then["state"]["bytes"]
        assert now["state"]["consumer_count"] == then["state"]["consumer_count"]


async def test_an_acknowledgement_of_somebody_else_is_refused(world: NatsWorld) -> None:
    async with raw_nats(world.server, "caller") as evil:
        evil.publish(GOOD, b"x", f"$JS.ACK.{USAGE}.metrics.1.1.1.1.0")
        (error,) = await evil.settle()
    assert "Permissions Violation for Publish with Reply" in error


async def test_no_stream_has_a_feature_that_a_header_could_use(world: NatsWorld) -> None:
    async with raw_nats(world.server, "setup") as setup:
        for stream in STREAMS:
            config = (await info(setup, stream))["config"]
            assert [name for name in STREAM_FEATURES if config.get(name)] == []
            assert config["deny_delete"]
            assert config["deny_purge"]


@pytest.mark.parametrize("headers", FORBIDDEN_HEADERS.values(), ids=FORBIDDEN_HEADERS)
@pytest.mark.parametrize("subject", [GOOD, f"$KV.{IDEMPOTENCY}.key1.good"])
async def test_a_message_with_such_a_header_is_refused(
    world: NatsWorld, headers: bytes, subject: str
) -> None:
    stream = USAGE if subject == GOOD else STREAMS[1]
    first, second = (f"_INBOX.gateway.gateway-0123456789ab.{token()}" for _ in range(2))
    async with raw_nats(world.server, "gateway") as evil, raw_nats(world.server, "setup") as setup:
        for inbox in (first, second):
            evil.subscribe(inbox)
        evil.publish(subject, b"first", first)
        await evil.heard(first)  # it is stored
        before = (await info(setup, stream, subject))["state"]["subjects"]
        evil.publish(subject, b"x", second, headers)
        answer = msgspec.json.decode((await evil.heard(second)).payload)
        after = (await info(setup, stream, subject))["state"]["subjects"]
    assert answer["error"]["err_code"] > 10_000
    assert after == before != {}
