"""Tool calls and structured output, whole and streamed."""

import json
from typing import Any

import pytest

from tests.sdks.anthropic.client import Client
from tests.sdks.server import Book
from tests.sdks.tools import CALL_NAMES, CALLS, TOOLS, Place, expected_arguments

pytestmark = pytest.mark.sdks


def tools(*names: str) -> list[dict[str, Any]]:
    """The tools as this API has them; a schema is required."""
    return [
        {
            "name": name,
            "description": f"Does {name}.",
            "input_schema": TOOLS[name] or {"type": "object", "properties": {}},
        }
        for name in names
    ]


def asking(text: str, **fields: Any) -> dict[str, Any]:
    """A request of one user message."""
    return {"model": "sim-small", "messages": [{"role": "user", "content": text}], **fields}


def called(message: Any) -> list[tuple[str, Any]]:
    """Name and input of each call."""
    return [(block.name, block.input) for block in message.content if block.type == "tool_use"]


@pytest.mark.parametrize(("text", "names"), CALLS, ids=CALL_NAMES)
async def test_tool_calls_are_the_same_whole_and_by_the_helper(
    sdk: Client, text: str, names: list[str]
) -> None:
    asked = asking(text, tools=tools(*names))
    whole = await sdk.message(**asked)
    assert whole.stop_reason == "tool_use"
    assert [block.type for block in whole.content] == ["tool_use"] * len(names)
    assert len({block.id for block in whole.content}) == len(names)
    assert [name for name, _ in called(whole)] == names
    assert [set(given) for _, given in called(whole)] == [*map(expected_arguments, names)]
    _, helped = await sdk.helper(**asked)
    assert helped.stop_reason == "tool_use"
    assert called(helped) == called(whole)


async def test_each_streamed_call_is_a_block_of_its_own(sdk: Client) -> None:
    asked = asking("both in parallel", tools=tools("get_weather", "get_time"))
    streamed = await sdk.stream(**asked)
    starts = streamed.of("content_block_start")
    assert [(one.index, one.content_block.name) for one in starts] == [
        (0, "get_weather"),
        (1, "get_time"),
    ]
    assert all(one.content_block.input == {} for one in starts)
    assert [one.index for one in streamed.of("content_block_stop")] == [0, 1]
    for index in (0, 1):
        deltas = [one for one in streamed.of("content_block_delta") if one.index == index]
        assert json.loads("".join(one.delta.partial_json for one in deltas))
    kinds = [one.index for one in streamed.events if one.type.startswith("content_block")]
    assert kinds == sorted(kinds), "a block ends before the next begins"


@pytest.mark.parametrize(("text", "names"), CALLS, ids=CALL_NAMES)
@pytest.mark.parametrize("helped", [False, True], ids=["whole", "helper"])
async def test_the_tools_results_lead_to_an_answer(
    sdk: Client, book: Book, text: str, names: list[str], helped: bool
) -> None:
    asked = asking(text, tools=tools(*names))
    message = await sdk.message(**asked)
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": '{"sky": "clear"}'}
        for block in message.content
    ]
    turn = {"role": "assistant", "content": message.content}
    asked["messages"] = [*asked["messages"], turn, {"role": "user", "content": results}]
    final = (await sdk.helper(**asked))[1] if helped else await sdk.message(**asked)
    assert final.stop_reason == "end_turn"
    assert final.content[0].text
    assert [entry["status"] for entry in book.entries()] == [200, 200]


async def test_a_failed_tools_result_and_what_the_user_adds_are_taken(sdk: Client) -> None:
    asked = asking("weather?", tools=tools("get_weather"))
    message = await sdk.message(**asked)
    [call] = message.content
    result = {"type": "tool_result", "tool_use_id": call.id, "is_error": True}
    blocks = [{**result, "content": [{"type": "text", "text": "no such city"}]}]
    blocks.append({"type": "text", "text": "then guess"})
    turn = {"role": "assistant", "content": message.content}
    asked["messages"] = [*asked["messages"], turn, {"role": "user", "content": blocks}]
    assert (await sdk.message(**{**asked, "tool_choice": {"type": "none"}})).content[0].text


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"type": "tool", "name": "get_time"}, ["get_time"]),
        ({"type": "any"}, ["get_weather"]),
        ({"type": "auto", "disable_parallel_tool_use": True}, ["get_weather"]),
        ({"type": "none"}, []),
    ],
    ids=["named", "any", "one-at-a-time", "none"],
)
async def test_the_callers_choice_of_tools_is_obeyed(
    sdk: Client, choice: dict[str, Any], names: list[str]
) -> None:
    offered = tools("get_weather", "get_time")
    asked = asking("x in parallel" if names == ["get_weather"] else "x", tools=offered)
    if choice["type"] == "any":
        asked = asking("x", tools=offered)
    message = await sdk.message(**asked, tool_choice=choice)
    assert [name for name, _ in called(message)] == names


async def test_structured_output_is_json_of_its_schema(sdk: Client) -> None:
    shape = {"type": "json_schema", "schema": Place.model_json_schema()}
    message = await sdk.message(**asking("a place", output_config={"format": shape}))
    assert Place.model_validate_json(message.content[0].text)


async def test_parse_gives_the_callers_own_type(sdk: Client) -> None:
    message = await sdk.parse(**asking("a place", output_format=Place))
    assert isinstance(message.parsed_output, Place)
    _, helped = await sdk.helper(**asking("a place", output_format=Place))
    assert helped.parsed_output == message.parsed_output
