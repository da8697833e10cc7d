"""Too much of everything: messages at the size limit, credit without measure, floods."""

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from droveway.contracts import relay
from droveway.contracts.dispatch import call_decoder
from droveway.contracts.envelope import PREFIX, encode, new_request_id, token
from droveway.contracts.inference import Body, InferenceRequested, Refused
from droveway.runtime.api_key import parse_key
from droveway.runtime.bus import Bus
from droveway.runtime.errors import Overflow
from tests.contracts.samples import SHORT
from tests.hostile.nats_world import SPY, NatsWorld, nats_world
from tests.support.flows import ask
from tests.support.nats import NatsServer
from tests.support.raw_http import raw_connection
from tests.support.raw_nats import RawNats, raw_nats
from tests.support.simulator import chat_body

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_PAYLOAD = 1024 * 1024
ROUTED_AT_ONCE = 50
FLOOD, SLICES = 100_000, 50
CALM_WITHIN_S = 6.0
HELD_BACK = "fault-numbered-9+slow-first-token-20000"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsWorld]:
    folder = tmp_path_factory.mktemp("bounds")
    limits = {"DROVEWAY_ROUTER_MAX_IN_FLIGHT": str(ROUTED_AT_ONCE), "DROVEWAY_DRAIN_S": "0"}
    async with nats_world(folder, environment=limits) as running:
        yield running


async def echoed(bus: Bus, payload: bytes) -> bytes:
    """What comes back of a message to one's own inbox."""
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    inbox = bus.open_inbox(heard.set_result, lambda: None)
    bus.publish(inbox.subject, payload)
    async with asyncio.timeout(5):
        return await heard


async def test_the_largest_message_passes_and_a_larger_one_is_an_error_of_its_sender(
    nats: NatsServer,
) -> None:
    async with nats.bus("gateway") as bus:
        assert bus.max_payload_bytes == MAX_PAYLOAD
        assert len(await echoed(bus, bytes(MAX_PAYLOAD))) == MAX_PAYLOAD
        with pytest.raises(Overflow, match="1048577 bytes exceed max_payload 1048576"):
            bus.publish(f"{PREFIX}.inference.interactive", bytes(MAX_PAYLOAD + 1))
        assert await echoed(bus, b"still there") == b"still there"
        assert bus.statistics().reconnects == 0


async def test_headers_count_as_the_broker_counts_them(nats: NatsServer) -> None:
    headers = {"Nats-Expected-Stream": "OTHER"}
    block = len("NATS/1.0\r\nNats-Expected-Stream: OTHER\r\n\r\n")
    subject = "$KV.idempotency.key1.size"
    async with nats.bus("gateway") as bus:
        fits = await bus.request(subject, bytes(MAX_PAYLOAD - block), 5.0, headers)
        assert b"error" in fits
        with pytest.raises(Overflow, match="exceed max_payload"):
            await bus.request(subject, bytes(MAX_PAYLOAD - block + 1), 5.0, headers)
        assert await echoed(bus, b"still there") == b"still there"
        assert bus.statistics().reconnects == 0
        assert bus.statistics().waiting_answers == 0


async def test_who_sends_more_than_the_broker_takes_harms_himself_only(world: NatsWorld) -> None:
    async with raw_nats(world.server, "gateway") as attacker:
        attacker.publish(f"{PREFIX}.inference.interactive", bytes(MAX_PAYLOAD + 1))
        await attacker.settle()
        assert attacker.closed.is_set()
    await world.answers()
    assert await world.value("router", "droveway_bus_reconnects_total") == 0


async def test_credit_beyond_measure_is_one_window_more(world: NatsWorld) -> None:
    """The client reads nothing; the caller runs no further than each forged credit's window."""
    body = msgspec.json.encode(chat_body("numbered-1000000", stream=True))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
        f"authorization: Bearer {world.stack.key}\r\ncontent-type: application/json\r\n\r\n"
    )
    async with raw_nats(world.server, SPY) as spy, raw_nats(world.server, "gateway") as evil:
        spy.subscribe(f"{PREFIX}.dispatch.*")
        await spy.settle()
        async with raw_connection(world.stack.port) as client:
            await client.send(head.encode() + body)
            call = call_decoder.decode((await spy.heard(f"{PREFIX}.dispatch.default")).payload)
            subject = relay.control_subject(world.instance("caller"))
            await blocked(world)
            kept = await world.value("caller", "droveway_relay_kept_bytes")
            evil.publish(subject, encode(relay.Credit(call.relay_id, 0, 2**53 - 1)))
            assert await evil.settle() == []
            await blocked(world)
            grown = await world.value("caller", "droveway_relay_kept_bytes") - kept
            assert grown <= relay.WINDOW_BYTES + MAX_PAYLOAD / 4
    await world.until("caller", "droveway_caller_in_flight", lambda running: running == 0)
    await world.answers()


