import copy
from typing import Any

import pytest

from droveway.dialects.chat import checks as chat_checks
from droveway.dialects.responses.reasoning import redacted_block, seal, thinking_block
from droveway.dialects.responses.request import check, conversation, stores, to_chat
from droveway.dialects.untranslatable import Translated

IMAGE = "data:image/png;base64,AAAA"
USER = {"role": "user", "content": "hi"}


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "input": "hi"} | fields


def chat(*earlier: dict[str, Any], **fields: Any) -> Translated:
    """What a request becomes; it is checked first, left as it was, and a good chat request."""
    request = asked(**fields)
    before = copy.deepcopy(request)
    check(request)
    translated = to_chat(request, earlier)
    assert request == before
    chat_checks.check(translated.body)
    return translated


def messages(*items: dict[str, Any]) -> Any:
    return chat(input=list(items)).body["messages"]


def test_a_string_is_a_users_message() -> None:
    assert chat() == ({"model": "m", "messages": [USER]}, ())


def test_instructions_come_first_and_earlier_messages_next() -> None:
    earlier = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    body = chat(*earlier, instructions="Be brief.", previous_response_id="resp_1").body
    system = {"role": "system", "content": "Be brief."}
    assert body == {"model": "m", "messages": [system, *earlier, USER]}
    request = asked(instructions="Be brief.")
    assert conversation(request, body) == [*earlier, USER]


def test_a_successor_may_bring_nothing_but_itself() -> None:
    request = {"model": "m", "previous_response_id": "resp_1"}
    check(request)
    assert to_chat(request, [USER]).body["messages"] == [USER]


def test_messages_keep_their_roles() -> None:
    items = [{"role": role, "content": role} for role in ("system", "developer", "user")]
    assert messages(*items, {"type": "message", "role": "assistant", "content": "ok"}) == [
        *items,
        {"role": "assistant", "content": "ok"},
    ]


def test_a_users_parts_become_parts() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    content = [
        {"type": "input_text", "text": "a", **mark},
        {"type": "input_image", "image_url": IMAGE, "detail": "low"},
        {"type": "input_image", "image_url": "https://example.com/a.png"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
    ]
    (message,) = messages({"role": "user", "content": content})
    assert message["content"] == [
        {"type": "text", "text": "a", **mark},
        {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
        },
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
    ]


def test_a_single_text_is_a_string() -> None:
    parts = [{"type": "input_text", "text": "hi"}]
    assert messages({"role": "user", "content": parts}) == [USER]


def reasoning(text: str, **fields: Any) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": text}]
    return {"type": "reasoning", "id": "rs_1", "summary": summary} | fields


def said(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"} | {
        "content": content
    }


def call(call_id: str) -> dict[str, Any]:
    fields = {"id": f"fc_{call_id}", "status": "completed", "name": "f", "arguments": "{}"}
    return {"type": "function_call", "call_id": call_id} | fields


def output(call_id: str, value: Any = "1") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": value}


def chat_call(call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_what_one_turn_is_made_of_is_one_message() -> None:
    made = messages(USER, reasoning("hm"), said("I look."), call("a"), call("b"), output("a"))
    assert made[1:] == [
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "hm",
            "tool_calls": [chat_call("a"), chat_call("b")],
        },
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ]


def test_turns_that_follow_each_other_stay_apart() -> None:
    made = messages(reasoning("1"), call("a"), output("a"), reasoning("2"), said("x"), said("y"))
    assert [message["role"] for message in made] == ["assistant", "tool", "assistant", "assistant"]
    assert made[0]["content"] is None
    assert made[2] == {"role": "assistant", "content": "x", "reasoning_content": "2"}


def test_a_text_after_calls_does_not_part_them_from_their_outputs() -> None:
    made = messages(said("x"), call("a"), said("y"), output("a"))
    assert made[0]["content"] == [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]
    assert made[1]["role"] == "tool"


def test_reasoning_that_came_to_nothing_is_left_out() -> None:
    assert messages(reasoning("hm"), USER) == [USER]


def test_refusals_and_texts_of_the_assistant_are_its_parts() -> None:
    parts = [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "no"}]
    (message,) = messages({"role": "assistant", "content": parts})
    assert message["content"] == [
        {"type": "text", "text": "a"},
        {"type": "refusal", "refusal": "no"},
    ]


