"""Anthropic requests as chat requests: each row of the translation table, and each known trap."""

import copy
from typing import Any

import msgspec
import pytest

from droveway.dialects.anthropic.to_chat import to_chat
from droveway.dialects.untranslatable import Translated, Untranslatable

HI = {"role": "user", "content": "Hi"}
PNG = {"type": "base64", "media_type": "image/png", "data": "QQ=="}
EPHEMERAL = {"type": "ephemeral"}
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}


def translated(*messages: dict[str, Any], **fields: Any) -> Translated:
    request = {"model": "m", "max_tokens": 5, "messages": list(messages) or [HI], **fields}
    before = copy.deepcopy(request)
    made = to_chat(request)
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


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **fields}


def use(id_: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": "find", "input": arguments}


def result(id_: str, *content: Any, **fields: Any) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": id_, **fields}
    return block | ({"content": content[0]} if content else {})


def call(id_: str, arguments: str = "{}") -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": "find", "arguments": arguments}}


def tool(id_: str, content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content, **fields}


def test_a_plain_question_stays_plain() -> None:
    assert body(HI, stream=True) == {
        "model": "m",
        "messages": [HI],
        "max_completion_tokens": 5,
        "stream": True,
    }


class TestSystem:
    @pytest.mark.parametrize(
        ("system", "content"),
        [
            ("S", "S"),
            ([text("A"), text("B")], "A\nB"),
            ([text("A", cache_control=EPHEMERAL)], [text("A", cache_control=EPHEMERAL)]),
        ],
    )
    def test_it_becomes_the_first_message(self, system: Any, content: Any) -> None:
        made = body(system=system)
        assert made["messages"] == [{"role": "system", "content": content}, HI]

    @pytest.mark.parametrize("system", [None, "", [], [text("")]])
    def test_none_is_none(self, system: Any) -> None:
        assert body(system=system)["messages"] == [HI]

    def test_one_of_the_conversation_stays_in_its_place(self) -> None:
        later = {"role": "system", "content": "S"}
        said = {"role": "assistant", "content": "A"}
        assert body(HI, later, said)["messages"] == [HI, later, said]

    def test_one_between_a_call_and_its_result_is_refused(self) -> None:
        later = {"role": "system", "content": "S"}
        param = refused(HI, assistant(use("a")), later, user(result("a")))
        assert param == "messages[1].content[0]"

    def test_only_text_is_taken(self) -> None:
        assert refused(system=[{"type": "image"}]) == "system[0].type"
        assert refused(system=7) == "system"
        later = {"role": "system", "content": [{"type": "image"}]}
        assert refused(HI, later) == "messages[1].content[0].type"

    def test_a_marker_block_marks_the_text_before_it(self) -> None:
        made = translated(system=[text("S"), {"type": "cache_control", "index": 0}])
        assert made.body["messages"][0]["content"] == [text("S", cache_control=EPHEMERAL)]
        assert len(made.warnings) == 1


class TestContent:
    def test_one_text_is_a_string_and_several_blocks_are_parts(self) -> None:
        assert body(user(text("a")))["messages"] == [{"role": "user", "content": "a"}]
        marked = text("a", cache_control=EPHEMERAL)
        assert body(user(marked))["messages"] == [{"role": "user", "content": [marked]}]
        assert body(user(text("a"), text(""), text("b")))["messages"] == [
            {"role": "user", "content": [text("a"), text("b")]}
        ]

    def test_images_are_urls(self) -> None:
        url = {"type": "url", "url": "https://a.example/b.png"}
        made = body(user({"type": "image", "source": PNG}, {"type": "image", "source": url}))
        assert [part["image_url"]["url"] for part in made["messages"][0]["content"]] == [
            "data:image/png;base64,QQ==",
            "https://a.example/b.png",
        ]

    def test_documents_are_files_or_text(self) -> None:
        pdf = {"type": "base64", "media_type": "application/pdf", "data": "QQ=="}
        plain = {"type": "text", "media_type": "text/plain", "data": "words"}
        made = body(
            user(
                {"type": "document", "source": pdf, "title": "a.pdf", "cache_control": EPHEMERAL},
                {"type": "document", "source": pdf},
                {"type": "document", "source": plain, "title": "T", "context": "C"},
            )
        )
        data = "data:application/pdf;base64,QQ=="
        assert made["messages"][0]["content"] == [
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": data},
                "cache_control": EPHEMERAL,
            },
            {"type": "file", "file": {"filename": "document.pdf", "file_data": data}},
            text("T\n\nC\n\nwords"),
        ]

    @pytest.mark.parametrize(
        ("block", "param"),
        [
            ({"type": "search_result", "source": "x", "content": []}, ".type"),
            ({"type": "container_upload", "file_id": "f"}, ".type"),
            ({"type": ["text"]}, ".type"),
            ({"type": "text", "text": 7}, ".text"),
            ({"type": "image", "source": {"type": "file", "file_id": "f"}}, ".source.type"),
            ({"type": "image", "source": {"type": "url", "url": "file:///x"}}, ".source.url"),
            ({"type": "document", "source": {"type": "url", "url": "https://x"}}, ".source"),
            ({"type": "image"}, ".source"),
            ("text", ""),
        ],
    )
    def test_what_only_anthropic_has_is_refused_by_its_place(self, block: Any, param: str) -> None:
        assert refused(user(block)) == f"messages[0].content[0]{param}"

    def test_citations_are_dropped_with_one_warning(self) -> None:
        cited = text("a", citations=[{"type": "char_location"}])
        made = translated(HI, assistant(cited, cited), user(text("b", citations=None)))
        assert made.body["messages"][1]["content"] == [text("a"), text("a")]
        assert len(made.warnings) == 1

    def test_turns_of_one_role_in_a_row_are_one(self) -> None:
        made = body(HI, HI, assistant(text("a")), {"role": "assistant", "content": "b"})
        assert made["messages"] == [
            {"role": "user", "content": [text("Hi"), text("Hi")]},
            {"role": "assistant", "content": [text("a"), text("b")]},
        ]

    def test_prefill_is_kept_and_an_empty_turn_is_not(self) -> None:
        prefill = {"role": "assistant", "content": "{"}
        assert body(HI, prefill)["messages"] == [HI, prefill]
        assert body(HI, assistant())["messages"] == [HI]
        assert refused(user()) == "messages"

    def test_an_unknown_role_is_refused(self) -> None:
        assert refused({"role": "tool", "content": ""}) == "messages[0].role"
        assert refused({"role": [], "content": ""}) == "messages[0].role"


