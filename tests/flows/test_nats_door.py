"""Requests over the bus by a plain NATS client: what it gets, and what it may not do."""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import pytest_asyncio

from droveway.cli import ports
from droveway.contracts.access import Key, Limit
from droveway.contracts.client import MAX_MESSAGE_BYTES
from droveway.contracts.config import Config
from droveway.contracts.envelope import PREFIX
from droveway.runtime.api_key import hash_key, make_key, parse_key
from tests.support.bus_client import (
    Answer,
    PlainTenant,
    key_id_of,
    plain_tenant,
    seed_of,
    with_bus_users,
)
from tests.support.flows import (
    ask,
    eventually,
    nothing_open,
    numbered,
    only_first,
    rows_of,
    samples,
)
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN_PORT = ports.free()
LONG_S = float(os.environ.get("DROVEWAY_TEST_LONG_STREAM_S", "3"))
"""How long the long stream takes; `make prove` asks for more than 30 s."""
PACKED = pytest.mark.parametrize("packed", [False, True], ids=["json", "msgpack"])
OTHER, DISABLED, EXPIRED, LIMITED = (make_key("test") for _ in range(4))


def _keys(config: Config) -> Config:
    def key(secret: str, **fields: object) -> Key:
        entry = {"id": parse_key(secret).id, "sha256": hash_key(secret), **fields}
        return msgspec.convert(entry, Key)

    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    more = (
        key(OTHER),
        key(DISABLED, state="disabled"),
        key(EXPIRED, expires=past),
        msgspec.structs.replace(key(LIMITED), limits=(Limit(requests=1, window_s=30),)),
    )
    return msgspec.structs.replace(config, keys=(*config.keys, *more))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("nats-door")
    async with running_stack(
        nats,
        folder,
        configure=lambda config: with_bus_users(nats, only_first(_keys(config))),
        environment={"DROVEWAY_GATEWAY_ADMIN_PORT": str(ADMIN_PORT)},
        token_interval_ms=20,
        book_entries=4000,
    ) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tenant(nats: NatsServer, stack: Stack) -> AsyncIterator[PlainTenant]:
    async with plain_tenant(nats, key_id_of(stack)) as plain:
        yield plain


@PACKED
async def test_a_stream_comes_whole_and_ends_once(tenant: PlainTenant, packed: bool) -> None:
    answer = await tenant.ask(chat_body("numbered-20", stream=True), packed=packed)
    assert answer.frames[0]["t"] == "opened"
    assert answer.is_gap_free
    assert answer.said == numbered(20)
    assert answer.terminal["t"] == "completed"
    assert answer.terminal["finish_reason"] == "stop"
    assert answer.terminal["usage"]["output_tokens"] == 20
    assert "body" not in answer.terminal


async def test_headers_that_http_would_answer_come_with_the_first_frame(
    tenant: PlainTenant,
) -> None:
    answer = await tenant.ask(chat_body(stream=True))
    first, *others = answer.of("chunk")
    headers = first["headers"]
    assert headers["x-request-id"] == answer.frames[0]["request_id"]
    assert headers["x-droveway-provider"] == "upstream-1"
    assert headers["x-droveway-model"] == "numbered-5"
    assert headers["x-droveway-attempts"] == "1"
    assert float(headers["x-droveway-overhead-ms"]) >= 0
    assert headers["x-ratelimit-limit-requests"] == "1000"
    assert not any("headers" in frame for frame in (*others, answer.terminal))


async def test_a_whole_answer_is_one_message(tenant: PlainTenant) -> None:
    async with tenant.asking(chat_body()) as answer:
        await answer.until(lambda it: it.ended)
        await asyncio.sleep(0.6)  # a heartbeat's time
    (only,) = answer.frames
    assert only["body"]["choices"][0]["message"]["content"] == numbered(5)
    assert only["usage"]["output_tokens"] == 5
    assert only["headers"]["x-droveway-provider"] == "upstream-1"
    assert only["headers"]["x-droveway-cached-tokens"] == "0"
    assert answer.replies == [""]
    assert (await tenant.request(chat_body()))["t"] == "completed"