def test_an_outputs_parts_become_parts() -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": IMAGE}]
    made = messages(call("a"), output("a", parts))
    assert made[1]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": IMAGE}},
    ]


def test_signed_reasoning_goes_back_byte_for_byte() -> None:
    blocks = [thinking_block("hm\u2028 ", "sig=="), redacted_block("opaque")]
    made = messages(reasoning("hm", encrypted_content=seal(blocks)), said("x"))
    assert made[0]["thinking_blocks"] == blocks


@pytest.mark.parametrize(
    "foreign", ["gAAAAA", "dw1.", "dw1.%%%", "dw1.W10", "dw1.eyJ9", seal([{"type": "text"}]), 1]
)
def test_reasoning_that_another_sealed_is_dropped_with_a_warning(foreign: object) -> None:
    translated = chat(input=[reasoning("hm", encrypted_content=foreign), said("x")])
    assert "thinking_blocks" not in translated.body["messages"][0]
    assert translated.warnings == ("input[0].encrypted_content is not from here and was dropped",)


def test_tools_and_their_choice_are_nested() -> None:
    schema = {"type": "object", "properties": {}}
    tool = {"type": "function", "name": "f", "description": "d", "parameters": schema}
    body = chat(
        tools=[tool | {"strict": True}],
        tool_choice={"type": "function", "name": "f"},
        parallel_tool_calls=False,
    ).body
    function = {"name": "f", "description": "d", "parameters": schema, "strict": True}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert body["parallel_tool_calls"] is False
    assert "strict" not in chat(tools=[tool]).body["tools"][0]["function"]


def test_without_tools_nothing_is_said_of_them() -> None:
    fields = chat(tools=[], tool_choice="auto", parallel_tool_calls=True).body
    assert set(fields) == {"model", "messages"}


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
            {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
            },
        ),
    ],
)
def test_the_answers_form_is_translated(form: dict[str, Any], wanted: object) -> None:
    body = chat(text={"format": form, "verbosity": "low"}).body
    assert body.get("response_format") == wanted
    assert body["verbosity"] == "low"


def test_fields_of_both_apis_pass_and_others_change_their_names() -> None:
    same: dict[str, Any] = {
        "temperature": 0.5, "top_p": 0.9, "stream": True, "user": "u", "safety_identifier": "s",
        "service_tier": "auto", "prompt_cache_key": "k", "prompt_cache_retention": "24h",
        "an_extension": {"a": 1},
    }  # fmt: skip
    body = chat(
        **same, max_output_tokens=9, reasoning={"effort": "low", "summary": "auto"}, metadata={},
        store=True, truncation="disabled", background=False, stream_options={}, user_none=None,
    ).body  # fmt: skip
    assert body == same | {
        "model": "m",
        "messages": [USER],
        "max_completion_tokens": 9,
        "reasoning_effort": "low",
    }


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, {}),
        ({"top_logprobs": 0}, {}),
        ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
    ],
)
def test_log_probabilities_are_asked_for(fields: dict[str, Any], wanted: dict[str, Any]) -> None:
    body = chat(**fields).body
    assert {name: body[name] for name in ("logprobs", "top_logprobs") if name in body} == wanted


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"max_tool_calls": 3}, "max_tool_calls"),
        ({"reasoning": {"effort": "low", "max_tokens": 9}}, "reasoning"),
    ],
)
def test_what_is_dropped_is_told(fields: dict[str, Any], named: str) -> None:
    (warning,) = chat(**fields).warnings
    assert warning.startswith(named)
    assert warning.isascii()


@pytest.mark.parametrize("kept", [True, None])
def test_responses_are_kept_unless_told_otherwise(kept: bool | None) -> None:
    assert stores(asked(store=kept), enabled=True)
    assert not stores(asked(store=kept), enabled=False)
    assert not stores(asked(store=False), enabled=True)