async def blocked(world: NatsWorld) -> None:
    """Returns once the one sender waits for credit and has done so for a moment."""
    steady = 0
    async with asyncio.timeout(5):
        while steady < 5:
            waits = await world.value("caller", "droveway_relay_blocked") == 1
            steady = steady + 1 if waits else 0
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("attacker", "subject", "payload"),
    [
        ("gateway", "caller", b"\xc1"),
        ("caller", "gateway", encode(relay.Credit(bytes(16), 0, 2**53 - 1))),
        ("caller", "inbox", b"\xc1"),
        ("router", f"{PREFIX}.dispatch.default", b"\xc1"),
    ],
    ids=["a caller's control", "a gateway's control", "a gateway's inbox", "dispatch"],
)
async def test_a_flood_of_one_subject_stops_no_other(
    world: NatsWorld, attacker: str, subject: str, payload: bytes
) -> None:
    if subject == "inbox":
        subject = f"_INBOX.gateway.{world.instance('gateway')}.cafe"
    elif "." not in subject:
        subject = relay.control_subject(world.instance(subject))
    line = b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(payload), payload)
    began_s = time.monotonic()
    async with raw_nats(world.server, attacker) as evil:
        flood = asyncio.create_task(pour(evil, line))
        statuses = [await status(world)]
        while not flood.done():
            statuses.append(await status(world))
        await flood
    assert 200 in statuses
    assert set(statuses) <= {200, 503}  # 503: it waited too long, and was told when to come again
    await world.answers(5)
    assert time.monotonic() - began_s < CALM_WITHIN_S
    await nobody_was_cut_off(world)


async def pour(evil: RawNats, line: bytes) -> None:
    """The flood, as fast as 100,000 messages a second."""
    for _ in range(SLICES):
        evil.send(line * (FLOOD // SLICES))
        await asyncio.sleep(1 / SLICES)
    assert await evil.settle() == []


async def status(world: NatsWorld) -> int:
    """How one small request is answered now."""
    got = await ask(world.client, chat_body("numbered-5"))
    assert got.status == 200 or "retry-after" in got.headers
    return got.status


async def nobody_was_cut_off(world: NatsWorld) -> None:
    """The server drops who takes too little in two seconds: each service kept up."""
    for service in ("gateway", "router", "limiter", "caller"):
        assert await world.value(service, "droveway_bus_reconnects_total") == 0


async def test_a_flood_of_the_requests_own_subject_passes(world: NatsWorld) -> None:
    """Requests wait behind it, or are refused; each of its messages is counted, few are logged."""
    metric = "droveway_consumer_malformed_total"
    before = await world.value("router", metric)
    lines = world.log.events["bad_message"]
    began_s = time.monotonic()
    async with raw_nats(world.server, "gateway") as evil:
        evil.send(b"PUB droveway.v1.inference.interactive 1\r\n\xc1\r\n" * FLOOD)
        assert await evil.settle() == []
    await world.until("router", metric, lambda counted: counted >= before + FLOOD)
    assert world.log.events["bad_message"] - lines <= 2 + (time.monotonic() - began_s)
    await world.answers(5)
    await nobody_was_cut_off(world)


async def test_a_flood_of_requests_runs_a_bounded_number_and_each_is_answered(
    world: NatsWorld,
) -> None:
    (base,) = [one for one in SHORT if isinstance(one, InferenceRequested)]
    requests = 20 * ROUTED_AT_ONCE
    body = msgspec.json.encode(chat_body(HELD_BACK, stream=True))
    inbox = f"_INBOX.gateway.gateway-0123456789ab.{token()}"
    before = await world.value("router", "droveway_consumer_refused_full_total")
    async with raw_nats(world.server, "gateway") as evil:
        evil.subscribe(inbox)
        for _ in range(requests):
            request = msgspec.structs.replace(
                base, request_id=new_request_id(), relay_id=token().encode()[:16],
                key_id=parse_key(world.stack.key).id, model=HELD_BACK,
                body=Body(size_bytes=len(body), inline=body),
            )  # fmt: skip
            evil.publish(f"{PREFIX}.inference.interactive", encode(request), inbox)
        await evil.until(lambda: len(evil.messages) >= requests)
        refused = [one for one in evil.messages if b"inference.refused" in one.payload]
        assert len(refused) == requests - ROUTED_AT_ONCE
        word = relay.news_decoder.decode(refused[0].payload)
        assert isinstance(word, Refused)
        assert word.failure.code == "overloaded"
        assert await world.value("router", "droveway_consumer_running") == ROUTED_AT_ONCE
    after = await world.value("router", "droveway_consumer_refused_full_total")
    assert after - before == requests - ROUTED_AT_ONCE
