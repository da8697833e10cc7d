"""What Anthropic refuses, the simulator refuses."""

import json
from typing import Any

import pytest

from droveway.simulator.anthropic.cache import BreakpointCache
from droveway.simulator.anthropic.messages import CountTokens, Messages
from droveway.simulator.anthropic.signatures import Signer
from droveway.simulator.book import Book
from droveway.simulator.dialect import Endpoint
from droveway.simulator.errors import ApiError
from tests.support.simulator import message_body, quick_settings

OLD, NEW = "2023-06-01", "2026-10-21"
SETTINGS = quick_settings()
MARKED = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
LONG_MARKED = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
TOOL = {"name": "clock", "input_schema": {"type": "object"}}
THINKING = {"type": "enabled", "budget_tokens": 1024}
USER = {"role": "user", "content": "hello"}


def used(*names: str) -> dict[str, Any]:
    calls = [{"type": "tool_use", "id": name, "name": "clock", "input": {}} for name in names]
    return {"role": "assistant", "content": calls}


def given(*names: str) -> dict[str, Any]:
    blocks = [{"type": "tool_result", "tool_use_id": name, "content": "x"} for name in names]
    return {"role": "user", "content": blocks}


def read(body: Any, version: str | None = OLD, endpoint: Endpoint | None = None) -> None:
    """Raises what the endpoint raises."""
    headers = {} if version is None else {"anthropic-version": version}
    entry = Book(1, float).open(True, "key", [])
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    endpoint = endpoint or Messages(SETTINGS, BreakpointCache(1, float))
    endpoint.read(content, headers, entry)


def refused(body: Any, version: str | None = OLD, status: int = 400) -> str:
    with pytest.raises(ApiError) as error:
        read(body, version)
    assert error.value.status == status
    return str(error.value)


def blocks(*parts: Any) -> dict[str, Any]:
    return message_body(content=list(parts))


def turns(*messages: Any, **fields: Any) -> dict[str, Any]:
    return message_body(messages=list(messages), **fields)


def assistant(*parts: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(parts)}


TEXT = {"type": "text", "text": "a"}
SIGNER = Signer(SETTINGS.seed)
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": SIGNER.sign("hm")}
HIDDEN = {"type": "redacted_thinking", "data": SIGNER.redact("hm")}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not valid JSON"),
        ({"model": "m", "messages": [USER]}, "max_tokens: Field required"),
        (message_body(max_tokens=-1), "max_tokens: "),
        (message_body(max_tokens=128_001), "max_tokens: 128001 > 128000"),
        (message_body(n=1), "n: Extra inputs are not permitted"),
        (message_body(user="u"), "user: Extra inputs are not permitted"),
        (message_body(metadata={"tenant": "t"}), "metadata.tenant: Extra inputs"),
        (message_body(temperature=1.5), "temperature: "),
        (message_body(stop_sequences=[" \n"]), "stop_sequences.0: each stop sequence must contain"),
        (turns(), "messages: "),
        (turns({"role": "tool", "content": "x"}), "messages.0.role: "),
        (turns({"role": "system", "content": "x"}, USER), 'first message must use the "user" role'),
        (turns(USER, {"role": "system", "content": "x"}), "messages.1.role: "),
        (turns(assistant(TEXT)), 'first message must use the "user" role'),
        (message_body(content=""), "all messages must have non-empty content"),
        (blocks(), "all messages must have non-empty content"),
        (blocks({"type": "text", "text": ""}), "text content blocks must be non-empty"),
        (blocks({"type": "text", "text": " "}), "must contain non-whitespace text"),
        (message_body(system=[{"type": "text", "text": ""}]), "system.0: text content blocks"),
        (blocks({"type": "cache_control", "index": 0}), "messages.0.content.0.type: "),
        (blocks({"type": "image_url", "image_url": {}}), "messages.0.content.0.type: "),
        (blocks({**TEXT, "index": 1}), "messages.0.content.0.index: Extra inputs"),
        (blocks(THOUGHT), "`thinking` blocks are not allowed in `user` messages"),
        (turns(USER, assistant({"type": "text", "text": "a "})), "end with trailing whitespace"),
        (
            blocks(*[MARKED] * 5),
            "A maximum of 4 blocks with cache_control may be",
        ),
        (blocks(MARKED, LONG_MARKED), "ttl='1h' cache_control block must not come after"),
        (
            blocks({**TEXT, "cache_control": {"type": "ephemeral", "ttl": "1d"}}),
            "messages.0.content.0.cache_control.ttl: ",
        ),
    ],
)
def test_a_wrong_message_is_told_where(body: Any, said: str) -> None:
    assert said in refused(body)


