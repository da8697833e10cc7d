"""Bytes that no service of ours would send, on every subject that one listens on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_asyncio

from droveway.contracts import usage
from droveway.contracts.admission import (
    AdmissionRequested,
    Admitted,
    Decision,
    Denied,
    decision_decoder,
)
from droveway.contracts.dispatch import CallRouted
from droveway.contracts.envelope import PREFIX, encode, new_request_id, token
from droveway.contracts.inference import InferenceRequested
from droveway.contracts.relay import Credit, control_subject
from droveway.contracts.usage import AttemptRecorded, RequestRecorded
from droveway.runtime.api_key import parse_key
from tests.contracts.samples import SHORT
from tests.contracts.test_hostile_bytes import INPUTS
from tests.hostile.nats_cases import BAD_SUBJECT_TOKENS
from tests.hostile.nats_world import NatsWorld, nats_world
from tests.support.flows import rows_of
from tests.support.raw_nats import raw_nats

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTER = "router-0123456789ab"


class Listener(NamedTuple):
    """One subject that a service listens on, who may publish there, and what counts bad bytes."""

    service: str
    subject: str
    attacker: str
    kind: type[Any]
    metric: str
    labels: dict[str, str]


CONSUMER, RELAY = "droveway_consumer_malformed_total", "droveway_relay_malformed_total"
ADMISSION = "droveway_admission_malformed_total"
LISTENERS = {
    "router": Listener(
        "router", "inference.interactive", "gateway", InferenceRequested, CONSUMER,
        {"consumer": "inference"},
    ),
    "limiter": Listener(
        "limiter", "admission.0", "router", AdmissionRequested, ADMISSION, {}
    ),
    "caller": Listener(
        "caller", "dispatch.default", "router", CallRouted, CONSUMER, {"consumer": "dispatch"}
    ),
    "metrics": Listener(
        "metrics", "usage.default", "caller", AttemptRecorded, "droveway_usage_invalid_total", {}
    ),
    "gateway control": Listener("gateway", "control", "caller", Credit, RELAY, {}),
    "router control": Listener("router", "control", "caller", Credit, RELAY, {}),
    "caller control": Listener("caller", "control", "gateway", Credit, RELAY, {}),
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsWorld]:
    async with nats_world(tmp_path_factory.mktemp("messages")) as running:
        yield running


def sample(kind: type[Any]) -> Any:
    (found,) = [one for one in SHORT if type(one) is kind]
    return found


def bad_payloads(kind: type[Any], max_bytes: int) -> list[bytes]:
    """What isn't a message of `kind`: other bytes, pieces of one, one with wrong fields."""
    good = encode(sample(kind))
    payloads = [data for data in INPUTS.values() if len(data) <= max_bytes]
    payloads += [good[:1], good[: len(good) // 2], good[:-1], good + b"\x00", bytes(max_bytes)]
    if good[:1] >= b"\x90" and good[:1] <= b"\x9f":
        return payloads
    fields = msgspec.msgpack.decode(good)
    payloads += [msgspec.msgpack.encode(fields | {"t": tag}) for tag in _tags(fields["t"])]
    for field in msgspec.structs.fields(kind):
        payloads.append(msgspec.msgpack.encode(fields | {field.name: [{"x": 1.5}]}))
        if field.required:
            others = {name: fields[name] for name in fields if name != field.name}
            payloads.append(msgspec.msgpack.encode(others))
    return payloads


def _tags(tag: str) -> list[Any]:
    return [tag.replace(".v1", ".v255"), tag.upper(), tag + "\n", "", 1, None, [tag]]


def subject_of(world: NatsWorld, listener: Listener) -> str:
    if listener.subject == "control":
        return control_subject(world.instance(listener.service))
    return f"{PREFIX}.{listener.subject}"


def _malformed_rows(payload: bytes) -> int:
    """How many rows a message seems to have, none of which is one; a broken message counts once."""
    found: list[str] = []
    assert usage.rows_of(payload, found.append) == []
    return len(found)


@pytest.mark.parametrize("listener", LISTENERS.values(), ids=LISTENERS)
async def test_bytes_that_are_no_message_are_counted_and_the_handler_lives(
    world: NatsWorld, listener: Listener
) -> None:
    is_row = listener.service == "metrics"
    payloads = bad_payloads(listener.kind, 60_000 if is_row else 1024 * 1024)
    before = await world.value(listener.service, listener.metric, **listener.labels)
    asker = "gateway" if listener.attacker == "gateway" else "router"
    reply = "" if is_row else f"_INBOX.{asker}.{asker}-0123456789ab.cafe"
    async with raw_nats(world.server, listener.attacker) as attacker:
        for payload in payloads:
            attacker.publish(subject_of(world, listener), payload, reply)
        assert await attacker.settle() == []
    expected = before + sum(map(_malformed_rows, payloads) if is_row else [len(payloads)])
    await world.until(
        listener.service, listener.metric, lambda value: value >= expected, **listener.labels
    )
    await world.answers()
    assert await world.value(listener.service, listener.metric, **listener.labels) == expected


@pytest.mark.parametrize("kind", [AttemptRecorded, RequestRecorded])
async def test_a_row_of_absurd_numbers_ends_no_ledger(world: NatsWorld, kind: type[Any]) -> None:
    fields = msgspec.msgpack.decode(encode(sample(kind)))
    before = await world.value("metrics", "droveway_usage_rows_total")
    strange: list[dict[str, Any]] = [
        {"usage": [-1, -1, -1, -1, -1, True]},
        {"usage": [2**64 - 1] * 5 + [False]},
        {"status": -(2**63)},
        {"status": 2**64 - 1},
        {"outcome": "x" * 50_000},
        {"outcome": "\x00\n\u202e"},
        {"began_ns": 2**64 - 1, "times": {"ended_us": 2**64 - 1}},
        {"traceparent": "-" * 50_000},
    ]
    async with raw_nats(world.server, "caller") as attacker:
        for number, change in enumerate(strange):
            own = {"request_id": new_request_id()}
            if kind is AttemptRecorded:
                own["attempt_id"] = number.to_bytes(16, "big")  # type: ignore[assignment]
            row = msgspec.msgpack.encode(fields | own | change)
            attacker.publish(f"{PREFIX}.usage.default", row)
        assert await attacker.settle() == []
    expected = before + len(strange)
    await world.until("metrics", "droveway_usage_rows_total", lambda rows: rows >= expected)
    assert world.log.events["delivery_handler_failed"] == 0
    wanted = ['outcome="other"', 'status="0"'][: 2 if kind is AttemptRecorded else 1]
    exposed = await world.exposed("metrics")
    async with asyncio.timeout(5):  # rows of the test before may have come late
        while not all(label in exposed for label in wanted):
            await asyncio.sleep(0.02)
            exposed = await world.exposed("metrics")
    assert "x" * 100 not in exposed
    await world.answers()


async def test_a_trail_is_read_past_rows_that_are_none(world: NatsWorld) -> None:
    request_id = str((await world.answers(5)).headers["x-request-id"])
    pack = msgspec.msgpack.encode
    start = b"\x83" + b"".join(map(pack, ("t", "request.recorded.v1", "request_id", request_id)))
    async with raw_nats(world.server, "caller") as attacker:
        for field in (pack("x") + b"\x91" * 50_000, b"\xa1\xff\x00", b""):
            attacker.publish(f"{PREFIX}.usage.default", start + field)
        assert await attacker.settle() == []
    assert (await rows_of(world.server, request_id)).complete


HOSTILE_QUESTIONS: dict[str, dict[str, Any]] = {
    "-1 tokens": {"input_tokens": -1},
    "-1 output tokens": {"max_output_tokens": -1},
    "-1 ms": {"remaining_ms": -1},
    "NaN tokens": {"input_tokens": float("nan")},
    "endless tokens": {"max_output_tokens": float("inf")},
    "half a token": {"input_tokens": 0.5},
    "2^64 tokens": {"input_tokens": float(2**64)},
    "2^64 - 1 tokens": {"input_tokens": 2**64 - 1},
    "tokens as text": {"input_tokens": "1"},
    "tokens in 10k dimensions": {"input_tokens": [1] * 10_000},
    "tokens by 10k names": {"input_tokens": {str(number): 1 for number in range(10_000)}},
    "no ms": {"remaining_ms": None},
    "key of many": {"key_id": ["a", "b"]},
    "key as pattern": {"key_id": "*"},
    "key with a dot": {"key_id": "a.b"},
    "key of 10 kB": {"key_id": "a" * 10_000},
    "tenant as pattern": {"tenant": ">"},
    "request id with a line end": {"request_id": "req\n"},
    "model of 10 kB": {"model": "m" * 10_000},
}


async def test_the_limiter_refuses_what_no_request_costs(world: NatsWorld) -> None:
    """None is answered, and none leaves a trace in the key's window."""
    key_id = parse_key(world.stack.key).id
    base = msgspec.msgpack.decode(encode(sample(AdmissionRequested))) | {"key_id": key_id}
    subject = f"{PREFIX}.admission.0"
    async with raw_nats(world.server, "router") as attacker:

        async def asked(**fields: Any) -> Decision:
            body = msgspec.msgpack.encode(base | {"request_id": new_request_id()} | fields)
            answer = await attacker.ask(subject, body, f"_INBOX.router.{ROUTER}.{token()}")
            decision: Decision = decision_decoder.decode(answer.payload)
            return decision

        first = await asked()
        assert isinstance(first, Admitted)
        silence = f"_INBOX.router.{ROUTER}.silence"
        attacker.subscribe(silence)
        for fields in HOSTILE_QUESTIONS.values():
            body = msgspec.msgpack.encode(base | {"request_id": new_request_id()} | fields)
            attacker.publish(subject, body, silence)
        last = await asked(field_of_the_future={"cost": -1})
        assert attacker.on(silence) == []
        unknown = await asked(key_id="somebody-else")
    assert isinstance(last, Admitted)
    assert first.requests is not None
    assert last.requests is not None
    assert last.requests.remaining == first.requests.remaining - 1
    assert isinstance(unknown, Denied)


PLACES = {
    "a gateway's inbox": ("router", b"_INBOX.gateway.%(gateway)b."),
    "a router's inbox": ("limiter", b"_INBOX.router.%(router)b."),
    "a caller's subject": ("gateway", b"droveway.v1.control.caller."),
    "a request": ("gateway", b"droveway.v1.inference."),
    "a dispatch": ("router", b"droveway.v1.dispatch."),
    "a row": ("caller", b"droveway.v1.usage."),
}


@pytest.mark.parametrize("bad", BAD_SUBJECT_TOKENS.values(), ids=BAD_SUBJECT_TOKENS)
async def test_a_subject_that_is_none_deafens_nobody(world: NatsWorld, bad: bytes) -> None:
    names = {
        service.encode(): world.instance(service).encode()
        for service in ("gateway", "router", "caller")
    }
    for user, place in PLACES.values():
        async with raw_nats(world.server, user) as attacker:
            attacker.publish(b"." + place % names + bad, b"x")
            attacker.publish(place % names + bad, b"x")
            await attacker.settle()
    await world.answers()
    for service in ("gateway", "router", "limiter", "caller", "metrics"):
        assert await world.value(service, "droveway_bus_reconnects_total") == 0
        assert await world.value(service, "droveway_bus_connected") == 1


async def test_a_reply_subject_that_is_no_text_deafens_nobody(world: NatsWorld) -> None:
    async with raw_nats(world.server, "gateway") as attacker:
        for bad in (b"\xff\xfe", b"a\x00b", b"\xe2\x82", b"a..b", b".a"):
            for subject in (b"droveway.v1.inference.interactive", b"droveway.v1.control.caller.x"):
                payload = encode(sample(InferenceRequested))
                attacker.send(b"PUB %b %b %d\r\n%b\r\n" % (subject, bad, len(payload), payload))
        await attacker.settle()
        assert not attacker.closed.is_set()
    await world.answers()
