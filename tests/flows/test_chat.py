"""Requests through all services, whole and streamed, as a client sees them."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.flows import Got, ask, numbered, only_first
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body, payloads
from tests.support.stack import PROVIDER_KEY, Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)
ASKS_USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}


def _tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("chat")
    async with running_stack(nats, folder, configure=only_first, keep_bodies=True) as world:
        yield world


async def _ask(stack: Stack, body: dict[str, Any], **options: Any) -> Got:
    async with stack.client() as client:
        got = await ask(client, body, **options)
    assert got.status == 200, got
    assert got.whole
    return got


def _sent(stack: Stack) -> dict[str, Any]:
    """The last body that the provider got."""
    book = stack.simulator.book
    body = book.body(book.entries[-1].id)
    assert body is not None
    sent: dict[str, Any] = json.loads(body)
    return sent


async def test_a_whole_answer_is_the_providers_own(stack: Stack) -> None:
    got = await _ask(stack, chat_body())
    answer = got.json()
    assert answer["choices"][0]["message"]["content"] == numbered(5)
    assert answer["usage"]["completion_tokens"] == 5
    assert got.headers["content-type"] == "application/json"
    assert int(got.headers["content-length"]) == len(got.text)
    assert got.headers["x-droveway-provider"] == "upstream-1"
    assert got.headers["x-droveway-model"] == "numbered-5"
    assert got.headers["x-droveway-attempts"] == "1"
    assert got.headers["x-request-id"].startswith("req_")
    assert float(got.headers["x-droveway-overhead-ms"]) >= 0


async def test_a_stream_is_framed_as_openai_frames_it(stack: Stack) -> None:
    got = await _ask(stack, chat_body(stream=True))
    assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert got.headers["cache-control"] == "no-cache"
    assert got.headers["x-accel-buffering"] == "no"
    assert "content-length" not in got.headers
    assert got.done
    assert got.said == numbered(5)
    assert got.chunks[0]["choices"][0]["delta"] == {
        "role": "assistant", "content": "", "refusal": None,
    }  # fmt: skip
    assert got.chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert len({(chunk["id"], chunk["created"]) for chunk in got.chunks}) == 1


async def test_usage_comes_as_an_event_of_its_own_when_it_is_asked_for(stack: Stack) -> None:
    got = await _ask(stack, chat_body(stream=True, **ASKS_USAGE))
    *others, last = got.chunks
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 5
    assert [chunk["usage"] for chunk in others] == [None] * len(others)


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}])
async def test_without_asking_no_event_has_a_usage_key(
    stack: Stack, options: dict[str, Any]
) -> None:
    got = await _ask(stack, chat_body(stream=True, **options))
    assert all("usage" not in chunk for chunk in got.chunks)
    assert all(chunk["choices"] for chunk in got.chunks)
    assert _sent(stack)["stream_options"] == {"include_usage": True}


@BOTH
async def test_one_tool_is_called(stack: Stack, stream: bool) -> None:
    got = await _ask(stack, chat_body("sim", "weather?", tools=[_tool("weather")], stream=stream))
    assert _calls(got) == [("weather", ["city"])]
    if not stream:
        assert got.json()["choices"][0]["message"]["content"] is None
        assert got.json()["choices"][0]["finish_reason"] == "tool_calls"


@BOTH
async def test_two_tools_are_called_in_parallel(stack: Stack, stream: bool) -> None:
    tools = [_tool("weather"), _tool("time")]
    got = await _ask(stack, chat_body("sim", "in parallel", tools=tools, stream=stream))
    assert _calls(got) == [("weather", ["city"]), ("time", ["city"])]


@BOTH
async def test_a_tools_result_leads_to_an_answer(stack: Stack, stream: bool) -> None:
    first = await _ask(stack, chat_body("sim", "weather?", tools=[_tool("weather")]))
    message = first.json()["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "rain"}
    body = chat_body("sim", "weather?", tools=[_tool("weather")], stream=stream)
    body["messages"] += [message, result]
    got = await _ask(stack, body)
    assert got.said
    assert _sent(stack)["messages"][1:] == [message, result]


@BOTH
async def test_an_image_reaches_the_provider(stack: Stack, stream: bool) -> None:
    content = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
    ]
    await _ask(stack, chat_body(content=content, stream=stream))
    assert stack.simulator.book.entries[-1].images == 1
    assert _sent(stack)["messages"][0]["content"] == content


@BOTH
async def test_each_of_two_choices_comes_whole(stack: Stack, stream: bool) -> None:
    got = await _ask(stack, chat_body("sim", "count to 7", n=2, stream=stream))
    by_choice = {0: "", 1: ""}
    if stream:
        for chunk in got.chunks:
            for choice in chunk["choices"]:
                by_choice[choice["index"]] += choice["delta"].get("content") or ""
    else:
        for choice in got.json()["choices"]:
            by_choice[choice["index"]] = choice["message"]["content"]
    assert by_choice == {0: "1 2 3 4 5 6 7", 1: "1 2 3 4 5 6 7"}


@BOTH
async def test_a_json_schema_is_kept_to(stack: Stack, stream: bool) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    shape = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    got = await _ask(stack, chat_body("sim", response_format=shape, stream=stream))
    assert isinstance(json.loads(got.said)["city"], str)


@BOTH
async def test_the_provider_sees_its_own_key_and_nothing_of_the_clients(
    stack: Stack, stream: bool
) -> None:
    body = chat_body(
        stream=stream,
        api_base="http://evil.test",
        extra_headers={"a": "b"},
        metadata={"tenant": "acme", "mine": "1"},
        user="u-1",
        unknown_to_us={"z": 1, "a": [1.50, "é"]},
    )
    await _ask(stack, body, headers={"x-canary": "1", "cookie": "a=b", "openai-organization": "o"})
    entry = stack.simulator.book.entries[-1]
    from droveway.simulator.book import fingerprint

    assert entry.key_fingerprint == fingerprint(PROVIDER_KEY)
    assert set(entry.header_names) <= {
        "accept", "accept-encoding", "authorization", "content-length", "content-type", "host",
        "user-agent", "connection",
    }  # fmt: skip
    sent = _sent(stack)
    assert sent["metadata"] == {"mine": "1"}
    assert sent["unknown_to_us"] == {"z": 1, "a": [1.50, "é"]}
    assert not {"api_base", "extra_headers"} & set(sent)


@BOTH
@pytest.mark.parametrize("kilobytes", [200, 300, 1_000, 15_000])
async def test_large_requests_reach_the_provider_whole(
    stack: Stack, kilobytes: int, stream: bool
) -> None:
    body = chat_body(content="x" * (kilobytes * 1000), stream=stream)
    got = await _ask(stack, body)
    assert got.said == numbered(5)
    entry = stack.simulator.book.entries[-1]
    assert entry.body_bytes >= kilobytes * 1000
    assert entry.usage is not None
    assert entry.usage.prompt_tokens >= kilobytes * 250


async def test_a_request_over_the_bound_is_refused(stack: Stack) -> None:
    async with stack.client() as client:
        got = await ask(client, chat_body(content="x" * 25_000_000))
    assert (got.status, got.error["code"]) == (413, "request_too_large")


async def test_a_long_stream_comes_whole(stack: Stack) -> None:
    got = await _ask(stack, chat_body("numbered-7000", stream=True))
    assert len(got.text) > 1_100_000
    assert got.said == numbered(7_000)


async def test_an_answer_too_large_for_one_message_comes_whole(stack: Stack) -> None:
    got = await _ask(stack, chat_body("numbered-60000"))
    assert len(got.text) > 300_000
    assert got.said == numbered(60_000)


async def test_a_whole_answer_over_a_megabyte_comes_whole(stack: Stack) -> None:
    got = await _ask(stack, chat_body("fault-numbered-5+huge-line-3000000"))
    assert len(got.json()["obfuscation"]) == 3_000_000


async def test_many_requests_at_once_keep_apart(stack: Stack) -> None:
    counts = list(range(1, 61))
    async with stack.client() as client:
        got = await asyncio.gather(
            *(ask(client, chat_body(f"numbered-{n}", stream=n % 2 == 0)) for n in counts)
        )
    assert [one.said for one in got] == [numbered(n) for n in counts]
    assert len({one.headers["x-request-id"] for one in got}) == len(counts)


def _calls(got: Got) -> list[tuple[str, list[str]]]:
    """Function names and argument names of the answer's tool calls."""
    if not got.is_stream:
        calls = got.json()["choices"][0]["message"]["tool_calls"]
        return [
            (c["function"]["name"], list(json.loads(c["function"]["arguments"]))) for c in calls
        ]
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for text in payloads(got.text)[:-1]:
        for choice in json.loads(text)["choices"]:
            for call in choice["delta"].get("tool_calls") or []:
                index = call["index"]
                names.setdefault(index, call["function"].get("name", ""))
                arguments[index] = arguments.get(index, "") + call["function"]["arguments"]
    return [(names[index], list(json.loads(arguments[index]))) for index in sorted(names)]