async def test_a_whole_answer_in_msgpack_holds_the_json(tenant: PlainTenant) -> None:
    answer = await tenant.ask(chat_body(), packed=True)
    body = json.loads(answer.terminal["body"])
    assert body["choices"][0]["message"]["content"] == numbered(5)


def _large(size_bytes: int) -> str:
    """A model whose whole answer is so much larger than its text."""
    return f"fault-numbered-5+huge-line-{size_bytes}"


@PACKED
async def test_an_answer_of_300_kb_comes_whole(tenant: PlainTenant, packed: bool) -> None:
    answer = await tenant.ask(chat_body(_large(300_000)), packed=packed)
    body = answer.terminal["body"]
    whole = json.loads(body) if packed else body
    assert len(whole["obfuscation"]) == 300_000
    assert whole["choices"][0]["message"]["content"] == numbered(5)
    assert len(answer.frames) == 1


async def test_a_larger_answer_needs_frames(tenant: PlainTenant) -> None:
    answer = await tenant.ask(chat_body(_large(800_000)))
    assert answer.terminal["t"] == "failed"
    assert answer.terminal["error"]["code"] == "answer_too_large"
    assert "droveway-flow" in answer.terminal["error"]["message"]
    assert len(answer.frames) == 1


@PACKED
async def test_in_frames_it_comes_in_pieces(tenant: PlainTenant, packed: bool) -> None:
    answer = await tenant.ask(chat_body(_large(5_000_000)), packed=packed, droveway_flow="none")
    assert answer.is_gap_free
    assert answer.terminal["t"] == "completed"
    pieces = [chunk["piece"] for chunk in answer.of("chunk")]
    assert len(pieces) > 100
    whole = json.loads(b"".join(pieces) if packed else "".join(pieces))
    assert len(whole["obfuscation"]) == 5_000_000
    assert whole["choices"][0]["message"]["content"] == numbered(5)


async def test_a_whole_answer_may_come_in_frames_though_it_is_small(tenant: PlainTenant) -> None:
    answer = await tenant.ask(chat_body(), droveway_flow="none")
    kinds = [frame["t"] for frame in answer.frames]
    assert [kind for kind in kinds if kind != "heartbeat"] == ["opened", "completed"]
    assert answer.terminal["body"]["choices"][0]["message"]["content"] == numbered(5)


async def test_a_long_stream_comes_whole_with_heartbeats(tenant: PlainTenant) -> None:
    count = int(LONG_S / 0.02)
    async with tenant.asking(chat_body(f"numbered-{count}", stream=True)) as answer:
        await answer.until(lambda it: it.ended, LONG_S * 3 + 10)
    assert answer.said == numbered(count)
    assert answer.is_gap_free
    assert len(answer.of("heartbeat")) >= LONG_S
    assert answer.terminal["t"] == "completed"


async def test_who_unsubscribes_is_noticed_with_the_next_chunk(
    nats: NatsServer, stack: Stack, tenant: PlainTenant
) -> None:
    async with tenant.asking(chat_body("numbered-100000", stream=True)) as answer:
        await answer.until(lambda it: len(it.of("chunk")) > 2)
    await nothing_open(stack, 1.0)
    await _was_cancelled(nats, answer)


async def test_who_unsubscribes_before_the_first_token_is_noticed_by_a_heartbeat(
    nats: NatsServer, stack: Stack, tenant: PlainTenant
) -> None:
    body = chat_body("fault-numbered-9+slow-first-token-20000", stream=True)
    async with tenant.asking(body) as answer:
        await answer.until(lambda it: it.of("opened"))
        await eventually(lambda: stack.simulator.book.totals.open_requests == 1)
    await nothing_open(stack, 2.0)
    await _was_cancelled(nats, answer)


