"""Two mocks that others wrote, each by both dialects, asked by either door, whole and streamed."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from droveway.contracts.config import Config, Provider
from tests.support.doors import ANTHROPIC, OPENAI, Said, ask
from tests.support.flows import route, rows_of
from tests.support.nats import NatsServer
from tests.support.programs import Program
from tests.support.stack import UNSPARED, Stack, running_stack

pytestmark = [pytest.mark.ops, pytest.mark.asyncio(loop_scope="module")]

MODELS = {"openai": "mock-1", "anthropic": "claude-sonnet-4-5"}
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
DOORS = pytest.mark.parametrize("door", [OPENAI, ANTHROPIC], ids=["chat", "messages"])
TARGETS = [f"{mock}-{dialect}" for mock in ("aimock", "fakellm") for dialect in MODELS]
EACH_TARGET = pytest.mark.parametrize("target", TARGETS)
AIMOCK = pytest.mark.parametrize("target", TARGETS[:2])
GREETING = "Grüße aus dem Mock: 你好, and three words more."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(
    nats: NatsServer,
    aimock: Program,
    fakellm: Program,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stack]:
    urls = {"aimock": aimock.url, "fakellm": fakellm.url}

    def configured(config: Config) -> Config:
        return msgspec.structs.replace(
            config,
            providers=tuple(_provider(target, urls) for target in TARGETS),
            routes=tuple(
                route(target, (target, MODELS[target.partition("-")[2]])) for target in TARGETS
            ),
        )

    folder = tmp_path_factory.mktemp("mocks")
    async with running_stack(
        nats, folder, simulators=0, configure=configured, environment=UNSPARED
    ) as world:
        yield world


def _provider(target: str, urls: dict[str, str]) -> Provider:
    name, _, dialect = target.partition("-")
    fields = {"id": target, "base_url": f"{urls[name]}/v1", "dialect": dialect}
    return msgspec.convert(fields, Provider)


async def _ask(stack: Stack, door: str, target: str, question: str, **options: Any) -> Said:
    async with stack.client() as client:
        return await ask(client, door, target, question, **options)


@BOTH
@EACH_TARGET
@DOORS
async def test_a_text_comes_whole(stack: Stack, door: str, target: str, stream: bool) -> None:
    said = await _ask(stack, door, target, "greet", stream=stream)
    assert (said.status, said.text, said.finish) == (200, GREETING, "stop")
    assert said.headers["x-droveway-provider"] == target


@BOTH
@DOORS
@EACH_TARGET
async def test_a_tool_is_called_and_its_result_answered(
    stack: Stack, door: str, target: str, stream: bool
) -> None:
    question = f"weather, {target}, {door}, {stream}"  # fakellm remembers conversations by it
    said = await _ask(stack, door, target, question, stream=stream, tools=["weather"])
    assert [(call.name, call.arguments) for call in said.calls] == [("weather", {"city": "Paris"})]
    assert said.finish == "tool_calls"
    then = await _ask(
        stack,
        door,
        target,
        question,
        stream=stream,
        tools=["weather"],
        results=[(said.calls[0], "rain")],
    )
    assert (then.text, then.calls, then.finish) == ("It rains in Paris.", (), "stop")


@BOTH
@DOORS
@EACH_TARGET
async def test_two_tools_are_called_in_one_answer(
    stack: Stack, door: str, target: str, stream: bool
) -> None:
    tools = ["weather", "time"]
    question = f"weather and time, {target}, {door}, {stream}"
    said = await _ask(stack, door, target, question, stream=stream, tools=tools)
    assert [(call.name, call.arguments["city"]) for call in said.calls] == [
        ("weather", "Paris"),
        ("time", "Oslo"),
    ]
    assert len({call.id for call in said.calls}) == 2
    results = [(call, f"{call.name}: rain") for call in said.calls]
    then = await _ask(stack, door, target, question, stream=stream, tools=tools, results=results)
    assert then.text == "It rains in Paris."


@BOTH
@DOORS
@AIMOCK
async def test_text_and_a_call_come_in_one_answer(
    stack: Stack, door: str, target: str, stream: bool
) -> None:
    said = await _ask(stack, door, target, "say and call", stream=stream, tools=["weather"])
    assert said.text == "I look it up."
    assert [call.name for call in said.calls] == ["weather"]
    assert said.finish == "tool_calls"


@BOTH
@DOORS
@AIMOCK
async def test_reasoning_reaches_the_client(
    stack: Stack, door: str, target: str, stream: bool
) -> None:
    said = await _ask(stack, door, target, "think", stream=stream)
    assert said.text == "Four."
    assert said.reasoning == "Two and two."


@BOTH
@DOORS
@AIMOCK
async def test_an_answer_that_was_cut_says_so(
    stack: Stack, door: str, target: str, stream: bool
) -> None:
    said = await _ask(stack, door, target, "run out", stream=stream)
    assert (said.text, said.finish) == ("Cut", "length")


@BOTH
@DOORS
@AIMOCK
async def test_the_providers_usage_is_the_clients_and_the_ledgers(
    nats: NatsServer, stack: Stack, door: str, target: str, stream: bool
) -> None:
    said = await _ask(stack, door, target, "greet", stream=stream)
    assert said.tokens == (21, 13)
    (attempt,) = (await rows_of(nats, said.headers["x-request-id"])).attempts
    assert not attempt.usage.estimated
    assert (attempt.usage.input_tokens, attempt.usage.output_tokens) == (21, 13)


@DOORS
async def test_usage_that_a_sloppy_stream_leaves_out_is_estimated_and_marked(
    nats: NatsServer, stack: Stack, door: str
) -> None:
    said = await _ask(stack, door, "fakellm-openai", "greet", stream=True)
    (attempt,) = (await rows_of(nats, said.headers["x-request-id"])).attempts
    assert attempt.usage.estimated
    assert said.tokens == (attempt.usage.input_tokens, attempt.usage.output_tokens)
    assert min(said.tokens) > 0


@EACH_TARGET
@DOORS
async def test_a_refusal_keeps_the_providers_words(stack: Stack, door: str, target: str) -> None:
    said = await _ask(stack, door, target, "refuse", stream=False)
    assert said.status == 400
    assert "messages: too strange" in said.error["message"]
    if door == ANTHROPIC:  # its clients know a fixed set of types
        assert said.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("question", "by_chat", "by_messages"),
    [
        ("busy", (429, "rate_limit_error"), (429, "rate_limit_error")),
        ("break", (503, "server_error"), (529, "overloaded_error")),
    ],
)
@EACH_TARGET
@DOORS
async def test_a_failure_is_told_in_the_doors_own_words(
    stack: Stack,
    door: str,
    target: str,
    question: str,
    by_chat: tuple[int, str],
    by_messages: tuple[int, str],
) -> None:
    said = await _ask(stack, door, target, question, stream=False)
    assert (said.status, said.error["type"]) == (by_chat if door == OPENAI else by_messages)


@DOORS
@pytest.mark.parametrize("dialect", [*MODELS])
async def test_what_the_mock_was_sent_is_in_its_own_dialect(
    stack: Stack, aimock: Program, door: str, dialect: str
) -> None:
    target = f"aimock-{dialect}"
    await _ask(stack, door, target, f"greet by {door}", stream=True, tools=["weather"])
    async with httpx.AsyncClient(base_url=aimock.url) as client:
        entries = (await client.get("/__aimock/journal")).json()
    sent = [one for one in entries if f"greet by {door}" in str(one["body"])]
    path = {"openai": OPENAI, "anthropic": ANTHROPIC}[dialect]
    (last,) = [one for one in sent if one["path"] == path][-1:]
    names = {name.lower() for name in last["headers"]}
    assert ("anthropic-version" in names) is (dialect == "anthropic")
    assert stack.key not in str(last)
    assert last["body"]["model"] == MODELS[dialect]
