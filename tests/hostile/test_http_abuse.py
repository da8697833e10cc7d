"""Clients that come too often, too many at a time, or leave and never read."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from tests.hostile.http_cases import BODY, bearer, chat, get, request
from tests.hostile.world import World
from tests.support.http_edge import open_descriptors, wait_until
from tests.support.raw_http import RawConnection
from tests.support.simulator import chat_body, payloads, spoken

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = b"idempotency-key: "


async def test_c39_guessing_is_slowed_and_honest_clients_of_the_address_are_not(
    world: World,
) -> None:
    texts = len(world.log.texts)
    codes = []
    async with world.connection("127.0.0.2") as client:
        for number in range(130):
            await client.send(get(b"/v1/models", key=bearer(b"canary-51c9-%d" % number)))
            answer = await client.read_answer()
            codes.append(answer.code)
    assert codes[:100] == ["invalid_api_key"] * 100
    assert codes[-1] == "too_many_failed_logins"
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    wrong = get(b"/v1/models", key=bearer(b"<wrong_secret>"))
    assert (await world.ask(wrong, "127.0.0.2")).status == 429
    assert (await world.ask(get(b"/v1/models"), "127.0.0.2")).status == 200
    assert (await world.ask(wrong, "127.0.0.3")).status == 401
    assert "canary" not in "\n".join(world.log.texts[texts:])


async def test_c40_connections_of_an_address_are_capped_and_none_leaks(world: World) -> None:
    await world.ask(get(b"/v1/models"), "127.0.0.4")
    before = open_descriptors()
    async with AsyncExitStack() as stack:
        for _ in range(50):
            await stack.enter_async_context(world.connection("127.0.0.4"))
        answer = await world.ask(get(b"/v1/models"), "127.0.0.4")
        assert (answer.status, answer.code) == (503, "connection_limit")
        assert (await world.ask(get(b"/v1/models"), "127.0.0.5")).status == 200
    endings = (RawConnection.close, RawConnection.reset, RawConnection.half_close)
    for number in range(600):
        async with world.connection("127.0.0.4") as client:
            await client.send((b"", b"GET", world.filled(get(b"/v1/models")), b"\x16")[number % 4])
            endings[number % 3](client)
    await wait_until(lambda: open_descriptors() <= before)


async def test_c41_a_client_that_never_reads_is_cut_and_its_provider_too(world: World) -> None:
    book = world.stack.simulator.book
    gone = book.totals.client_closed
    body = chat_body("numbered-100000", stream=True)
    async with world.connection() as client:
        await client.send(world.filled(request(body=json.dumps(body).encode())))
        await client.read_until(b"data: ")
        async with asyncio.timeout(10):
            await world.stack.simulator.until(lambda totals: totals.client_closed > gone)
    assert book.entries[-1].tokens_sent < 100_000


async def test_c35_pipelined_requests_are_answered_in_order(world: World) -> None:
    streamed = request(body=chat(b',"stream":true'))
    async with world.connection() as client:
        await client.send(world.filled(streamed + get(b"/v1/models/x") + request(key=b"")))
        first, second, third = [await client.read_answer() for _ in range(3)]
    assert spoken(first.body.decode()) == "t0 t1 t2 "
    assert payloads(first.body.decode())[-1] == "[DONE]"
    assert second.json()["id"] == "x"
    assert third.status == 401


async def post(world: World, key: str, token: str, body: dict[str, Any]) -> httpx.Response:
    headers = {"authorization": f"Bearer {world.keys[key]}", "idempotency-key": token}
    async with world.stack.client(headers=headers) as client:
        return await client.post("/v1/chat/completions", json=body)


async def test_c31_one_token_names_one_request_of_one_key(world: World) -> None:
    upstream_requests = world.upstream_requests
    assert (await post(world, "key", "t-1", chat_body())).status_code == 200
    repeated = await post(world, "key", "t-1", chat_body())
    assert (repeated.status_code, repeated.json()["error"]["code"]) == (409, "already_completed")
    assert repeated.headers["x-should-retry"] == "false"
    changed = await post(world, "key", "t-1", chat_body(content="other"))
    assert (changed.status_code, changed.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert world.upstream_requests == upstream_requests + 1
    assert (await post(world, "other", "t-1", chat_body())).status_code == 200
    assert (await post(world, "key", "t-2", chat_body())).status_code == 200


async def test_c31_a_token_of_a_refused_request_stays_free(world: World) -> None:
    refused = await post(world, "key", "t-3", chat_body(stop=5))
    assert refused.status_code == 400
    failed = await post(world, "key", "t-3", chat_body("fault-400"))
    assert failed.status_code == 400
    assert (await post(world, "key", "t-3", chat_body("fault-400"))).status_code == 400


async def test_c31_a_client_that_left_does_not_buy_the_answer_again(world: World) -> None:
    gone = world.stack.simulator.book.totals.client_closed
    body = request(TOKEN + b"t-4", body=chat(b',"stream":true').replace(b"-3", b"-100000"))
    async with world.connection() as client:
        await client.send(world.filled(body))
        await client.read_until(b"data: ")
    async with asyncio.timeout(5):
        await world.stack.simulator.until(lambda totals: totals.client_closed > gone)
    upstream_requests = world.upstream_requests
    assert (await world.ask(body)).status == 409
    assert world.upstream_requests == upstream_requests


async def test_a_key_s_own_models_are_all_that_it_sees_and_its_limit_is_told(world: World) -> None:
    listed = await world.ask(get(b"/v1/models", key=bearer(b"<narrow>")))
    assert [model["id"] for model in listed.json()["data"]] == ["gpt-a"]
    foreign = await world.ask(request(key=bearer(b"<narrow>")))
    assert (foreign.status, foreign.code) == (404, "model_not_found")
    body = BODY.replace(b"numbered-3", b"gpt-a")
    answers = [await world.ask(request(key=bearer(b"<narrow>"), body=body)) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 429]
    refused = answers[1]
    error = refused.json()["error"]
    assert error["message"].startswith("Rate limit exceeded for model gpt-a")
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert 0 < int(refused.headers["retry-after-ms"]) <= 62_000
    assert 0 < int(refused.headers["retry-after"]) <= 62
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"


async def test_nothing_of_a_request_stands_in_metrics(world: World) -> None:
    await world.ask(request())
    await world.ask(request(key=bearer(b"<unknown>"), path=b"/v1/canary-51c9"))
    await world.ask(request(body=BODY.replace(b"numbered-3", b"canary-51c9")[:-1]))
    ports = {
        text.split('"admin_port":')[1].split("}")[0]
        for text in world.log.texts
        if "service_started" in text
    }
    assert len(ports) >= 5
    async with httpx.AsyncClient() as client:
        for port in ports:
            metrics = await client.get(f"http://127.0.0.1:{int(port)}/metrics")
            assert metrics.status_code == 200
            assert [secret for secret in world.secrets() if secret in metrics.text] == []
