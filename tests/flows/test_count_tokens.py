"""The size of a prompt: a provider's own count where one of the model's can tell, else a guess."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from droveway.contracts.access import Key, Limit
from droveway.contracts.config import Config
from droveway.contracts.relay import Usage
from droveway.gateway.doors.count_tokens import EXACT_WITHIN_S
from droveway.runtime.api_key import hash_key, make_key, parse_key
from droveway.simulator.book import Entry
from tests.support.flows import entries, nothing_open, route, rows_of
from tests.support.nats import NatsServer
from tests.support.simulator import message_body
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/messages/count_tokens"
ESTIMATED = "x-droveway-estimated"
FAILING = (
    "fault-500", "fault-401", "fault-403", "fault-404", "fault-429", "fault-529", "fault-html",
    "fault-reset-before-headers",
)  # fmt: skip
MODELS = ("numbered-5", "fault-400", "fault-silence", *FAILING)
LATE_S = 1.0
"""A busy machine."""
LIMITED = {
    "one-request": Limit(requests=1, window_s=600),
    "few-tokens": Limit(tokens=1, window_s=600),
    "one-at-a-time": Limit(concurrency=1),
}
SECRETS = {name: make_key("test") for name in LIMITED}


def _configure(config: Config) -> Config:
    """The second provider speaks Anthropic's dialect."""
    first, second = config.providers
    second = msgspec.structs.replace(second, dialect="anthropic", kind="anthropic")
    routes = [route(model, (second.id, model)) for model in MODELS]
    routes += [
        route("openai", (first.id, "numbered-5")),
        route("openai-first", (first.id, "numbered-5"), (second.id, "numbered-5")),
        route("rescued", (second.id, "fault-500"), (second.id, "numbered-5")),
    ]
    keys = [
        Key(id=parse_key(secret).id, sha256=hash_key(secret), limits=(LIMITED[name],))
        for name, secret in SECRETS.items()
    ]
    return msgspec.structs.replace(
        config,
        providers=(first, second),
        routes=tuple(routes),
        aliases={"alias": "numbered-5"},
        keys=(*config.keys, *keys),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("count-tokens")
    async with running_stack(
        nats, folder, simulators=2, configure=_configure, keep_bodies=True
    ) as world:
        yield world


def _prompt(model: str, **fields: Any) -> dict[str, Any]:
    body = message_body(model, "How many words has this, and how many tokens?", **fields)
    del body["max_tokens"]
    return body


async def _count(stack: Stack, body: dict[str, Any], key: str = "", **more: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {key or stack.key}", **more}
    async with stack.client() as client:
        return await client.post(PATH, json=body, headers=headers)


async def _providers_count(stack: Stack, body: dict[str, Any]) -> int:
    """What the provider says, asked without Droveway."""
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    async with httpx.AsyncClient(base_url=stack.simulators[1].url) as client:
        answer = await client.post(PATH, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["input_tokens"])


def _is_estimate(answer: httpx.Response) -> bool:
    assert answer.status_code == 200, answer.text
    assert answer.json()["input_tokens"] > 0
    return ESTIMATED in answer.headers


def _since(stack: Stack, before: list[Entry]) -> list[tuple[str, str]]:
    return [(one.endpoint, one.model) for one in entries(stack) if one not in before]


@pytest.mark.parametrize("model", ["numbered-5", "openai-first", "alias"])
async def test_an_anthropic_provider_of_the_model_counts(stack: Stack, model: str) -> None:
    exact = await _providers_count(stack, _prompt("numbered-5"))
    before = entries(stack)
    answer = await _count(stack, _prompt(model))
    assert answer.json() == {"input_tokens": exact}
    assert ESTIMATED not in answer.headers
    assert answer.headers["x-droveway-provider"] == "upstream-2"
    assert _since(stack, before) == [("count_tokens", "numbered-5")]


async def test_another_target_may_count(stack: Stack) -> None:
    answer = await _count(stack, _prompt("rescued"))
    assert not _is_estimate(answer)
    assert answer.headers["x-droveway-attempts"] == "2"


async def test_the_provider_gets_what_its_endpoint_takes(stack: Stack) -> None:
    counted = {"system": "Be brief.", "tools": [{"name": "f", "input_schema": {"type": "object"}}]}
    more = {
        "max_tokens": 5, "stream": True, "temperature": 0.5, "stop_sequences": ["x"],
        "metadata": {"user_id": "u"}, "service_tier": "auto",
    }  # fmt: skip
    named = {"anthropic-version": "2026-10-21", "anthropic-beta": "some-beta"}
    answer = await _count(stack, _prompt("numbered-5", **counted, **more), **named)
    assert not _is_estimate(answer)
    book = stack.simulators[1].book
    entry = book.entries[-1]
    assert (entry.anthropic_version, entry.anthropic_beta) == ("2026-10-21", "some-beta")
    sent = book.body(entry.id)
    assert sent is not None
    assert json.loads(sent) == _prompt("numbered-5", **counted)


async def test_a_count_is_one_request_that_used_no_tokens(stack: Stack, nats: NatsServer) -> None:
    answer = await _count(stack, _prompt("numbered-5"))
    trail = await rows_of(nats, answer.headers["request-id"])
    assert trail.request is not None
    [attempt] = trail.attempts
    assert trail.request.operation == "messages.count_tokens"
    assert (trail.request.outcome, trail.request.status) == ("completed", 200)
    assert (trail.request.provider, attempt.status) == ("upstream-2", 200)
    assert trail.request.usage == attempt.usage == Usage(estimated=True)


async def test_without_an_anthropic_provider_the_count_is_an_estimate(stack: Stack) -> None:
    before = entries(stack)
    assert _is_estimate(await _count(stack, _prompt("openai")))
    assert _since(stack, before) == []


@pytest.mark.parametrize("model", FAILING)
async def test_where_the_provider_fails_the_count_is_an_estimate(
    stack: Stack, nats: NatsServer, model: str
) -> None:
    before = entries(stack)
    answer = await _count(stack, _prompt(model))
    assert _is_estimate(answer)
    assert _since(stack, before) == [("count_tokens", model)]
    trail = await rows_of(nats, answer.headers["request-id"])
    assert trail.request is not None
    assert (trail.request.outcome, trail.request.code) == ("completed", "")
    [attempt] = trail.attempts
    assert (attempt.outcome, attempt.usage) == ("failed", Usage(estimated=True))
    # What was said of counts holds for no message: its credential isn't left alone.
    async with stack.client() as client:
        said = await client.post("/v1/messages", json=message_body("numbered-5"))
    assert said.status_code == 200, said.text


async def test_what_the_provider_finds_wrong_is_told_in_its_words(stack: Stack) -> None:
    answer = await _count(stack, _prompt("fault-400"))
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    wrong = [{"role": "assistant", "content": "I begin."}]
    answer = await _count(stack, {"model": "numbered-5", "messages": wrong})
    assert (answer.status_code, answer.headers.get(ESTIMATED)) == (400, None)
    told = 'messages: first message must use the "user" role'
    assert answer.json()["error"]["message"] == told


async def test_a_silent_provider_is_waited_for_no_longer_than_that(stack: Stack) -> None:
    began_s = time.monotonic()
    assert _is_estimate(await _count(stack, _prompt("fault-silence")))
    assert EXACT_WITHIN_S - 0.1 < time.monotonic() - began_s < EXACT_WITHIN_S + LATE_S
    await nothing_open(stack)  # nobody waits for it any more


async def test_a_client_that_leaves_is_waited_for_by_nobody(stack: Stack) -> None:
    async with stack.client() as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(PATH, json=_prompt("fault-silence"), timeout=0.5)
    await nothing_open(stack, EXACT_WITHIN_S - 2)


async def test_a_prompt_too_large_for_a_message_is_counted(stack: Stack) -> None:
    body = _prompt("numbered-5", system="A long story. " * 100_000)
    exact = await _providers_count(stack, body)
    answer = await _count(stack, body)
    assert (answer.json()["input_tokens"], ESTIMATED in answer.headers) == (exact, False)


async def test_a_client_may_want_to_wait_less(stack: Stack) -> None:
    began_s = time.monotonic()
    answer = await _count(stack, _prompt("fault-silence"), **{"x-request-timeout": "0.5"})
    assert _is_estimate(answer)
    assert time.monotonic() - began_s < 0.5 + LATE_S


async def test_a_count_counts_as_one_request(stack: Stack) -> None:
    key = SECRETS["one-request"]
    answer = await _count(stack, _prompt("numbered-5"), key)
    assert not _is_estimate(answer)
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "0"
    before = entries(stack)
    assert _is_estimate(await _count(stack, _prompt("numbered-5"), key))
    assert _since(stack, before) == []


@pytest.mark.parametrize("name", ["few-tokens", "one-at-a-time"])
async def test_a_count_uses_no_tokens_and_frees_its_place(stack: Stack, name: str) -> None:
    for _ in range(8):
        assert not _is_estimate(await _count(stack, _prompt("numbered-5"), SECRETS[name]))
