"""A real model behind a whole Droveway: llama.cpp by both of its dialects, asked by either door."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from droveway.contracts.config import Config
from tests.support.doors import ANTHROPIC, OPENAI, ask
from tests.support.flows import lines_until, route, rows_of
from tests.support.local_model import KINDS, MODEL, provider
from tests.support.nats import NatsServer
from tests.support.programs import Program
from tests.support.simulator import chat_body, payloads
from tests.support.stack import Stack, running_stack

pytestmark = [pytest.mark.ops, pytest.mark.asyncio(loop_scope="module")]

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
DOORS = pytest.mark.parametrize("door", [OPENAI, ANTHROPIC], ids=["chat", "messages"])
EACH_TARGET = pytest.mark.parametrize("target", KINDS)
"""A provider of each dialect; both are the same server."""
QUESTION = "What is the capital of France?"
ENDLESS: dict[str, Any] = {"ignore_eos": True, "stop": ["\u0000"], "temperature": 0}
LONG_TOKENS = 300
CANCELLED_WITHIN_S = 2.0
RESIDENT_LIMIT_BYTES = 700 * 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(
    nats: NatsServer, local_model: Program, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    def configured(config: Config) -> Config:
        return msgspec.structs.replace(
            config,
            providers=tuple(provider(name, name, local_model.url) for name in KINDS),
            routes=tuple(route(name, (name, MODEL)) for name in KINDS),
        )

    folder = tmp_path_factory.mktemp("local")
    async with running_stack(nats, folder, simulators=0, configure=configured) as world:
        yield world


@BOTH
@EACH_TARGET
@DOORS
async def test_it_answers_and_its_tokens_are_counted(
    nats: NatsServer, stack: Stack, door: str, target: str, stream: bool
) -> None:
    async with stack.client() as client:
        said = await ask(client, door, target, QUESTION, stream=stream, temperature=0)
    assert said.status == 200, said.error
    assert said.text.strip()
    assert said.finish in ("stop", "length")
    (attempt,) = (await rows_of(nats, said.headers["x-request-id"])).attempts
    usage = attempt.usage
    assert not usage.estimated
    assert said.tokens[1] == usage.output_tokens > 0
    cached = usage.cache_read_tokens if door == ANTHROPIC else 0  # told apart there
    assert said.tokens[0] == usage.input_tokens - cached
    assert usage.input_tokens > len(QUESTION.split())


async def test_an_answer_keeps_to_a_schema(stack: Stack) -> None:
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    shape = {"type": "json_schema", "json_schema": {"name": "place", "schema": city}}
    async with stack.client() as client:
        said = await ask(
            client, OPENAI, "openai", QUESTION, stream=True, response_format=shape, seed=1
        )
    assert isinstance(json.loads(said.text)["city"], str)


async def test_a_long_stream_comes_token_by_token(stack: Stack) -> None:
    body = chat_body("openai", QUESTION, stream=True, max_tokens=LONG_TOKENS, **ENDLESS)
    body["stream_options"] = {"include_usage": True}
    async with stack.client() as client:
        answer = await client.post(OPENAI, json=body)
    *chunks, last, terminal = payloads(answer.text)
    assert terminal == "[DONE]"
    assert json.loads(last)["usage"]["completion_tokens"] == LONG_TOKENS
    # A character of several tokens comes in one piece; nothing else is gathered.
    assert len(chunks) > LONG_TOKENS * 0.8


@EACH_TARGET
async def test_a_client_that_leaves_frees_the_model(
    nats: NatsServer, stack: Stack, local_model: Program, target: str
) -> None:
    body = chat_body(target, QUESTION, stream=True, max_tokens=4000, **ENDLESS)
    async with stack.client() as client, lines_until(client, body, '"content":"') as answer:
        assert await _busy(local_model) == 1
        request_id = answer.headers["x-request-id"]
    left_s = time.monotonic()
    while await _busy(local_model):
        assert time.monotonic() - left_s < CANCELLED_WITHIN_S
    trail = await rows_of(nats, request_id)
    assert trail.request is not None
    assert (trail.request.outcome, trail.request.status) == ("cancelled", 499)
    assert trail.attempts[0].usage.output_tokens > 0


async def _busy(program: Program) -> int:
    """Answers that the model is at."""
    async with httpx.AsyncClient(base_url=program.url) as client:
        slots = (await client.get("/slots")).json()
    return sum(slot["is_processing"] for slot in slots)


@DOORS
@EACH_TARGET
async def test_a_prompt_that_is_too_long_is_the_clients_mistake(
    stack: Stack, door: str, target: str
) -> None:
    async with stack.client() as client:
        said = await ask(client, door, target, "x " * 9000, stream=False)
    assert said.status == 400
    assert "exceeds the available context size" in said.error["message"]


async def test_its_memory_is_what_the_guide_says(local_model: Program) -> None:
    assert local_model.resident_bytes() < RESIDENT_LIMIT_BYTES