@pytest.mark.parametrize(
    ("conversation", "said"),
    [
        ([USER, used("a")], "messages.1: `tool_use` ids were found without"),
        ([USER, used("a"), USER], "messages.1: `tool_use` ids were found without"),
        ([USER, used("a", "b"), given("a")], "immediately after: b."),
        ([USER, used("a", "b"), given("a"), given("b")], "immediately after: b."),
        ([USER, used("a"), USER, given("a")], "messages.1: `tool_use` ids were found without"),
        ([given("a")], "messages.0.content.0: unexpected `tool_use_id`"),
        ([USER, used("a"), given("a", "b")], "messages.2.content.1: unexpected `tool_use_id`"),
        ([USER, used("a"), given("a", "a")], "each tool_use must have a single result"),
        ([USER, used("a", "a"), given("a")], "`tool_use` ids must be unique"),
        (
            [USER, used("a"), given("a"), used("a"), given("a")],
            "messages.3: `tool_use` ids must be unique",
        ),
        (
            [USER, used("a"), {"role": "user", "content": [TEXT, *given("a")["content"]]}],
            "messages.1: `tool_use` ids were found without",
        ),
        ([USER, used("a.b"), given("a.b")], "messages.1.content.0.id: "),
    ],
)
def test_a_tool_result_stands_right_behind_its_call(conversation: list[Any], said: str) -> None:
    assert said in refused(turns(*conversation, tools=[TOOL]))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}, "tools.0.name: "),
        ({"tools": [{"name": "a"}]}, "tools.0.input_schema: Field required"),
        ({"tools": [{"name": "a", "input_schema": {}}]}, "input_schema.type: Input should be"),
        ({"tools": [TOOL, TOOL]}, "Tool names must be unique"),
        ({"tools": [{**TOOL, "type": "function"}]}, "tools.0.type: "),
        ({"tool_choice": {"type": "auto"}}, "may only be specified while providing tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "required"}}, "tool_choice.type: "),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "Tool 'x' not found"),
        ({"tools": [TOOL], "tool_choice": {"type": "any", "name": "clock"}}, "Extra inputs"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "any"}, "thinking": THINKING},
            "Thinking may not be enabled when tool_choice forces tool use",
        ),
        ({"thinking": {"type": "enabled"}}, "budget_tokens: Field required"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1023}}, "greater than or equal to 1024"),
        ({"thinking": THINKING, "max_tokens": 1024}, "must be greater than"),
        ({"thinking": {"type": "disabled", "budget_tokens": 2000}}, "Extra inputs"),
        ({"thinking": THINKING, "temperature": 0.5}, "may only be set to 1"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            "'additionalProperties' must be explicitly set to false",
        ),
    ],
)
def test_wrong_tools_and_thoughts_are_told(fields: dict[str, Any], said: str) -> None:
    assert said in refused(message_body(**fields))


@pytest.mark.parametrize(
    "thought",
    [
        {**THOUGHT, "thinking": "hm!"},
        {**THOUGHT, "signature": ""},
        {**THOUGHT, "signature": Signer(2).sign("hm")},
        {**HIDDEN, "data": "hm"},
        {**HIDDEN, "data": HIDDEN["data"][:-8] + "AAAAAAA="},
    ],
)
def test_a_thought_that_is_not_as_it_was_is_refused(thought: dict[str, str]) -> None:
    assert "Invalid `" in refused(turns(USER, assistant(thought, TEXT), USER))


def test_thoughts_as_they_were_are_taken() -> None:
    read(turns(USER, assistant(THOUGHT, HIDDEN, TEXT), USER))


def test_a_tool_loop_needs_the_thought_that_it_began_with() -> None:
    loop = (USER, used("a"), given("a"))
    read(turns(*loop, tools=[TOOL]))
    text = refused(turns(*loop, tools=[TOOL], thinking=THINKING))
    assert "Expected `thinking` or `redacted_thinking`, but found `tool_use`" in text


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
@pytest.mark.parametrize("value", [1, None])
def test_the_new_version_takes_no_sampling_even_at_defaults(name: str, value: int | None) -> None:
    body = {**message_body(), name: value}
    read(body, OLD)
    assert f"{name}: " in refused(body, NEW)


def test_the_new_version_differs_in_documents_citations_and_system_turns() -> None:
    document = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "x"},
    }
    by_assistant = turns(USER, assistant(document), USER)
    cited = blocks({**TEXT, "citations": [{"type": "char_location"}]})
    for body in (by_assistant, cited):
        read(body, OLD)
        refused(body, NEW)
    read(blocks(document, {**TEXT, "citations": []}), NEW)
    read(turns(USER, {"role": "system", "content": "x"}), NEW)


@pytest.mark.parametrize(("version", "said"), [(None, "header is required"), ("2", "not a valid")])
def test_a_version_is_needed(version: str | None, said: str) -> None:
    assert said in refused(message_body(), version)


def test_a_missing_model_is_told_with_404() -> None:
    assert "model: missing-model" in refused(message_body("missing-model"), status=404)


def test_a_count_has_no_answer_to_bound() -> None:
    body = message_body()
    with pytest.raises(ApiError, match="max_tokens: Extra inputs are not permitted"):
        read(body, endpoint=CountTokens(SETTINGS))
    del body["max_tokens"]
    read(body, endpoint=CountTokens(SETTINGS))


def test_all_that_a_message_may_have_is_taken() -> None:
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "eA=="},
    }
    result = {**given("a")["content"][0], "content": [TEXT, image], "is_error": True}
    read(
        turns(
            {"role": "user", "content": [image, MARKED]},
            assistant(THOUGHT, TEXT, *used("a")["content"]),
            {"role": "user", "content": [result, TEXT]},
            system=[LONG_MARKED, MARKED],
            tools=[{**TOOL, "strict": True, "description": "d", "type": "custom"}],
            tool_choice={"type": "auto", "disable_parallel_tool_use": True},
            thinking=THINKING,
            metadata={"user_id": "u"},
            output_config={"effort": "high"},
            service_tier="auto",
            stop_sequences=["x"],
            cache_control={"type": "ephemeral"},
        ),
        NEW,
    )