async def test_a_cancel_closes_the_call_and_is_confirmed(
    nats: NatsServer, stack: Stack, tenant: PlainTenant
) -> None:
    async with tenant.asking(chat_body("numbered-100000", stream=True)) as answer:
        await answer.until(lambda it: len(it.of("chunk")) > 2)
        await tenant.steer(answer, {"t": "cancel"})
        await answer.until(lambda it: it.ended)
        await nothing_open(stack, 1.0)
    assert answer.terminal["t"] == "interrupted"
    assert answer.terminal["error"]["code"] == "client_closed_request"
    assert answer.is_gap_free
    await _was_cancelled(nats, answer)


async def _was_cancelled(nats: NatsServer, answer: Answer) -> None:
    trail = await rows_of(nats, answer.frames[0]["request_id"], attempts=1)
    assert trail.request is not None
    assert (trail.request.outcome, trail.request.status) == ("cancelled", 499)
    assert trail.request.protocol == "nats"
    assert {attempt.outcome for attempt in trail.attempts} == {"cancelled"}


async def test_lost_frames_are_sent_again_even_without_credit(tenant: PlainTenant) -> None:
    async with tenant.asking(chat_body("numbered-6", stream=True)) as answer:
        await answer.until(lambda it: it.ended)
        before = list(answer.frames)
        await tenant.steer(answer, {"t": "resend", "from_seq": 2})
        lost = [frame for frame in before if frame.get("seq", 0) >= 2]
        await answer.until(lambda it: len(it.frames) == len(before) + len(lost))
        assert answer.frames[len(before) :] == lost
        await tenant.steer(answer, {"t": "taken"})


async def test_with_credit_a_reader_sets_the_pace(stack: Stack, tenant: PlainTenant) -> None:
    body = chat_body("fault-numbered-9+huge-line-200000", stream=True)
    async with tenant.asking(body, droveway_flow="credit") as answer:
        await answer.until(lambda it: it.of("heartbeat") and it.of("heartbeat")[-1]["blocked"])
        assert not answer.ended
        taken, limit_bytes = 0, 0
        while not answer.ended:
            numbers = [frame["seq"] for frame in answer.frames if "seq" in frame]
            taken, limit_bytes = len(numbers), limit_bytes + 32_768
            credit = {"t": "credit", "next_seq": taken, "limit_bytes": limit_bytes}
            await tenant.steer(answer, credit)
            await asyncio.sleep(0.01)
    assert answer.terminal["t"] == "completed"
    assert answer.said == numbered(9)


async def test_a_probe_is_answered_in_the_keys_inbox(stack: Stack, tenant: PlainTenant) -> None:
    async with tenant.asking(chat_body("numbered-20", stream=True)) as answer:
        await answer.until(lambda it: it.of("opened"))
        (opened,) = answer.of("opened")
        alive = await tenant.connection.request(opened["control"], b'{"t":"probe"}', timeout=2)
        assert alive.data == b""
        await answer.until(lambda it: it.ended)


REFUSED_REPLIES = (
    "", "_INBOX.t.other.x", "_INBOX.t.{key}", "_INBOX.t.{key}.a.b.c.d", "_INBOX.t.{key}.a!",
    f"{PREFIX}.usage.default", "_INBOX.gateway.gateway-0123456789ab.x",
    "$JS.API.STREAM.PURGE.USAGE",
    "_INBOX.t.{key}." + "a" * 65,
)  # fmt: skip


async def test_a_reply_elsewhere_is_never_answered(stack: Stack, tenant: PlainTenant) -> None:
    name = "droveway_nats_door_unanswerable_total"
    before = (await samples(ADMIN_PORT))(name)
    requests = stack.simulator.book.totals.requests
    for reply in REFUSED_REPLIES:
        await tenant.connection.publish(
            tenant.subject, b"{}", reply=reply.format(key=tenant.key_id)
        )
    await tenant.request(chat_body())  # the gateway takes messages in their order
    assert (await samples(ADMIN_PORT))(name) == before + len(REFUSED_REPLIES)
    assert stack.simulator.book.totals.requests == requests + 1


