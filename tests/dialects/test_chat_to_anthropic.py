"""Chat requests as Anthropic's: each row of the translation table, and each known trap."""

import copy
from typing import Any

import msgspec
import pytest

from droveway.dialects.anthropic.from_chat import from_chat
from droveway.dialects.untranslatable import Translated, Untranslatable

PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="
HI = {"role": "user", "content": "Hi"}
SAID = {"role": "assistant", "content": "Yes?"}
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}


def translated(*messages: dict[str, Any], version_2026: bool = False, **fields: Any) -> Translated:
    request = {"model": "m", "messages": list(messages) or [HI], **fields}
    before = copy.deepcopy(request)
    made = from_chat(
        request, max_output_tokens=8_192, sampling=not version_2026, version_2026=version_2026
    )
    assert request == before
    assert msgspec.json.decode(msgspec.json.encode(made.body)) == made.body
    return made


def body(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    made = translated(*messages, **fields)
    assert made.warnings == ()
    return made.body


def refused(*messages: dict[str, Any], **fields: Any) -> str:
    with pytest.raises(Untranslatable) as refusal:
        translated(*messages, **fields)
    assert refusal.value.message
    return refusal.value.param


def called(*ids: str, **fields: Any) -> dict[str, Any]:
    calls = [
        {"id": id_, "type": "function", "function": {"name": "find", "arguments": "{}"}}
        for id_ in ids
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls, **fields}


def result(id_: str, content: Any = "found", **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content, **fields}


def tool_result(id_: str, content: Any = "found", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id_, "content": content, **fields}


def test_a_plain_question_stays_plain() -> None:
    assert body(HI, max_tokens=5, stream=True) == {
        "model": "m",
        "max_tokens": 5,
        "messages": [HI],
        "stream": True,
    }


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, 8_192),
        ({"max_tokens": None}, 8_192),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 9, "max_tokens": 7}, 9),
    ],
)
def test_max_tokens_is_always_told(fields: dict[str, Any], limit: int) -> None:
    assert body(**fields)["max_tokens"] == limit


class TestSystem:
    def test_leading_messages_are_hoisted_and_joined(self) -> None:
        made = body(
            {"role": "system", "content": "Be kind."},
            {"role": "developer", "content": [{"type": "text", "text": "Be short."}]},
            HI,
        )
        assert made["system"] == "Be kind.\nBe short."
        assert made["messages"] == [HI]

    def test_blocks_are_kept_where_one_ends_a_cached_prefix(self) -> None:
        cached = {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}
        made = body(
            {"role": "system", "content": [cached]}, {"role": "system", "content": "Short."}, HI
        )
        assert made["system"] == [cached, {"type": "text", "text": "Short."}]

    def test_version_2023_hoists_those_of_the_conversation(self) -> None:
        made = body({"role": "system", "content": "A"}, HI, {"role": "system", "content": "B"}, HI)
        assert made["system"] == "A\nB"
        assert made["messages"] == [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}] * 2}
        ]

    def test_version_2026_keeps_them_after_the_users_turn(self) -> None:
        made = body(
            {"role": "system", "content": "A"},
            HI,
            {"role": "assistant", "content": "Yes?"},
            {"role": "system", "content": "B"},
            HI,
            {"role": "developer", "content": "C"},
            {"role": "assistant", "content": "And?"},
            HI,
            {"role": "system", "content": "D"},
            version_2026=True,
        )
        assert made["system"] == "A"
        assert [(m["role"], m["content"]) for m in made["messages"]] == [
            ("user", "Hi"),
            ("assistant", "Yes?"),
            ("user", "Hi"),
            ("system", "B\nC"),
            ("assistant", "And?"),
            ("user", "Hi"),
            ("system", "D"),
        ]

    def test_version_2026_never_parts_calls_from_results(self) -> None:
        made = body(
            HI,
            called("a", "b"),
            result("a"),
            {"role": "system", "content": "S"},
            result("b"),
            version_2026=True,
        )
        assert [message["role"] for message in made["messages"]] == [
            "user",
            "assistant",
            "user",
            "system",
        ]
        assert made["messages"][2]["content"] == [tool_result("a"), tool_result("b")]

    def test_version_2026_hoists_one_with_no_user_turn_before_it(self) -> None:
        made = body(
            HI,
            {"role": "assistant", "content": "Well"},
            {"role": "system", "content": "S"},
            version_2026=True,
        )
        assert made["system"] == "S"
        assert [message["role"] for message in made["messages"]] == ["user", "assistant"]

    def test_only_text_is_taken(self) -> None:
        image = {"type": "image_url", "image_url": {"url": PNG}}
        assert refused({"role": "system", "content": [image]}, HI) == "messages[0].content[0].type"

    def test_a_request_of_nothing_else_is_refused(self) -> None:
        assert refused({"role": "system", "content": "A"}) == "messages"