class TestToolCalls:
    def test_calls_and_results_are_messages_of_their_own(self) -> None:
        made = body(
            HI,
            assistant(text("Look:"), use("a", q="é", n=[1, 2.5]), use("b")),
            user(result("a", "A"), result("b", [text("B"), text("b")], is_error=True), text("So?")),
        )
        assert made["messages"][1:] == [
            {
                "role": "assistant",
                "content": "Look:",
                "tool_calls": [call("a", '{"q":"é","n":[1,2.5]}'), call("b")],
            },
            tool("a", "A"),
            tool("b", [text("B"), text("b")], is_error=True),
            {"role": "user", "content": "So?"},
        ]

    def test_content_is_null_beside_calls_only(self) -> None:
        made = body(HI, assistant(use("a")), user(result("a")))
        assert made["messages"][1] == {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("a")],
        }
        assert made["messages"][2] == tool("a", "")

    def test_results_of_several_messages_follow_their_calls(self) -> None:
        made = body(
            HI,
            assistant(use("a")),
            assistant(use("b")),
            user(result("a", "A"), text("x")),
            user(result("b", "B")),
        )
        assert made["messages"][1:] == [
            {"role": "assistant", "content": None, "tool_calls": [call("a"), call("b")]},
            tool("a", "A"),
            tool("b", "B"),
            {"role": "user", "content": "x"},
        ]

    def test_an_image_of_a_result_goes_to_the_user(self) -> None:
        image = {"type": "image", "source": PNG}
        shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}
        made = body(
            HI,
            assistant(use("a"), use("b")),
            user(result("a", [text("A"), image]), result("b", [image]), text("So?")),
        )
        assert made["messages"][2:] == [
            tool("a", "A"),
            tool("b", ""),
            {"role": "user", "content": [shown, shown, text("So?")]},
        ]

    def test_a_marked_result_keeps_its_mark(self) -> None:
        made = body(HI, assistant(use("a")), user(result("a", "A", cache_control=EPHEMERAL)))
        assert made["messages"][2] == tool("a", [text("A", cache_control=EPHEMERAL)])

    @pytest.mark.parametrize(
        ("messages", "param"),
        [
            ((HI, assistant(use("a")), user(result("a"), result("a"))), "messages[2].content[1]"),
            ((user(result("a")),), "messages[0].content[0]"),
            ((HI, assistant(use("a")), user(result("b"))), "messages[2].content[0]"),
            ((HI, assistant(use("a"))), "messages[1].content[0]"),
            ((HI, assistant(use("a")), HI, assistant(text("b"))), "messages[1].content[0]"),
            ((HI, assistant(use("a"), use("a"))), "messages[1].content[1].id"),
            ((HI, assistant(use("a") | {"id": None})), "messages[1].content[0].id"),
            ((HI, assistant(use("a") | {"input": "{}"})), "messages[1].content[0].input"),
            (
                (HI, assistant(use("a")), user(result("a", [{"type": "search_result"}]))),
                "messages[2].content[0].content[0].type",
            ),
            ((HI, assistant({"type": "server_tool_use"})), "messages[1].content[0].type"),
        ],
    )
    def test_what_does_not_pair_is_refused(self, messages: Any, param: str) -> None:
        assert refused(*messages) == param

    def test_thinking_is_kept_aside_unchanged(self) -> None:
        thoughts = [
            {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "eA=="},
            {"type": "thinking", "thinking": "So", "signature": "c2lo"},
        ]
        made = body(HI, assistant(*thoughts, use("a")), user(result("a")))
        assert made["messages"][1]["thinking_blocks"] == thoughts
        assert made["messages"][1]["reasoning_content"] == "Hm\nSo"

    def test_thinking_that_is_not_shown_has_no_text(self) -> None:
        hidden = {"type": "thinking", "thinking": "", "signature": "c2ln"}
        made = body(HI, assistant(hidden, text("a")), HI)
        assert "reasoning_content" not in made["messages"][1]