async def test_another_keys_answer_cannot_be_steered(
    nats: NatsServer, stack: Stack, tenant: PlainTenant
) -> None:
    name = "droveway_client_relay_invalid_total"
    before = (await samples(ADMIN_PORT))(name)
    async with (
        plain_tenant(nats, parse_key(OTHER).id) as attacker,
        tenant.asking(chat_body("numbered-20", stream=True)) as answer,
    ):
        await answer.until(lambda it: it.of("opened"))
        (opened,) = answer.of("opened")
        instance = opened["control"].rpartition(".")[2]
        own = f"{PREFIX}.control.t.{attacker.key_id}.{instance}"
        messages: tuple[object, ...] = (
            {"t": "cancel", "relay_id": opened["relay_id"]},
            {"t": "cancel", "relay_id": "0" * 32},
            {"t": "cancel", "relay_id": "../" + "0" * 29},
            {"t": "credit", "relay_id": opened["relay_id"], "next_seq": -1, "limit_bytes": 2**70},
            {"t": "resend", "relay_id": opened["relay_id"], "from_seq": 2**63},
            {"t": "unknown"},
            [],
            "x" * 2000,
        )
        for message in messages:
            await attacker.connection.publish(own, json.dumps(message).encode())
        await attacker.connection.publish(own, b"\x81\xa1t")
        await attacker.connection.publish(own, b'{"t":"probe"}', reply=f"{PREFIX}.usage.default")
        # Under the victim's own subject the broker itself refuses it.
        await attacker.connection.publish(
            opened["control"], json.dumps({"t": "cancel", "relay_id": opened["relay_id"]}).encode()
        )
        await answer.until(lambda it: it.ended)
    assert answer.said == numbered(20)
    assert (await samples(ADMIN_PORT))(name) == before + 10


@pytest.mark.parametrize(
    ("key", "code"), [(DISABLED, "key_disabled"), (EXPIRED, "key_expired")], ids=["off", "expired"]
)
async def test_a_key_that_is_not_in_force_is_refused(
    nats: NatsServer, stack: Stack, key: str, code: str
) -> None:
    async with plain_tenant(nats, parse_key(key).id) as refused:
        answer = await refused.request(chat_body())
    assert (answer["t"], answer["status"], answer["error"]["code"]) == ("failed", 401, code)
    assert not answer["should_retry"]


async def test_a_limit_is_told_as_http_tells_it(nats: NatsServer, stack: Stack) -> None:
    async with plain_tenant(nats, parse_key(LIMITED).id) as limited:
        assert (await limited.request(chat_body()))["t"] == "completed"
        told = await limited.request(chat_body())
        in_frames = await limited.ask(chat_body(stream=True))
    async with stack.client(headers={"authorization": f"Bearer {LIMITED}"}) as client:
        over_http = await ask(client, chat_body())
    assert told["status"] == over_http.status == 429
    assert told["should_retry"]
    assert over_http.headers["x-should-retry"] == "true"
    assert told["retry_after_ms"] > 1_000
    assert in_frames.terminal["status"] == 429
    assert in_frames.terminal["t"] == "failed"
    for name in ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"):
        assert told["headers"][name] == over_http.headers[name]
    assert {"retry-after", "retry-after-ms"} <= told["headers"].keys()
    assert told["error"].keys() == over_http.error.keys()
    assert told["error"]["type"] == over_http.error["type"]


async def test_one_idempotency_key_names_one_request(stack: Stack, tenant: PlainTenant) -> None:
    token = secrets.token_hex(8)
    requests = stack.simulator.book.totals.requests
    first = await tenant.request(chat_body(), idempotency_key=token)
    again = await tenant.request(chat_body(), idempotency_key=token)
    other = await tenant.request(chat_body("numbered-6"), idempotency_key=token)
    bad = await tenant.request(chat_body(), idempotency_key="x" * 300)
    assert first["t"] == "completed"
    assert (again["status"], again["error"]["code"]) == (409, "already_completed")
    assert (other["status"], other["error"]["code"]) == (422, "idempotency_key_reused")
    assert (bad["status"], bad["error"]["code"]) == (400, "invalid_idempotency_key")
    assert stack.simulator.book.totals.requests == requests + 1