class TestContent:
    def test_turns_of_one_role_in_a_row_are_merged(self) -> None:
        made = body(
            HI,
            {"role": "user", "content": [{"type": "text", "text": "there"}]},
            {"role": "assistant", "content": "A"},
            {"role": "assistant", "content": "B"},
        )
        assert made["messages"] == [
            {
                "role": "user",
                "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}],
            },
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}],
            },
        ]

    @pytest.mark.parametrize("empty", ["", " \n", None, []])
    def test_what_says_nothing_is_left_out(self, empty: Any) -> None:
        made = body(HI, {"role": "assistant", "content": empty}, {"role": "user", "content": "!"})
        assert made["messages"] == [
            {"role": "user", "content": [{"type": "text", "text": t} for t in ("Hi", "!")]}
        ]
        parts = [{"type": "text", "text": ""}, {"type": "text", "text": "a"}]
        assert body({"role": "user", "content": parts})["messages"][0]["content"] == parts[1:]

    @pytest.mark.parametrize(
        ("url", "source"),
        [
            (PNG, {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}),
            (
                "DATA:image/JPG;charset=x;base64,QQ==",
                {"type": "base64", "media_type": "image/jpeg", "data": "QQ=="},
            ),
            ("https://a.example/b.png", {"type": "url", "url": "https://a.example/b.png"}),
        ],
    )
    def test_images_are_sent_inline_or_by_their_url(self, url: str, source: Any) -> None:
        part = {"type": "image_url", "image_url": {"url": url, "detail": "auto"}}
        block = body({"role": "user", "content": [part]})["messages"][0]["content"][0]
        assert block == {"type": "image", "source": source}

    @pytest.mark.parametrize(
        "url",
        [
            "http://a.example/b.png",
            "file:///etc/passwd",
            "ftp://a",
            "data:image/png,raw",
            "data:image/svg+xml;base64,QQ==",
            "data:image/png;base64,",
            "data:" + "x" * 300 + ";base64,QQ==",
            "",
            7,
        ],
    )
    def test_other_images_are_refused_and_never_fetched(self, url: Any) -> None:
        part = {"type": "image_url", "image_url": {"url": url}}
        at = "messages[0].content[0].image_url.url"
        assert refused({"role": "user", "content": [part]}) == at

    def test_a_pdf_becomes_a_document(self) -> None:
        part = {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}}
        made = body({"role": "user", "content": [part]})
        assert made["messages"][0]["content"] == [
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
                "title": "a.pdf",
            }
        ]

    @pytest.mark.parametrize(
        ("part", "param"),
        [
            ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, ""),
            ({"type": "file", "file": {"file_id": "file-1"}}, ".file.file_id"),
            ({"type": "file", "file": {"file_data": PNG}}, ".file.file_data"),
            ({"type": "video_url"}, ".type"),
            ({"type": ["text"]}, ".type"),
            ({"type": "text"}, ".text"),
            ("text", ""),
        ],
    )
    def test_other_parts_are_refused_by_their_place(self, part: Any, param: str) -> None:
        assert refused({"role": "user", "content": [part]}) == f"messages[0].content[0]{param}"

    def test_a_name_is_dropped_with_a_warning(self) -> None:
        made = translated(HI | {"name": "ann"}, HI | {"name": "bob"})
        assert made.warnings == ("messages[].name has no equivalent there and was dropped",)

    def test_an_unknown_role_is_refused(self) -> None:
        assert refused({"role": "judge", "content": "?"}) == "messages[0].role"
        assert refused({"role": ["user"], "content": "?"}) == "messages[0].role"

    def test_prefill_is_kept_without_the_white_space_that_is_refused(self) -> None:
        made = translated(HI, {"role": "assistant", "content": "{ "})
        assert made.body["messages"][1] == {"role": "assistant", "content": "{"}
        assert len(made.warnings) == 1
        parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "b\n"}]
        made = translated(HI, {"role": "assistant", "content": parts})
        assert made.body["messages"][1]["content"][1] == {"type": "text", "text": "b"}
        assert made.body["messages"][1]["content"][0] == {"type": "text", "text": "a "}

    def test_a_refusal_of_before_is_the_assistants_text(self) -> None:
        made = body(HI, {"role": "assistant", "content": None, "refusal": "No."}, HI)
        assert made["messages"][1]["content"] == [{"type": "text", "text": "No."}]


