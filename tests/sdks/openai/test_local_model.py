"""A real model behind the gateway, by both of llama.cpp's dialects.

It has 270 million parameters and calls no tool by itself: offers, earlier calls and their results
must reach it and be answered.
"""

import json
from typing import Any

import openai
import pytest

from tests.sdks.marks import TO_OPENAI
from tests.sdks.openai.client import Client, opened
from tests.sdks.openai.failures import check, missing
from tests.sdks.openai.responses_client import Responses
from tests.sdks.openai.test_tools import tools
from tests.sdks.server import Droveway
from tests.sdks.small_model import (
    ARGUMENTS,
    CAPITAL,
    ENDLESS,
    ENOUGH_TOKENS,
    LONG_TOKENS,
    QUESTION,
    TOO_LONG,
    WEATHER,
    WEATHER_QUESTION,
)
from tests.sdks.tools import CALL_NAMES, CALLS, Capital

pytestmark = pytest.mark.sdks


async def test_a_question_is_answered_and_counted(
    sdk: Client, server: Droveway, asked: dict[str, Any]
) -> None:
    answer = await sdk.chat(**asked)
    [choice] = answer.choices
    assert CAPITAL in choice.message.content
    assert (choice.finish_reason, choice.message.tool_calls) == ("stop", None)
    assert (answer.object, answer.model) == ("chat.completion", server.local_model)
    assert answer.usage.prompt_tokens > len(QUESTION.split())
    assert answer.usage.completion_tokens > 1
    total = answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.total_tokens == total


async def test_a_stream_has_role_tokens_finish_and_usage(
    sdk: Client, asked: dict[str, Any]
) -> None:
    streamed = await sdk.stream(**asked, stream_options={"include_usage": True})
    assert streamed.error is None
    assert CAPITAL in streamed.text()
    assert streamed.choices()[0].delta.role == "assistant"
    assert streamed.finish_reasons() == ["stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in streamed.chunks}) == 1
    assert streamed.chunks[-1].choices == []
    assert streamed.chunks[-1].usage.completion_tokens > 1


async def test_the_stream_helper_builds_the_whole_answer(
    sdk: Client, asked: dict[str, Any]
) -> None:
    events, completion = await sdk.helper(**asked)
    [choice] = completion.choices
    deltas = [event.delta for event in events if event.type == "content.delta"]
    assert "".join(deltas) == choice.message.content
    assert CAPITAL in choice.message.content
    assert choice.finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_answer_is_cut_at_the_callers_limit(
    sdk: Client, asked: dict[str, Any], stream: bool
) -> None:
    if stream:
        finish = (await sdk.stream(**asked, max_tokens=2)).finish_reasons()
    else:
        finish = [(await sdk.chat(**asked, max_tokens=2)).choices[0].finish_reason]
    assert finish == ["length"]


@TO_OPENAI
async def test_a_long_stream_comes_token_by_token(sdk: Client, asked: dict[str, Any]) -> None:
    asked |= {"max_tokens": LONG_TOKENS, "stop": ["\u0000"], "extra_body": ENDLESS}
    streamed = await sdk.stream(**asked, stream_options={"include_usage": True})
    assert streamed.error is None
    assert streamed.finish_reasons() == ["length"]
    assert streamed.chunks[-1].usage.completion_tokens == LONG_TOKENS
    # A character of several tokens comes in one piece; nothing else is gathered.
    assert len(streamed.chunks) > LONG_TOKENS * 0.8


# llama.cpp's own Anthropic dialect knows no structured output.
@TO_OPENAI
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "helper"])
async def test_an_answer_is_the_callers_own_type(
    sdk: Client, asked: dict[str, Any], stream: bool
) -> None:
    asked["response_format"] = Capital
    if stream:
        _, answer = await sdk.helper(**asked)
    else:
        answer = await sdk.call(sdk.raw.chat.completions.parse, **asked)
    assert isinstance(answer.choices[0].message.parsed, Capital)


@pytest.mark.parametrize("names", [names for _, names in CALLS], ids=CALL_NAMES)
async def test_tools_are_offered_and_their_results_answered(
    sdk: Client, asked: dict[str, Any], names: list[str]
) -> None:
    question = {"role": "user", "content": WEATHER_QUESTION}
    asked |= {"messages": [question], "tools": tools(*names), "max_tokens": ENOUGH_TOKENS}
    [choice] = (await sdk.chat(**asked)).choices
    assert choice.message.content
    assert choice.message.tool_calls is None
    calls = [
        {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": given}}
        for name, given in ((name, json.dumps(ARGUMENTS[name])) for name in names)
    ]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": WEATHER} for call in calls]
    turn = {"role": "assistant", "content": None, "tool_calls": calls}
    asked["messages"] = [question, turn, *results]
    answer = await sdk.chat(**asked)
    streamed = await sdk.stream(**asked)
    for text in (answer.choices[0].message.content, streamed.text()):
        assert WEATHER in text
    assert streamed.error is None
    assert len(streamed.finish_reasons()) == 1


async def test_a_response_is_the_same_whole_and_by_the_helper(
    sdk: Client, server: Droveway
) -> None:
    asked = {"model": server.local_model, "input": QUESTION, "temperature": 0}
    response = await Responses(sdk).create(**asked)
    events, helped = await Responses(sdk).helper(**asked)
    for one in (response, helped):
        assert one.status == "completed"
        assert CAPITAL in one.output_text
        assert one.usage.output_tokens > 1
    assert events[-1].type == "response.completed"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_prompt_beyond_its_context_is_a_bad_request(
    sdk: Client, asked: dict[str, Any], stream: bool
) -> None:
    asked["messages"] = [{"role": "user", "content": TOO_LONG}]
    with pytest.raises(openai.BadRequestError) as caught:
        await (sdk.stream if stream else sdk.chat)(**asked)
    assert (caught.value.status_code, caught.value.code) == (400, "context_length_exceeded")
    assert "exceeds the available context size" in caught.value.message
    assert caught.value.request_id


async def test_it_is_not_found_by_a_key_that_may_not_use_it(
    server: Droveway, flavour: str, asked: dict[str, Any]
) -> None:
    async with opened(flavour, server, api_key=server.keys["narrow"]) as client:
        with pytest.raises(openai.NotFoundError) as caught:
            await client.chat(**asked)
    check(caught.value, missing("model_not_found", "model"))