async def test_a_key_stays_taken_when_its_request_may_still_cost(
    stack: Stack, tenant: PlainTenant
) -> None:
    """The gateway gives up at the deadline and can't know what the attempt will have cost."""
    body, token = chat_body("fault-slow-first-token-1500"), secrets.token_hex(8)
    requests = stack.simulator.book.totals.requests
    first = await tenant.request(body, idempotency_key=token, x_request_timeout="0.4")
    again = await tenant.request(body, idempotency_key=token)
    assert (first["status"], first["error"]["code"]) == (504, "deadline_exceeded")
    assert (again["status"], again["error"]["code"]) == (409, "already_completed")
    assert stack.simulator.book.totals.requests == requests + 1


async def test_a_key_is_free_when_no_provider_was_asked(stack: Stack, nats: NatsServer) -> None:
    async with plain_tenant(nats, parse_key(LIMITED).id) as plain:
        limited = {"idempotency_key": secrets.token_hex(8)}
        answers = [await plain.request(chat_body()), await plain.request(chat_body(), **limited)]
        answers.append(await plain.request(chat_body(), **limited))
    assert [answer["status"] for answer in answers[1:]] == [429, 429]


async def test_credit_that_grants_nothing_outlives_no_deadline(tenant: PlainTenant) -> None:
    body = chat_body("numbered-5000", stream=True)
    async with tenant.asking(body, droveway_flow="credit", x_request_timeout="1") as answer:
        await answer.until(lambda it: it.of("chunk"))
        while not answer.ended:
            await tenant.steer(answer, {"t": "credit", "next_seq": 0, "limit_bytes": 0})
            await asyncio.sleep(0.1)
    assert answer.terminal["t"] == "interrupted"
    # Whose clock is first, the gateway's or that of the caller, which waits for credit too.
    assert answer.terminal["error"]["code"] in ("deadline_exceeded", "stream_stalled")


async def test_both_doors_share_the_idempotency_keys(stack: Stack, tenant: PlainTenant) -> None:
    token = secrets.token_hex(8)
    body = json.dumps(chat_body()).encode()
    first = await tenant.ask(body, idempotency_key=token)
    assert first.terminal["t"] == "completed"
    async with stack.client(headers={"content-type": "application/json"}) as client:
        again = await client.post(
            "/v1/chat/completions", content=body, headers={"idempotency-key": token}
        )
    assert again.status_code == 409


REFUSALS = {
    "nothing": (b"", 400, "invalid_json"),
    "no JSON": (b"hello", 400, "invalid_json"),
    "a list": (b"[]", 400, "invalid_request"),
    "truncated msgpack": (b"\x82\xa5model", 400, "invalid_json"),
    "msgpack of 2^32 members": (b"\xdf\xff\xff\xff\xff", 400, "invalid_json"),
    "deep msgpack": (b"\x81\xa1x" * 100_000, 400, "invalid_request"),
    "binary in msgpack": (
        msgspec.msgpack.encode({**chat_body(), "user": b"x"}), 400, "invalid_json",
    ),
    "an unknown model": (
        json.dumps({**chat_body(), "model": ""}).encode(), 400, "invalid_request",
    ),
    "one byte too many": (b"{" + b" " * MAX_MESSAGE_BYTES, 413, "request_too_large"),
}  # fmt: skip


@pytest.mark.parametrize(("payload", "status", "code"), REFUSALS.values(), ids=REFUSALS)
async def test_a_bad_request_is_refused_as_http_refuses_it(
    stack: Stack, tenant: PlainTenant, payload: bytes, status: int, code: str
) -> None:
    requests = stack.simulator.book.totals.requests
    packed = payload[:1] in (b"\x81", b"\x82", b"\xdf") or payload[:1] >= b"\x80"
    answer = await tenant.ask(payload, packed=packed)
    assert len(answer.frames) == 1
    assert (answer.terminal["status"], answer.terminal["error"]["code"]) == (status, code)
    assert stack.simulator.book.totals.requests == requests