class TestCaching:
    def test_marks_of_both_dialects_become_the_field(self) -> None:
        parts = [
            {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
            {"type": "text", "text": "b", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ]
        content = body({"role": "user", "content": parts})["messages"][0]["content"]
        assert content[0]["cache_control"] == {"type": "ephemeral", "ttl": "5m"}
        assert content[1]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}

    def test_the_lifetime_of_breakpoints_is_a_setting(self) -> None:
        part = {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}
        request = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
        made = from_chat(
            request, max_output_tokens=1, sampling=True, version_2026=False, cache_ttl="1h"
        )
        assert made.body["messages"][0]["content"][0]["cache_control"]["ttl"] == "1h"

    def test_a_marked_message_marks_its_last_block(self) -> None:
        made = body(HI | {"cache_control": {"type": "ephemeral"}})
        assert made["messages"][0]["content"] == [
            {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
        ]

    def test_marker_blocks_are_folded_with_a_warning(self) -> None:
        parts = [{"type": "text", "text": "a"}, {"type": "cache_control", "index": 0}]
        made = translated({"role": "system", "content": parts}, HI)
        assert made.body["system"] == [
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
        ]
        assert len(made.warnings) == 1

    def test_a_marked_result_and_tool_keep_their_mark(self) -> None:
        part = {"type": "text", "text": "r", "cache_control": {"type": "ephemeral"}}
        tool = TOOL | {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
        made = body(HI, called("a"), result("a", [part]), tools=[tool])
        assert made["messages"][2]["content"] == [
            tool_result("a", [{"type": "text", "text": "r"}], cache_control={"type": "ephemeral"})
        ]
        assert made["tools"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}

    def test_a_fifth_breakpoint_is_refused(self) -> None:
        part = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
        assert body({"role": "user", "content": [part] * 4})
        assert refused({"role": "user", "content": [part] * 5}) == "messages"


class TestToolCalls:
    def test_parallel_results_come_first_in_one_turn(self) -> None:
        made = body(
            HI,
            called("a", "b", content="Look:"),
            result("a"),
            {"role": "user", "content": "Hurry"},
            result("b", [{"type": "text", "text": "B"}], is_error=True),
            {"role": "user", "content": "please"},
        )
        assert made["messages"][1:] == [
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Look:"},
                    {"type": "tool_use", "id": "a", "name": "find", "input": {}},
                    {"type": "tool_use", "id": "b", "name": "find", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    tool_result("a"),
                    tool_result("b", [{"type": "text", "text": "B"}], is_error=True),
                    {"type": "text", "text": "Hurry"},
                    {"type": "text", "text": "please"},
                ],
            },
        ]

    @pytest.mark.parametrize(
        ("messages", "param"),
        [
            ((HI, called("a"), result("a"), result("a")), "messages[3]"),
            ((HI, result("a")), "messages[1]"),
            ((HI, called("a"), result("b")), "messages[2]"),
            ((HI, called("a"), result("a"), called("b"), result("a")), "messages[4]"),
            ((HI, called("a"), HI, SAID, result("a")), "messages[1].tool_calls[0]"),
            ((HI, called("a")), "messages[1].tool_calls[0]"),
            ((HI, called("a", "b"), result("a")), "messages[1].tool_calls[1]"),
            ((HI, called("a", "a"), result("a")), "messages[1].tool_calls[1].id"),
            ((HI, called("")), "messages[1].tool_calls[0].id"),
            ((HI, {"role": "tool", "content": ""}), "messages[1]"),
            ((HI, {"role": "function", "name": "f", "content": ""}), "messages[1]"),
        ],
    )
    def test_calls_and_results_that_do_not_pair_are_refused(
        self, messages: Any, param: str
    ) -> None:
        assert refused(*messages) == param

    def test_ids_of_other_providers_are_made_to_fit_and_unique(self) -> None:
        made = body(HI, called("f.x:0"), result("f.x:0"), called("f.x:0"), result("f.x:0"))
        ids = [
            block.get("id") or block.get("tool_use_id")
            for message in made["messages"][1:]
            for block in message["content"]
        ]
        assert ids == ["f_x_0", "f_x_0", "f_x_0_2", "f_x_0_2"]

    @pytest.mark.parametrize(
        ("arguments", "taken"),
        [('{"q":"a","n":[1,2.5]}', {"q": "a", "n": [1, 2.5]}), ("", {}), (None, {})],
    )
    def test_arguments_become_an_object(self, arguments: Any, taken: Any) -> None:
        call = called("a")
        call["tool_calls"][0]["function"]["arguments"] = arguments
        made = body(HI, call, result("a"))
        assert made["messages"][1]["content"][0]["input"] == taken

    @pytest.mark.parametrize("arguments", ["{", "[1]", "null", "7", {"q": 1}, "[" * 10_000])
    def test_arguments_that_are_no_object_are_refused(self, arguments: Any) -> None:
        call = called("a")
        call["tool_calls"][0]["function"]["arguments"] = arguments
        param = "messages[1].tool_calls[0].function.arguments"
        assert refused(HI, call, result("a")) == param

    def test_the_old_function_fields_are_translated(self) -> None:
        call = {"role": "assistant", "content": None}
        call |= {"function_call": {"name": "f", "arguments": '{"a":1}'}}  # type: ignore[dict-item]
        answer = {"role": "function", "name": "f", "content": "1"}
        made = body(
            *(HI, call, answer, call, answer),
            functions=[{"name": "f", "description": "F"}],
            function_call={"name": "f"},
        )
        assert made["messages"][1]["content"][0]["id"] == "function_f"
        assert made["messages"][2]["content"] == [tool_result("function_f", "1")]
        assert made["messages"][4]["content"] == [tool_result("function_f_2", "1")]
        assert made["tools"] == [
            {
                "name": "f",
                "description": "F",
                "input_schema": {"type": "object", "properties": {}},
            }
        ]
        assert made["tool_choice"] == {"type": "tool", "name": "f"}

    def test_thinking_is_replayed_first_and_unchanged(self) -> None:
        blocks = [
            {"type": "thinking", "thinking": "Hm…", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "eA=="},
        ]
        call = called("a", content="Look", thinking_blocks=blocks, reasoning_content="Hm…")
        made = body(HI, call, result("a"))
        assert made["messages"][1]["content"][:2] == blocks
        types = [block["type"] for block in made["messages"][1]["content"]]
        assert types == ["thinking", "redacted_thinking", "text", "tool_use"]

    def test_a_turn_of_hidden_thinking_only_is_kept(self) -> None:
        block = {"type": "redacted_thinking", "data": "eA=="}
        turn = {"role": "assistant", "content": None, "thinking_blocks": [block]}
        assert body(HI, turn, HI)["messages"][1]["content"] == [block]

    def test_what_is_no_thinking_cannot_pass_as_such(self) -> None:
        turn = {"role": "assistant", "thinking_blocks": [{"type": "text", "text": "x"}]}
        assert refused(HI, turn) == "messages[1].thinking_blocks[0].type"


class TestTools:
    def test_parameters_and_strict_are_kept(self) -> None:
        schema = {"type": "object", "properties": {"q": {"type": "string"}}}
        function = {"name": "f", "description": "F", "parameters": schema, "strict": True}
        assert body(tools=[{"type": "function", "function": function}])["tools"] == [
            {"name": "f", "description": "F", "input_schema": schema, "strict": True}
        ]

    @pytest.mark.parametrize("parameters", [None, {}])
    def test_missing_parameters_are_an_empty_object(self, parameters: Any) -> None:
        tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
        schema = body(tools=[tool])["tools"][0]["input_schema"]
        assert schema == {"type": "object", "properties": {}}

    @pytest.mark.parametrize(
        ("fields", "choice"),
        [
            ({}, None),
            ({"tool_choice": "auto"}, {"type": "auto"}),
            ({"tool_choice": "none"}, {"type": "none"}),
            ({"tool_choice": "required"}, {"type": "any"}),
            (
                {"tool_choice": {"type": "function", "function": {"name": "find"}}},
                {"type": "tool", "name": "find"},
            ),
            (
                {"parallel_tool_calls": False},
                {"type": "auto", "disable_parallel_tool_use": True},
            ),
            (
                {"tool_choice": "required", "parallel_tool_calls": False},
                {"type": "any", "disable_parallel_tool_use": True},
            ),
            ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
            ({"parallel_tool_calls": True}, None),
        ],
    )
    def test_the_choice_is_translated(self, fields: Any, choice: Any) -> None:
        assert body(tools=[TOOL], **fields).get("tool_choice") == choice

    def test_a_choice_without_tools_is_left_out_or_refused(self) -> None:
        assert "tool_choice" not in body(tool_choice="auto", parallel_tool_calls=False, tools=[])
        assert refused(tool_choice="required") == "tool_choice"

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
            ({"tools": [TOOL, {"type": "function"}]}, "tools[1].function"),
            ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice"),
            ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
            ({"tools": {}}, "tools"),
        ],
    )
    def test_other_tools_and_choices_are_refused(self, fields: Any, param: str) -> None:
        assert refused(**fields) == param