class TestTools:
    def test_a_tool_becomes_a_function(self) -> None:
        tools = [
            {
                "name": "f",
                "description": "F",
                "input_schema": SCHEMA,
                "strict": True,
                "cache_control": EPHEMERAL,
                "type": "custom",
            },
            {"name": "g", "input_schema": SCHEMA, "eager_input_streaming": True},
        ]
        assert body(tools=tools)["tools"] == [
            {
                "type": "function",
                "function": {
                    "name": "f",
                    "description": "F",
                    "parameters": SCHEMA,
                    "strict": True,
                },
                "cache_control": EPHEMERAL,
            },
            {"type": "function", "function": {"name": "g", "parameters": SCHEMA}},
        ]

    def test_what_a_tool_says_beyond_is_dropped_with_a_warning(self) -> None:
        made = translated(tools=[{"name": "f", "input_schema": SCHEMA, "input_examples": [{}]}])
        assert made.warnings == ("tools[0].input_examples is unknown there and was dropped",)

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
            ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
            ({"tools": [{"input_schema": SCHEMA}]}, "tools[0].name"),
            ({"tools": "f"}, "tools"),
            ({"tool_choice": "auto"}, "tool_choice"),
            ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
            ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ],
    )
    def test_other_tools_are_refused(self, fields: Any, param: str) -> None:
        assert refused(**fields) == param

    @pytest.mark.parametrize(
        ("choice", "said"),
        [
            ({"type": "auto"}, {"tool_choice": "auto"}),
            ({"type": "any"}, {"tool_choice": "required"}),
            ({"type": "none"}, {"tool_choice": "none"}),
            (
                {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
                {
                    "tool_choice": {"type": "function", "function": {"name": "f"}},
                    "parallel_tool_calls": False,
                },
            ),
            ({"type": "auto", "disable_parallel_tool_use": False}, {"tool_choice": "auto"}),
        ],
    )
    def test_the_choice_is_translated(self, choice: Any, said: Any) -> None:
        made = body(tools=[{"name": "f", "input_schema": SCHEMA}], tool_choice=choice)
        names = ("tool_choice", "parallel_tool_calls")
        assert {name: made[name] for name in names if name in made} == said


class TestParameters:
    def test_the_plain_ones_keep_their_values(self) -> None:
        made = body(
            stop_sequences=["x"],
            temperature=0.5,
            top_p=0.9,
            top_k=3,
            metadata={"user_id": "u"},
            service_tier="standard_only",
            cache_control=EPHEMERAL,
        )
        assert made == {
            "model": "m",
            "messages": [HI],
            "max_completion_tokens": 5,
            "stop": ["x"],
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 3,
            "user": "u",
            "service_tier": "default",
        }

    @pytest.mark.parametrize(
        ("schema", "strict"),
        [
            ({"type": "object", "properties": {}, "additionalProperties": False}, True),
            (SCHEMA, False),
            (
                {
                    "type": "object",
                    "properties": {"a": SCHEMA},
                    "required": ["a"],
                    "additionalProperties": False,
                },
                False,
            ),
            ({"type": "array", "items": {"type": "string"}}, True),
            ({"type": "object"}, False),
        ],
    )
    def test_the_output_format_is_strict_where_that_is_taken(
        self, schema: Any, strict: bool
    ) -> None:
        made = body(output_config={"format": {"type": "json_schema", "schema": schema}})
        assert made["response_format"] == {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": strict},
        }

    @pytest.mark.parametrize(
        ("fields", "effort"),
        [
            ({"output_config": {"effort": "xhigh"}}, "xhigh"),
            ({"thinking": {"type": "disabled"}}, "none"),
            ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, "none"),
            ({"thinking": {"type": "enabled", "budget_tokens": 1_024}}, "low"),
            ({"thinking": {"type": "enabled", "budget_tokens": 8_000}}, "medium"),
            ({"thinking": {"type": "enabled", "budget_tokens": 32_000}}, "high"),
            ({"thinking": {"type": "adaptive"}}, None),
            ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "max"),
            ({}, None),
        ],
    )
    def test_effort_is_told_in_chats_word(self, fields: Any, effort: Any) -> None:
        made = body(**fields)
        assert made.get("reasoning_effort") == effort
        assert made.get("thinking") == fields.get("thinking")

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"max_tokens": 0}, "max_tokens"),
            ({"messages": {}}, "messages"),
            ({"messages": ["Hi"]}, "messages[0]"),
            ({"mcp_servers": [{"url": "https://x"}]}, "mcp_servers"),
            ({"container": "c"}, "container"),
            ({"inference_geo": "us"}, "inference_geo"),
            ({"stop_sequences": [1]}, "stop_sequences[0]"),
            ({"temperature": "hot"}, "temperature"),
            ({"metadata": {"user_id": 1}}, "metadata.user_id"),
            ({"thinking": "on"}, "thinking"),
            ({"output_config": {"effort": "heroic"}}, "output_config.effort"),
            ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
            (
                {"output_config": {"format": {"type": "json_schema"}}},
                "output_config.format.schema",
            ),
        ],
    )
    def test_what_chat_cannot_ask_for_is_refused(self, fields: Any, param: str) -> None:
        assert refused(**fields) == param

    def test_hints_are_dropped_with_a_warning_each(self) -> None:
        made = translated(
            speed="fast",
            context_management={"edits": [{}]},
            of_the_future=1,
            output_config={"task_budget": {"total": 1}},
            container=None,
            mcp_servers=[],
        )
        assert set(made.body) == {"model", "messages", "max_completion_tokens"}
        assert sorted(warning.split()[0] for warning in made.warnings) == [
            "context_management",
            "of_the_future",
            "output_config.task_budget",
            "speed",
        ]
