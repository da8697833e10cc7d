from typing import Any

import pytest

from droveway.dialects.responses.request import UnsupportedParameter, check, to_chat
from droveway.dialects.untranslatable import Untranslatable

IMAGE = "data:image/png;base64,AAAA"
USER = {"role": "user", "content": "hi"}
CALL = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "a", "output": "1"}
PART = "input[0].content[0]"


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "input": "hi"} | fields


def translate(request: dict[str, Any]) -> None:
    check(request)
    to_chat(request, [])


def refused(**fields: Any) -> Untranslatable:
    with pytest.raises(Untranslatable) as caught:
        translate(asked(**fields))
    return caught.value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("background", True), ("conversation", "conv_1"), ("prompt", {"id": "p"}),
        ("context_management", [{}]), ("moderation", {"model": "m"}), ("messages", [USER]),
        ("max_tokens", 1), ("max_completion_tokens", 1), ("response_format", {}), ("n", 1),
        ("functions", []), ("modalities", ["audio"]), ("logprobs", True),
    ],
)  # fmt: skip
def test_what_is_not_done_here_is_refused_by_name(name: str, value: object) -> None:
    error = refused(**{name: value})
    assert isinstance(error, UnsupportedParameter)
    assert error.param == name
    assert f"`{name}`" in error.message


def test_without_storage_nothing_can_be_continued() -> None:
    request = asked(previous_response_id="resp_1")
    check(request)
    with pytest.raises(UnsupportedParameter) as caught:
        check(request, stores=False)
    assert caught.value.param == "previous_response_id"


def content(*parts: object, role: str = "user") -> dict[str, Any]:
    return {"input": [{"role": role, "content": list(parts)}]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 1}, "input"),
        ({"input": [1]}, "input[0]"),
        ({"input": [{}]}, "input[0].type"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
        ({"input": [{"type": ["message"]}]}, "input[0].type"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        (content({"type": "image_url", "text": "a"}), f"{PART}.type"),
        (content({"type": "input_text"}), f"{PART}.text"),
        (content({"type": "input_text", "text": "a"}, 1), "input[0].content[1]"),
        (content({"type": "input_text", "text": "a"}, role="assistant"), f"{PART}.type"),
        (content({"type": "input_image", "image_url": IMAGE}, role="system"),
         f"{PART}.type"),
        (content({"type": "input_image", "file_id": "file-1"}), f"{PART}.file_id"),
        (content({"type": "input_image"}), f"{PART}.image_url"),
        (content({"type": "input_image", "image_url": "http://a/"}), f"{PART}.image_url"),
        (content({"type": "input_file"}), f"{PART}.file_data"),
        (content({"type": "input_file", "file_data": 1}), f"{PART}.file_data"),
        (content({"type": "input_file", "file_url": "https://a/"}), f"{PART}.file_url"),
        (content({"type": "input_audio", "input_audio": {}}),
         f"{PART}.input_audio.data"),
        ({"input": [OUTPUT | {"output": None}]}, "input[0].output"),
        ({"input": [OUTPUT | {"call_id": ""}]}, "input[0].call_id"),
        ({"input": [CALL | {"arguments": {}}]}, "input[0].arguments"),
        ({"input": [CALL | {"name": ""}]}, "input[0].name"),
        ({"input": [{"type": "reasoning", "summary": "a"}]}, "input[0].summary"),
        ({"input": [{"type": "reasoning", "summary": [{}]}]}, "input[0].summary[0].text"),
        ({"instructions": 1}, "instructions"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "custom", "name": "f"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": "f", "parameters": 1}]}, "tools[0].parameters"),
        ({"tools": {}}, "tools"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": True}, "top_p"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"include": "a"}, "include"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"text": {"verbosity": "loud"}}, "text.verbosity"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"reasoning": "low"}, "reasoning"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"truncation": "middle"}, "truncation"),
        ({"store": "yes"}, "store"),
        ({"stream": 1}, "stream"),
        ({"previous_response_id": 1}, "previous_response_id"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    error = refused(**fields)
    assert error.param == param
    assert param in error.message


@pytest.mark.parametrize("earlier", [[], [USER]], ids=["first", "goes on"])
def test_reasoning_alone_is_refused_with_what_it_lacks(earlier: list[dict[str, Any]]) -> None:
    thought = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "a"}],
    }
    with pytest.raises(Untranslatable) as caught:
        to_chat(asked(input=[thought, thought]), earlier)
    assert caught.value.param == "input"
    assert "only reasoning items" in caught.value.message
    assert "add the message" in caught.value.message
