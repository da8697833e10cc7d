"""A real model behind the gateway, by both of llama.cpp's dialects.

It has 270 million parameters and calls no tool by itself: offers, earlier calls and their results
must reach it and be answered.
"""

from typing import Any

import anthropic
import pytest

from tests.sdks.anthropic.client import Client, opened
from tests.sdks.anthropic.failures import check, missing
from tests.sdks.anthropic.test_tools import tools
from tests.sdks.marks import TO_ANTHROPIC, TO_OPENAI
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
    message = await sdk.message(**asked)
    [block] = message.content
    assert block.type == "text"
    assert CAPITAL in block.text
    assert (message.role, message.model) == ("assistant", server.local_model)
    assert message.stop_reason in ("end_turn", "stop_sequence")
    usage = message.usage
    read = usage.cache_read_input_tokens or 0
    assert usage.input_tokens + read > len(QUESTION.split())
    assert usage.output_tokens > 1


async def test_a_stream_has_its_events_in_order(sdk: Client, asked: dict[str, Any]) -> None:
    streamed = await sdk.stream(**asked)
    assert streamed.error is None
    first, begun, *deltas, ended, told, last = streamed.types()
    assert (first, begun) == ("message_start", "content_block_start")
    assert set(deltas) == {"content_block_delta"}
    assert (ended, told, last) == ("content_block_stop", "message_delta", "message_stop")
    assert CAPITAL in streamed.text()
    assert streamed.of("message_delta")[0].usage.output_tokens > 1


async def test_the_stream_helper_builds_the_whole_message(
    sdk: Client, asked: dict[str, Any]
) -> None:
    events, message = await sdk.helper(**asked)
    [block] = message.content
    assert "".join(event.text for event in events if event.type == "text") == block.text
    assert CAPITAL in block.text
    assert message.usage.output_tokens > 1


@pytest.mark.parametrize("helped", [False, True], ids=["whole", "helper"])
async def test_a_message_is_cut_at_the_callers_limit(
    sdk: Client, asked: dict[str, Any], helped: bool
) -> None:
    asked["max_tokens"] = 2
    message = (await sdk.helper(**asked))[1] if helped else await sdk.message(**asked)
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 2)


@TO_ANTHROPIC
async def test_a_long_stream_comes_token_by_token(sdk: Client, asked: dict[str, Any]) -> None:
    asked["extra_body"] = ENDLESS
    streamed = await sdk.stream(**asked, max_tokens=LONG_TOKENS, stop_sequences=["\u0000"])
    assert streamed.error is None
    [ended] = streamed.of("message_delta")
    assert (ended.delta.stop_reason, ended.usage.output_tokens) == ("max_tokens", LONG_TOKENS)
    # A character of several tokens comes in one piece; nothing else is gathered.
    assert len(streamed.deltas("text_delta")) > LONG_TOKENS * 0.8


# llama.cpp's own Anthropic dialect knows no structured output.
@TO_OPENAI
@pytest.mark.parametrize("helped", [False, True], ids=["whole", "helper"])
async def test_an_answer_is_the_callers_own_type(
    sdk: Client, asked: dict[str, Any], helped: bool
) -> None:
    asked["output_format"] = Capital
    message = (await sdk.helper(**asked))[1] if helped else await sdk.parse(**asked)
    assert isinstance(message.parsed_output, Capital)


@pytest.mark.parametrize("names", [names for _, names in CALLS], ids=CALL_NAMES)
async def test_tools_are_offered_and_their_results_answered(
    sdk: Client, asked: dict[str, Any], names: list[str]
) -> None:
    question = {"role": "user", "content": WEATHER_QUESTION}
    asked |= {"messages": [question], "tools": tools(*names), "max_tokens": ENOUGH_TOKENS}
    [block] = (await sdk.message(**asked)).content
    assert block.type == "text"
    uses = [
        {"type": "tool_use", "id": f"toolu_{name}", "name": name, "input": ARGUMENTS[name]}
        for name in names
    ]
    results = [
        {"type": "tool_result", "tool_use_id": use["id"], "content": WEATHER} for use in uses
    ]
    turns = [{"role": "assistant", "content": uses}, {"role": "user", "content": results}]
    asked["messages"] = [question, *turns]
    message = await sdk.message(**asked)
    streamed = await sdk.stream(**asked)
    for text in (message.content[0].text, streamed.text()):
        assert WEATHER in text
    assert streamed.error is None
    assert streamed.types()[-1] == "message_stop"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_prompt_beyond_its_context_is_a_bad_request(
    sdk: Client, asked: dict[str, Any], stream: bool
) -> None:
    asked["messages"] = [{"role": "user", "content": TOO_LONG}]
    with pytest.raises(anthropic.BadRequestError) as caught:
        await (sdk.stream if stream else sdk.message)(**asked)
    assert (caught.value.status_code, caught.value.type) == (400, "invalid_request_error")
    assert "exceeds the available context size" in caught.value.message
    assert caught.value.request_id


async def test_it_is_not_found_by_a_key_that_may_not_use_it(
    server: Droveway, flavour: str, asked: dict[str, Any]
) -> None:
    async with opened(flavour, server, api_key=server.keys["narrow"]) as client:
        with pytest.raises(anthropic.NotFoundError) as caught:
            await client.message(**asked)
    check(caught.value, missing("model_not_found"))
