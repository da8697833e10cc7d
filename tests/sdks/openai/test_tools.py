"""Tool calls and structured output, whole and streamed."""

import json
from typing import Any

import pytest

from tests.sdks.marks import TO_OPENAI
from tests.sdks.openai.client import Client
from tests.sdks.server import Book
from tests.sdks.tools import CALL_NAMES, CALLS, TOOLS, Place, expected_arguments

pytestmark = pytest.mark.sdks

RESULT = '{"sky": "clear \U0001f324"}'


def tools(*names: str) -> list[dict[str, Any]]:
    """Function tools; without parameters none at all are sent.

    Strict, since `stream()` of the first major's async client takes no other.
    """
    offered: list[dict[str, Any]] = []
    for name in names:
        function: dict[str, Any] = {"name": name, "description": f"Does {name}.", "strict": True}
        if TOOLS[name]:
            function["parameters"] = TOOLS[name]
        offered.append({"type": "function", "function": function})
    return offered


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


@pytest.mark.parametrize(("text", "names"), CALLS, ids=CALL_NAMES)
async def test_tool_calls_are_the_same_whole_streamed_and_by_the_helper(
    sdk: Client, text: str, names: list[str]
) -> None:
    asked = asking(text, tools=tools(*names))
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
    for calls in (whole, parts, helped):
        said = [(name, json.loads(arguments)) for _, name, arguments in calls]
        assert said == [(name, json.loads(arguments)) for _, name, arguments in whole]
        assert [set(arguments) for _, arguments in said] == [*map(expected_arguments, names)]


async def test_each_piece_of_a_streamed_call_has_its_index_and_the_first_its_name(
    sdk: Client,
) -> None:
    asked = asking("both in parallel", tools=tools("get_weather", "get_time"))
    streamed = await sdk.stream(**asked)
    pieces = [piece for one in streamed.choices() for piece in one.delta.tool_calls or []]
    firsts = [piece for piece in pieces if piece.id]
    assert [(one.index, one.type, one.function.name) for one in firsts] == [
        (0, "function", "get_weather"),
        (1, "function", "get_time"),
    ]
    assert [one.index for one in pieces] == sorted(one.index for one in pieces)
    assert all(not one.function.name for one in pieces if not one.id)


@pytest.mark.parametrize(("text", "names"), CALLS, ids=CALL_NAMES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_tools_results_lead_to_an_answer(
    sdk: Client, book: Book, text: str, names: list[str], stream: bool
) -> None:
    asked = asking(text, tools=tools(*names))
    message = (await sdk.chat(**asked)).choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": RESULT} for call in message.tool_calls
    ]
    turn = message.model_dump(exclude_none=True)
    asked["messages"] = [*asked["messages"], turn, *results]
    if stream:
        streamed = await sdk.stream(**asked)
        finish, content = streamed.finish_reasons(), streamed.text()
    else:
        [choice] = (await sdk.chat(**asked)).choices
        finish, content = [choice.finish_reason], choice.message.content
    assert finish == ["stop"]
    assert content
    assert [entry["status"] for entry in book.entries()] == [200, 200]


@TO_OPENAI
async def test_a_result_reaches_a_provider_of_the_same_dialect_unchanged(
    sdk: Client, book: Book
) -> None:
    asked = asking("weather?", tools=tools("get_weather"))
    message = (await sdk.chat(**asked)).choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": RESULT}
    turn = message.model_dump(exclude_none=True)
    await sdk.chat(**{**asked, "messages": [*asked["messages"], turn, result]})
    assert book.last()["messages"][2] == result


@pytest.mark.parametrize("forced", ["named", "required"])
async def test_a_tool_that_must_be_called_is_called(sdk: Client, forced: str) -> None:
    named = {"type": "function", "function": {"name": "get_time"}}
    choice = named if forced == "named" else "required"
    offered = tools("get_weather", "get_time")
    answer = await sdk.chat(**asking("x", tools=offered, tool_choice=choice))
    [name] = [name for _, name, _ in told(answer.choices[0].message.tool_calls)]
    assert name == ("get_time" if forced == "named" else "get_weather")


async def test_no_tool_is_called_where_none_may_be(sdk: Client) -> None:
    asked = asking("weather?", tools=tools("get_weather"), tool_choice="none")
    [choice] = (await sdk.chat(**asked)).choices
    assert (choice.finish_reason, choice.message.tool_calls) == ("stop", None)


async def test_parallel_calls_can_be_forbidden(sdk: Client) -> None:
    offered = tools("get_weather", "get_time")
    asked = asking("both in parallel", tools=offered, parallel_tool_calls=False)
    assert len((await sdk.chat(**asked)).choices[0].message.tool_calls) == 1


async def test_structured_output_is_json_of_its_schema(sdk: Client) -> None:
    schema = {"name": "place", "strict": True, "schema": Place.model_json_schema()}
    shape = {"type": "json_schema", "json_schema": schema}
    answer = await sdk.chat(**asking("a place", response_format=shape))
    place = Place.model_validate_json(answer.choices[0].message.content)
    streamed = await sdk.stream(**asking("a place", response_format=shape))
    assert Place.model_validate_json(streamed.text()) == place


async def test_parse_gives_the_callers_own_type(sdk: Client) -> None:
    asked = asking("a place", response_format=Place)
    named = {**asked, "model": sdk.named(asked["model"])}
    answer = await sdk.call(sdk.raw.chat.completions.parse, **named)
    parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, Place)
    _, completion = await sdk.helper(**asked)
    assert completion.choices[0].message.parsed == parsed
