"""Function calls and structured output through the Responses API."""

import json
from typing import Any

import pytest

from tests.sdks.openai.client import Client
from tests.sdks.openai.responses_client import Responses
from tests.sdks.server import Book
from tests.sdks.tools import CALL_NAMES, CALLS, TOOLS, Place, expected_arguments

pytestmark = pytest.mark.sdks


def tools(*names: str) -> list[dict[str, Any]]:
    """Function tools in this API's flat form."""
    empty = {"type": "object", "properties": {}}
    return [
        {"type": "function", "name": name, "parameters": TOOLS[name] or empty, "strict": False}
        for name in names
    ]


def told(output: list[Any]) -> list[tuple[str, Any]]:
    """Name and arguments of each call."""
    calls = [item for item in output if item.type == "function_call"]
    return [(call.name, json.loads(call.arguments)) for call in calls]


@pytest.mark.parametrize(("text", "names"), CALLS, ids=CALL_NAMES)
async def test_calls_are_the_same_whole_streamed_and_by_the_helper(
    sdk: Client, text: str, names: list[str]
) -> None:
    asked = {"model": "sim-small", "input": text, "tools": tools(*names)}
    whole = await Responses(sdk).create(**asked)
    calls = told(whole.output)
    assert [name for name, _ in calls] == names
    assert [set(arguments) for _, arguments in calls] == [*map(expected_arguments, names)]
    assert len({item.call_id for item in whole.output}) == len(names)
    assert all(item.id.startswith("fc_") and item.status == "completed" for item in whole.output)
    _, helped = await Responses(sdk).helper(**asked)
    assert told(helped.output) == calls
    events, _ = await Responses(sdk).stream(**asked)
    assert told(events[-1].response.output) == calls


async def test_each_streamed_call_is_an_item_of_its_own(sdk: Client) -> None:
    offered = tools("get_weather", "get_time")
    asked = {"model": "sim-small", "input": "both in parallel", "tools": offered}
    events, _ = await Responses(sdk).stream(**asked)
    added = [event for event in events if event.type == "response.output_item.added"]
    assert [(one.output_index, one.item.name, one.item.arguments) for one in added] == [
        (0, "get_weather", ""),
        (1, "get_time", ""),
    ]
    for index in (0, 1):
        own = [event for event in events if getattr(event, "output_index", None) == index]
        deltas = [one.delta for one in own if one.type.endswith("arguments.delta")]
        [done] = [one for one in own if one.type.endswith("arguments.done")]
        assert "".join(deltas) == done.arguments
        assert [own[0].type, own[-1].type] == [
            "response.output_item.added",
            "response.output_item.done",
        ]


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "resent"])
@pytest.mark.parametrize(("text", "names"), CALLS, ids=CALL_NAMES)
async def test_the_tools_results_lead_to_an_answer(
    sdk: Client, book: Book, text: str, names: list[str], kept: bool
) -> None:
    asked: dict[str, Any] = {"model": "sim-small", "tools": tools(*names)}
    first = await Responses(sdk).create(**asked, input=text)
    results = [
        {"type": "function_call_output", "call_id": item.call_id, "output": '{"sky": "clear"}'}
        for item in first.output
    ]
    if kept:
        asked["previous_response_id"] = first.id
        asked["input"] = results
    else:
        turn = [item.model_dump(exclude_none=True) for item in first.output]
        asked["input"] = [{"role": "user", "content": text}, *turn, *results]
    final = await Responses(sdk).create(**asked)
    assert final.output_text
    assert [item.type for item in final.output] == ["message"]
    assert [entry["status"] for entry in book.entries()] == [200, 200]


async def test_a_tool_that_is_named_is_called(sdk: Client) -> None:
    named = {"type": "function", "name": "get_time"}
    offered = tools("get_weather", "get_time")
    response = await Responses(sdk).create(
        model="sim-small", input="x", tools=offered, tool_choice=named
    )
    assert [name for name, _ in told(response.output)] == ["get_time"]


async def test_structured_output_is_json_of_its_schema(sdk: Client) -> None:
    shape = {"type": "json_schema", "name": "place", "schema": Place.model_json_schema()}
    asked = {"model": "sim-small", "input": "a place", "text": {"format": shape}}
    response = await Responses(sdk).create(**asked)
    assert Place.model_validate_json(response.output_text)


async def test_parse_gives_the_callers_own_type(sdk: Client) -> None:
    asked = {"model": "sim-small", "input": "a place", "text_format": Place}
    response = await Responses(sdk).parse(**asked)
    assert isinstance(response.output_parsed, Place)
    _, helped = await Responses(sdk).helper(**asked)
    assert helped.output_parsed == response.output_parsed