@pytest.mark.parametrize("flow", ["", "fast", "none, credit"])
async def test_another_flow_is_refused(tenant: PlainTenant, flow: str) -> None:
    answer = await tenant.ask(chat_body(), droveway_flow=flow)
    assert answer.terminal["status"] == 400
    assert answer.terminal["error"]["param"] == "droveway-flow"


async def test_an_unknown_operation_is_a_404(tenant: PlainTenant) -> None:
    subject = f"{PREFIX}.request.{tenant.key_id}.images"
    answer = await tenant.connection.request(subject, b"{}", timeout=5)
    refused = json.loads(answer.data)
    assert (refused["status"], refused["error"]["code"]) == (404, "unknown_url")
    assert "chat-completions" in refused["error"]["message"]


async def test_headers_beyond_their_bounds_are_a_431(tenant: PlainTenant) -> None:
    many = {f"x-{number}": "y" for number in range(100)}
    answer = await tenant.request(chat_body(), **many)
    assert (answer["status"], answer["error"]["code"]) == (431, "request_header_fields_too_large")
    answer = await tenant.request(chat_body(), traceparent="bad", x_request_timeout="-5")
    assert answer["t"] == "completed"


async def test_a_provider_that_breaks_off_interrupts_the_answer(tenant: PlainTenant) -> None:
    answer = await tenant.ask(chat_body("fault-cut-after-5", stream=True))
    assert answer.terminal["t"] == "interrupted"
    assert answer.terminal["error"]["code"] == "stream_interrupted"
    assert answer.terminal["error"]["request_id"] == answer.frames[0]["request_id"]
    assert answer.said
    assert answer.is_gap_free


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_provider_that_fails_is_told_with_what_was_tried(
    tenant: PlainTenant, stream: bool
) -> None:
    answer = await tenant.ask(chat_body("fault-503", stream=stream))
    assert answer.terminal["t"] == "failed"
    assert answer.terminal["status"] == 503
    assert answer.terminal["error"]["details"][0]["target"] == "upstream-1/fault-503"
    assert answer.terminal["headers"]["x-request-id"].startswith("req_")


async def test_a_deadline_that_passes_is_told(tenant: PlainTenant) -> None:
    body = chat_body("fault-numbered-9+slow-first-token-20000")
    answer = await tenant.request(body, x_request_timeout="0.3")
    assert (answer["status"], answer["error"]["code"]) == (504, "deadline_exceeded")


async def test_a_user_can_do_nothing_but_ask_steer_and_hear(
    nats: NatsServer, stack: Stack, tenant: PlainTenant
) -> None:
    errors: list[str] = []

    async def on_error(error: Exception) -> None:
        errors.append(str(error))

    key_id, other = key_id_of(stack), parse_key(OTHER).id
    from nats.aio.client import Client as PlainClient

    connection = PlainClient()
    await connection.connect(
        nats.url, nkeys_seed=str(seed_of(nats, key_id)), error_cb=on_error, allow_reconnect=False
    )
    forbidden = (
        f"{PREFIX}.request.{other}.chat-completions", f"{PREFIX}.request.{key_id}.a.b",
        f"{PREFIX}.control.t.{other}.gateway-1", f"{PREFIX}.control.gateway.gateway-1",
        f"{PREFIX}.inference.interactive", f"_INBOX.t.{key_id}.x", f"_INBOX.t.{other}.x",
        "$JS.API.INFO", "$SYS.REQ.SERVER.PING", "$SRV.PING",
    )  # fmt: skip
    for subject in forbidden:
        await connection.publish(subject, b"{}")
        await connection.flush()
        await connection.flush()
    heard = (">", "_INBOX.>", "_INBOX.t.>", f"_INBOX.t.{other}.>", f"{PREFIX}.>", "$SRV.>")
    for subject in heard:
        await connection.subscribe(subject)
        await connection.flush()
        await connection.flush()
    assert len(errors) == len(forbidden) + len(heard), errors
    assert all("permissions violation" in error for error in errors)
    await connection.close()
