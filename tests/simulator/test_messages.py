"""Anthropic's messages as the simulator answers them, whole and streamed."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from droveway.simulator.server import Running, running
from tests.support.simulator import (
    MESSAGES,
    events,
    message_body,
    quick_settings,
    said_in_blocks,
)

TOOLS = [
    {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {}}}},
    {"name": "clock", "input_schema": {"type": "object"}},
]
THINKING = {"type": "enabled", "budget_tokens": 1024}


class Client:
    def __init__(self, server: Running, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session
        self.headers: dict[str, str] = {}

    async def send(self, path: str, body: Any, **headers: str) -> tuple[int, str]:
        url = self.server.url + path
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.post(url, json=body, headers=named) as response:
            self.headers = dict(response.headers)
            return response.status, await response.text()

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.get(self.server.url + path, headers=named) as response:
            return response.status, await response.json()

    async def whole(self, **fields: Any) -> Any:
        status, text = await self.send(MESSAGES, message_body(**fields))
        assert status == 200, text
        return json.loads(text)

    async def stream(self, **fields: Any) -> str:
        status, text = await self.send(MESSAGES, message_body(stream=True, **fields))
        assert status == 200, text
        return text


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    headers = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01"}
    settings = quick_settings(keep_bodies=True)
    async with running(settings) as server, aiohttp.ClientSession(headers=headers) as session:
        yield Client(server, session)


async def test_a_whole_message_has_anthropics_shape(client: Client) -> None:
    answer = await client.whole()
    assert answer["id"].startswith("msg_")
    assert (answer["type"], answer["role"], answer["model"]) == (
        "message",
        "assistant",
        "numbered-5",
    )
    assert answer["content"] == [{"type": "text", "text": "t0 t1 t2 t3 t4 "}]
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("end_turn", None)
    assert answer["usage"]["output_tokens"] == 5
    assert answer["usage"]["input_tokens"] == 2


async def test_each_answer_has_its_id_and_the_limits_in_headers(client: Client) -> None:
    await client.whole()
    assert client.headers["request-id"] == client.server.book.entries[-1].id
    assert "x-request-id" not in client.headers
    assert client.headers["anthropic-ratelimit-input-tokens-reset"].endswith("Z")
    assert int(client.headers["anthropic-ratelimit-requests-remaining"]) > 0


async def test_a_stream_goes_from_message_start_to_message_stop(client: Client) -> None:
    stream = events(await client.stream())
    names = [name for name, _ in stream]
    assert [name for name, event in stream if event["type"] != name] == []
    assert names == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 5,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start, delta = stream[0][1]["message"], stream[-2][1]
    assert (start["content"], start["stop_reason"], start["usage"]["output_tokens"]) == (
        [],
        None,
        1,
    )
    assert delta["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert delta["usage"]["output_tokens"] == 5
    assert delta["usage"]["input_tokens"] == start["usage"]["input_tokens"]


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "numbered-40"},
        {"model": "any", "tools": TOOLS},
        {"model": "any", "tools": TOOLS, "content": "in parallel"},
        {"model": "any", "tools": TOOLS, "tool_choice": {"type": "tool", "name": "clock"}},
        {"model": "any", "thinking": THINKING},
        {"model": "any", "thinking": {"type": "adaptive", "display": "omitted"}},
        {"model": "quirk-redacted-thinking", "thinking": THINKING},
        {"model": "quirk-text-before-calls", "tools": TOOLS, "thinking": THINKING},
    ],
    ids=["text", "call", "calls", "no argument", "thinking", "omitted", "redacted", "all"],
)
async def test_a_stream_adds_up_to_the_whole_answer(client: Client, fields: Any) -> None:
    whole, streamed = await client.whole(**fields), events(text := await client.stream(**fields))
    blocks = said_in_blocks(text)
    for block in (*whole["content"], *blocks):
        block.pop("id", None)  # names its answer
    assert blocks == whole["content"]
    assert streamed[-2][1]["delta"]["stop_reason"] == whole["stop_reason"]
    assert streamed[-2][1]["usage"]["output_tokens"] == whole["usage"]["output_tokens"]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["weather"]),
        ({"content": "in parallel"}, ["weather", "clock"]),
        (
            {
                "content": "in parallel",
                "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
            },
            ["weather"],
        ),
        ({"tool_choice": {"type": "any"}}, ["weather"]),
        ({"tool_choice": {"type": "tool", "name": "clock"}}, ["clock"]),
        ({"tool_choice": {"type": "none"}}, []),
    ],
)
async def test_the_request_decides_which_tools_are_called(
    client: Client, fields: dict[str, Any], names: list[str]
) -> None:
    answer = await client.whole(model="any", tools=TOOLS, **fields)
    calls = [block for block in answer["content"] if block["type"] == "tool_use"]
    assert [call["name"] for call in calls] == names
    assert answer["stop_reason"] == ("tool_use" if names else "end_turn")
    assert len({call["id"] for call in calls}) == len(names)


async def test_a_call_without_arguments_streams_one_empty_piece(client: Client) -> None:
    choice = {"type": "tool", "name": "clock"}
    stream = events(await client.stream(model="any", tools=TOOLS, tool_choice=choice))
    deltas = [event["delta"] for name, event in stream if name == "content_block_delta"]
    assert deltas == [{"type": "input_json_delta", "partial_json": ""}]


async def test_a_tool_loop_goes_on_with_thoughts_and_ends_in_text(client: Client) -> None:
    asked = {"model": "any", "tools": TOOLS, "thinking": THINKING}
    first = await client.whole(content="in parallel", **asked)
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "fine"}
        for block in first["content"]
        if block["type"] == "tool_use"
    ]
    answer = await client.whole(
        messages=[
            {"role": "user", "content": "in parallel"},
            {"role": "assistant", "content": first["content"]},
            {"role": "user", "content": [*results, {"type": "text", "text": "well?"}]},
        ],
        **asked,
    )
    assert [block["type"] for block in answer["content"]] == ["thinking", "text"]


@pytest.mark.parametrize(
    ("fields", "stop_reason", "stop_sequence"),
    [
        ({"max_tokens": 2}, "max_tokens", None),
        ({"max_tokens": 0}, "max_tokens", None),
        ({"stop_sequences": ["t9", "t3 "]}, "stop_sequence", "t3 "),
        ({"content": "ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL_1F"}, "refusal", None),
        ({"model": "quirk-finish-pause_turn"}, "pause_turn", None),
    ],
)
async def test_an_answer_says_why_it_ends(
    client: Client, fields: Any, stop_reason: str, stop_sequence: str | None
) -> None:
    answer = await client.whole(**fields)
    assert (answer["stop_reason"], answer["stop_sequence"]) == (stop_reason, stop_sequence)


async def test_what_a_stop_sequence_cuts_is_not_said(client: Client) -> None:
    answer = await client.whole(stop_sequences=["1 t2"])
    assert answer["content"][0]["text"] == "t0 t"
    assert answer["usage"]["output_tokens"] == 2


async def test_json_is_answered_where_a_schema_is_given(client: Client) -> None:
    schema = {
        "type": "object",
        "properties": {"count": {"type": "integer"}},
        "additionalProperties": False,
    }
    output = {"format": {"type": "json_schema", "schema": schema}}
    answer = await client.whole(model="any", output_config=output)
    assert isinstance(json.loads(answer["content"][0]["text"])["count"], int)


async def test_tokens_are_counted_without_an_answer(client: Client) -> None:
    prompt = {name: value for name, value in message_body().items() if name != "max_tokens"}
    status, text = await client.send("/v1/messages/count_tokens", prompt)
    answered = await client.whole()
    assert (status, json.loads(text)) == (200, {"input_tokens": answered["usage"]["input_tokens"]})
    assert client.server.book.entries[0].endpoint == "count_tokens"


async def test_models_have_the_shape_of_whoever_asks(client: Client) -> None:
    listed = (await client.get("/v1/models"))[1]
    assert [model["type"] for model in listed["data"]] == ["model"] * 3
    assert (listed["has_more"], listed["last_id"]) == (False, listed["data"][-1]["id"])
    page = (await client.get(f"/v1/models?limit=1&after_id={listed['first_id']}"))[1]
    assert (page["first_id"], page["has_more"]) == (listed["data"][1]["id"], True)
    assert (await client.get("/v1/models/any"))[1]["id"] == "any"
    status, refused = await client.get("/v1/models/missing-model")
    assert (status, refused["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize(
    ("headers", "names"),
    [
        ({}, ["x-api-key"]),
        ({"x_api_key": "", "authorization": "Bearer sk-test"}, ["authorization", "x-api-key"]),
    ],
)
async def test_the_book_tells_headers_of_interest_and_no_key(
    client: Client, headers: dict[str, str], names: list[str]
) -> None:
    body = message_body(model="any", stream=True)
    await client.send(MESSAGES, body, anthropic_beta="a-1,b-2", **headers)
    entry = client.server.book.entries[-1]
    assert (entry.dialect, entry.endpoint, entry.stream) == ("anthropic", "messages", True)
    assert (entry.anthropic_version, entry.anthropic_beta) == ("2023-06-01", "a-1,b-2")
    assert entry.key_headers == names
    assert "sk-test" not in repr(entry)
    assert entry.anthropic_usage is not None
    assert entry.anthropic_usage.output_tokens == entry.tokens_sent == 32
    assert client.server.book.body(entry.id) == json.dumps(body).encode()


@pytest.mark.parametrize(("model", "expected"), [("any", 200), ("quirk-no-prefill", 400)])
async def test_newer_models_continue_no_turn_of_their_own(
    client: Client, model: str, expected: int
) -> None:
    prefill = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    status, text = await client.send(MESSAGES, message_body(model, messages=prefill))
    assert status == expected
    assert ("prefill" in text) == (expected == 400)
