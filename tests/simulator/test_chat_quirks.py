"""Oddities of OpenAI's kin, and a strictness that is OpenAI's own."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from droveway.simulator.errors import ApiError
from droveway.simulator.openai.strict import check
from droveway.simulator.server import Running, running
from tests.support.simulator import (
    chat_body,
    content_of,
    exchange,
    payloads,
    quick_settings,
    request_bytes,
)

FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {}}}}
TOOLS = [{"type": "function", "function": FUNCTION}]


@pytest.fixture
async def server() -> AsyncIterator[Running]:
    async with running(quick_settings()) as started:
        yield started


async def _text(server: Running, model: str, **fields: Any) -> str:
    body = chat_body(model, **fields)
    return content_of((await exchange(server.url, request_bytes(body))).data).decode()


async def _chunks(server: Running, model: str, **fields: Any) -> list[Any]:
    text = await _text(server, model, stream=True, **fields)
    return [json.loads(event) for event in payloads(text) if event != "[DONE]"]


def _deltas(chunks: list[Any], name: str) -> list[Any]:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return [delta[name] for delta in deltas if name in delta]


@pytest.mark.parametrize(
    ("quirk", "holds"),
    [
        ("usage-everywhere", lambda chunks: all(chunk["usage"] for chunk in chunks)),
        ("no-role-chunk", lambda chunks: _deltas(chunks, "role") == []),
        ("null-content", lambda chunks: chunks[0]["choices"][0]["delta"]["content"] is None),
        ("new-id-per-chunk", lambda chunks: len({chunk["id"] for chunk in chunks}) == len(chunks)),
        ("prompt-filter", lambda chunks: chunks[0]["choices"] == []),
        ("azure", lambda chunks: "prompt_filter_results" in chunks[0]),
        ("llamacpp", lambda chunks: "timings" in chunks[-1]),
        (
            "finish-insufficient_system_resource",
            lambda chunks: (
                chunks[-1]["choices"][0]["finish_reason"] == "insufficient_system_resource"
            ),
        ),
    ],
)
async def test_a_stream_has_its_providers_oddity(
    server: Running, quirk: str, holds: Callable[[list[Any]], bool]
) -> None:
    chunks = await _chunks(server, f"quirk-{quirk}+numbered-3")
    assert "".join(filter(None, _deltas(chunks, "content"))) == "t0 t1 t2 "
    assert holds(chunks)


async def test_events_may_be_named(server: Running) -> None:
    text = await _text(server, "quirk-event-lines+numbered-1", stream=True)
    assert text.startswith('event: message\ndata: {"id"')


async def test_calls_may_lack_an_index_or_come_whole(server: Running) -> None:
    pieces = _deltas(await _chunks(server, "quirk-tool-index-missing", tools=TOOLS), "tool_calls")
    assert [piece for (piece,) in pieces if "index" in piece] == []
    ((call,),) = _deltas(await _chunks(server, "quirk-gemini", tools=TOOLS), "tool_calls")
    assert "index" not in call
    assert json.loads(call["function"]["arguments"])["city"]
    assert call["extra_content"]["google"]["thought_signature"]


async def test_words_may_stand_before_calls(server: Running) -> None:
    chunks = await _chunks(server, "quirk-text-before-calls", tools=TOOLS)
    whole = json.loads(await _text(server, "quirk-text-before-calls", tools=TOOLS))
    message = whole["choices"][0]["message"]
    assert "".join(_deltas(chunks, "content")) == message["content"] != ""
    assert len(message["tool_calls"]) == 1


async def test_deepseek_counts_its_cache_in_words_of_its_own(server: Running) -> None:
    text = await _text(server, "quirk-deepseek+numbered-2")
    usage = json.loads(text)["usage"]
    assert text.startswith("\n\n\n{")
    assert usage["prompt_cache_hit_tokens"] + usage["prompt_cache_miss_tokens"] == 3
    assert "prompt_tokens_details" not in usage
    asked = {"stream_options": {"include_usage": True}}
    assert (await _chunks(server, "quirk-deepseek", **asked))[-1]["usage"]["total_tokens"] == 35


@pytest.mark.parametrize("fault", ["429", "error-after-1"])
async def test_an_error_code_may_be_a_number(server: Running, fault: str) -> None:
    text = await _text(server, f"fault-{fault}+integer-error-code", stream=fault != "429")
    error = json.loads(payloads(text)[-1] if fault != "429" else text)["error"]
    assert error["code"] == (429 if fault == "429" else 500)


async def test_a_quota_that_no_waiting_ends_is_a_429_of_its_own(server: Running) -> None:
    error = json.loads(await _text(server, "fault-insufficient-quota"))["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    error = json.loads(await _text(server, "fault-context-length"))["error"]
    assert error["code"] == "context_length_exceeded"


async def test_a_model_that_reasons_says_so_first(server: Running) -> None:
    chunks = await _chunks(server, "reasoning-numbered-2")
    whole = json.loads(await _text(server, "reasoning-numbered-2"))
    thought = "".join(_deltas(chunks, "reasoning_content"))
    assert whole["choices"][0]["message"]["reasoning_content"] == thought != ""
    assert whole["usage"]["completion_tokens"] == 10
    assert whole["usage"]["completion_tokens_details"]["reasoning_tokens"] == 8
    assert "".join(_deltas(chunks, "content")) == "t0 t1 "


async def test_log_probabilities_stand_beside_each_token_where_asked(server: Running) -> None:
    asked = {"logprobs": True, "top_logprobs": 2}
    whole = json.loads(await _text(server, "numbered-2", **asked))["choices"][0]
    assert [token["token"] for token in whole["logprobs"]["content"]] == ["t0 ", "t1 "]
    assert [len(token["top_logprobs"]) for token in whole["logprobs"]["content"]] == [2, 2]
    choices = [chunk["choices"][0] for chunk in await _chunks(server, "numbered-2", **asked)]
    told = [choice["logprobs"]["content"] for choice in choices if choice["logprobs"]]
    streamed = [token for (token,) in told]
    assert streamed == whole["logprobs"]["content"]
    assert json.loads(await _text(server, "numbered-2"))["choices"][0]["logprobs"] is None


async def test_a_stop_sequence_ends_the_answer(server: Running) -> None:
    choice = json.loads(await _text(server, "numbered-5", stop=["t3"]))["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("t0 t1 t2 ", "stop")


async def test_sounds_are_counted(server: Running) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    usage = json.loads(await _text(server, "numbered-1", content=[sound, sound]))["usage"]
    assert usage["prompt_tokens_details"]["audio_tokens"] == 200
    assert server.book.entries[-1].audios == 2


async def test_a_strict_model_refuses_what_openai_refuses(server: Running) -> None:
    error = json.loads(await _text(server, "quirk-strict", top_k=3))["error"]
    assert (error["code"], error["param"]) == ("unknown_parameter", "top_k")
    assert "choices" in json.loads(await _text(server, "quirk-strict", top_p=1))


USER = {"role": "user", "content": "hello"}
CALL = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "x"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"thinking": {}}, "thinking"),
        ({"cache_control": {}}, "cache_control"),
        ({"messages": [{**CALLED, "thinking_blocks": []}]}, "messages[0].thinking_blocks"),
        ({"messages": [{**CALLED, "reasoning_content": "x"}]}, "messages[0].reasoning_content"),
        ({"messages": [USER, CALLED, {**RESULT, "is_error": True}]}, "messages[2].is_error"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "cache_control": {}}]}]},
            "messages[0].content[0].cache_control",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "document"}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [USER, CALLED]}, "messages"),
        ({"messages": [USER, CALLED, USER, RESULT]}, "messages"),
        ({"messages": [USER, RESULT]}, "messages[1].role"),
        ({"messages": [USER, CALLED, RESULT, RESULT]}, "messages[3].role"),
        (
            {"messages": [{**CALLED, "tool_calls": [{**CALL, "function": {"arguments": {}}}]}]},
            "messages[0].tool_calls",
        ),
        ({"tools": [{**TOOLS[0], "cache_control": {}}]}, "tools[0].cache_control"),
        ({"tools": [{"type": "function", "function": {"name": "x", "input_schema": {}}}]}, None),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"stream_options": {}}, "stream_options"),
    ],
)
def test_strictness_names_the_parameter(fields: dict[str, Any], param: str | None) -> None:
    with pytest.raises(ApiError) as error:
        check(json.dumps({**chat_body(), **fields}).encode())
    assert param is None or error.value.param == param


def test_strictness_takes_what_openai_takes() -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
        {**CALLED, "tool_calls": [CALL, {**CALL, "id": "b"}]},
        {**RESULT, "tool_call_id": "b"},
        RESULT,
        USER,
    ]
    check(json.dumps(chat_body(messages=messages, tools=TOOLS, tool_choice="auto")).encode())