class TestParameters:
    @pytest.mark.parametrize(
        ("stop", "sequences", "warned"),
        [
            ("END", ["END"], 0),
            (["a", "\n", " "], ["a"], 1),
            ("\n", None, 1),
            ([], None, 0),
            (None, None, 0),
        ],
    )
    def test_stop_goes_without_white_space_only(
        self, stop: Any, sequences: Any, warned: int
    ) -> None:
        made = translated(stop=stop)
        assert made.body.get("stop_sequences") == sequences
        assert len(made.warnings) == warned

    def test_sampling_is_kept_where_the_model_takes_it(self) -> None:
        made = body(temperature=0.5, top_k=3)
        assert (made["temperature"], made["top_k"]) == (0.5, 3)
        assert body(top_p=0.5)["top_p"] == 0.5
        assert body(top_p=1)["top_p"] == 1

    def test_a_top_p_that_changes_nothing_gives_way_to_a_temperature(self) -> None:
        assert "top_p" not in body(temperature=0, top_p=1)
        assert body(temperature=0, top_p=0.9)["top_p"] == 0.9

    def test_a_high_temperature_is_lowered_with_a_warning(self) -> None:
        made = translated(temperature=1.7)
        assert made.body["temperature"] == 1.0
        assert len(made.warnings) == 1

    def test_sampling_is_dropped_with_a_warning_each_where_it_is_refused(self) -> None:
        made = translated(temperature=1, top_p=1, top_k=3, version_2026=True)
        assert not made.body.keys() & {"temperature", "top_p", "top_k"}
        assert [text.split()[0] for text in made.warnings] == ["temperature", "top_p", "top_k"]

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"n": 2}, "n"),
            ({"n": "1"}, "n"),
            ({"logprobs": True}, "logprobs"),
            ({"top_logprobs": 3}, "top_logprobs"),
            ({"modalities": ["text", "audio"]}, "modalities"),
            ({"modalities": 1}, "modalities"),
            ({"audio": {"voice": "alloy"}}, "audio"),
            ({"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
            ({"web_search_options": {}}, "web_search_options"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"max_tokens": True}, "max_tokens"),
            ({"max_completion_tokens": "9"}, "max_completion_tokens"),
            ({"temperature": -1}, "temperature"),
            ({"stop": [1]}, "stop[0]"),
            ({"response_format": {"type": "grammar"}}, "response_format.type"),
            (
                {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
                "response_format.json_schema.schema",
            ),
            ({"reasoning_effort": "heroic"}, "reasoning_effort"),
            ({"user": 7}, "user"),
            ({"messages": {}}, "messages"),
            ({"messages": ["hi"]}, "messages[0]"),
        ],
    )
    def test_what_the_answer_would_lack_is_refused(self, fields: Any, param: str) -> None:
        assert refused(**fields) == param

    def test_what_asks_for_nothing_is_no_reason(self) -> None:
        body(
            n=1,
            logprobs=False,
            top_logprobs=0,
            modalities=["text"],
            seed=None,
            logit_bias={},
            presence_penalty=0,
            store=False,
            stream_options={"include_usage": True},
            metadata={"a": "b"},
            response_format={"type": "text"},
            prompt_cache_key="k",
        )

    def test_hints_are_dropped_with_a_warning_each(self) -> None:
        hints: dict[str, Any] = {
            "seed": 1,
            "presence_penalty": 1,
            "frequency_penalty": 1,
            "logit_bias": {"1": 2},
        }
        made = translated(**hints, repetition_penalty=2, response_format={"type": "json_object"})
        assert set(made.body) == {"model", "max_tokens", "messages"}
        assert sorted(text.split()[0] for text in made.warnings) == sorted(
            [*hints, "repetition_penalty", "response_format"]
        )

    def test_warnings_can_stand_in_a_header(self) -> None:
        fields: dict[str, Any] = {"x\r\nset-cookie": 1, "ü": 1}
        made = translated(**fields | {f"f{i}": 1 for i in range(100)})
        assert all(text.isascii() and text.isprintable() for text in made.warnings)
        assert len(made.warnings) < 20

    def test_a_schema_becomes_the_output_format(self) -> None:
        schema = {"type": "object", "properties": {}, "additionalProperties": False}
        wanted = {"name": "x", "schema": schema, "strict": True}
        made = body(response_format={"type": "json_schema", "json_schema": wanted})
        assert made["output_config"] == {"format": {"type": "json_schema", "schema": schema}}

    @pytest.mark.parametrize(
        ("fields", "sent"),
        [
            ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
            ({"reasoning_effort": "minimal"}, {"output_config": {"effort": "low"}}),
            ({"reasoning_effort": "medium"}, {"output_config": {"effort": "medium"}}),
            ({"reasoning_effort": "xhigh"}, {"output_config": {"effort": "xhigh"}}),
            ({"reasoning_effort": "max"}, {"output_config": {"effort": "max"}}),
            ({"reasoning_effort": None}, {}),
            (
                {
                    "reasoning_effort": "medium",
                    "thinking": {"type": "enabled", "budget_tokens": 9_000},
                },
                {"thinking": {"type": "enabled", "budget_tokens": 9_000}},
            ),
            (
                {"reasoning_effort": "max", "thinking": {"type": "adaptive"}},
                {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
            ),
        ],
    )
    def test_effort_is_told_in_their_words(self, fields: Any, sent: Any) -> None:
        made = body(**fields)
        assert {k: made[k] for k in ("thinking", "output_config") if k in made} == sent

    def test_an_effort_unknown_to_the_model_becomes_high_or_is_dropped(self) -> None:
        request = {"model": "m", "messages": [HI], "reasoning_effort": "xhigh"}
        for efforts, sent in (({"low", "high"}, {"effort": "high"}), (set[str](), None)):
            made = from_chat(
                request,
                max_output_tokens=1,
                sampling=True,
                version_2026=False,
                efforts=efforts,
            )
            assert made.body.get("output_config") == sent
            assert len(made.warnings) == 1

    @pytest.mark.parametrize(
        ("fields", "user", "warned"),
        [
            ({"user": "u1"}, "u1", 0),
            ({"safety_identifier": "s"}, "s", 0),
            ({"user": "12345678"}, "12345678", 0),
            ({"user": "a@b.example"}, None, 1),
            ({"user": "+49 30 1234567"}, None, 1),
            ({"user": "u" * 257}, None, 1),
            ({"user": ""}, None, 0),
        ],
    )
    def test_the_user_is_told_unless_it_would_be_refused(
        self, fields: Any, user: Any, warned: int
    ) -> None:
        made = translated(**fields)
        assert made.body.get("metadata", {}).get("user_id") == user
        assert len(made.warnings) == warned

    @pytest.mark.parametrize(
        ("tier", "sent", "warned"),
        [("auto", "auto", 0), ("default", "standard_only", 0), ("flex", None, 1)],
    )
    def test_the_service_tier_is_translated(self, tier: str, sent: Any, warned: int) -> None:
        made = translated(service_tier=tier)
        assert made.body.get("service_tier") == sent
        assert len(made.warnings) == warned
