"""Tool calls and structured output, whole and streamed."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from tests.sdks.client import Client
from tests.sdks.server import Book

pytestmark = pytest.mark.sdks


def tool(name: str, **properties: str) -> dict[str, Any]:
    """A function tool whose parameters have the given types; none at all when there are none.

    Strict, since `stream()` of the first major's async client takes no other.
    """
    function: dict[str, Any] = {"name": name, "description": f"Does {name}.", "strict": True}
    if properties:
        function["parameters"] = {
            "type": "object",
            "properties": {key: {"type": kind} for key, kind in properties.items()},
            "required": list(properties),
        }
    return {"type": "function", "function": function}


WEATHER = tool("get_weather", city="string", days="integer")
TIME = tool("get_time", zone="string")
PING = tool("ping")


class Place(BaseModel):
    """What the provider is made to say."""

    name: str
    river: bool
    bridges: int


def asking(text: str, **fields: Any) -> dict[str, Any]:
    """A request of one user message."""
    return {"model": "sim-small", "messages": [{"role": "user", "content": text}], **fields}


def gathered(choices: list[Any]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of streamed tool calls, put together by their index."""
    calls: dict[int, list[str]] = {}
    for choice in choices:
        for piece in choice.delta.tool_calls or []:
            call = calls.setdefault(piece.index, ["", "", ""])
            call[0] += piece.id or ""
            call[1] += piece.function.name or ""
            call[2] += piece.function.arguments or ""
    return [(calls[index][0], calls[index][1], calls[index][2]) for index in range(len(calls))]


def told(calls: list[Any]) -> list[tuple[str, str, str]]:
    """The same of a whole answer."""
    return [(call.id, call.function.name, call.function.arguments) for call in calls]


@pytest.mark.parametrize(
    ("text", "tools", "names"),
    [
        ("weather?", [WEATHER], ["get_weather"]),
        ("both in parallel", [WEATHER, TIME], ["get_weather", "get_time"]),
        ("no arguments", [PING], ["ping"]),
    ],
    ids=["single", "parallel", "no-arguments"],
)
async def test_tool_calls_are_the_same_whole_streamed_and_by_the_helper(
    sdk: Client, text: str, tools: list[dict[str, Any]], names: list[str]
) -> None:
    asked = asking(text, tools=tools)
    answer = await sdk.chat(**asked)
    [choice] = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    whole = told(choice.message.tool_calls)
    assert [name for _, name, _ in whole] == names
    assert len({call_id for call_id, _, _ in whole}) == len(names)
    streamed = await sdk.stream(**asked)
    assert streamed.finish_reasons() == ["tool_calls"]
    parts = gathered(streamed.choices())
    _, completion = await sdk.helper(**asked)
    helped = told(completion.choices[0].message.tool_calls)
    for calls in (parts, helped):
        assert [call[1:] for call in calls] == [call[1:] for call in whole]
    for offered, (_, _, arguments) in zip(tools, whole, strict=True):
        expected = offered["function"].get("parameters", {"properties": {}})["properties"]
        assert json.loads(arguments).keys() == expected.keys()


async def test_a_tools_result_leads_to_an_answer(sdk: Client, book: Book) -> None:
    asked = asking("weather?", tools=[WEATHER])
    first = await sdk.chat(**asked)
    message = first.choices[0].message
    [call] = message.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"sky": "clear \U0001f324"}'}
    turn = message.model_dump(exclude_none=True)
    second = await sdk.chat(**{**asked, "messages": [*asked["messages"], turn, result]})
    assert second.choices[0].finish_reason == "stop"
    assert second.choices[0].message.content
    assert book.body(book.entries()[-1])["messages"][2] == result


async def test_a_tool_that_is_named_is_called(sdk: Client) -> None:
    choice = {"type": "function", "function": {"name": "get_time"}}
    answer = await sdk.chat(**asking("x", tools=[WEATHER, TIME], tool_choice=choice))
    assert [name for _, name, _ in told(answer.choices[0].message.tool_calls)] == ["get_time"]


async def test_structured_output_is_json_of_its_schema(sdk: Client) -> None:
    schema = {"name": "place", "strict": True, "schema": Place.model_json_schema()}
    shape = {"type": "json_schema", "json_schema": schema}
    answer = await sdk.chat(**asking("a place", response_format=shape))
    place = Place.model_validate_json(answer.choices[0].message.content)
    streamed = await sdk.stream(**asking("a place", response_format=shape))
    assert Place.model_validate_json(streamed.text()) == place


async def test_parse_gives_the_callers_own_type(sdk: Client) -> None:
    asked = asking("a place", response_format=Place)
    answer = await sdk.call(sdk.raw.chat.completions.parse, **asked)
    parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, Place)
    _, completion = await sdk.helper(**asked)
    assert completion.choices[0].message.parsed == parsed
