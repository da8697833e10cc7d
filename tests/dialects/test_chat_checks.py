"""Chat completion requests: what passes, and which field a refusal names."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.dialects.chat.checks import FIELDS, REASONING_EFFORTS, check
from droveway.dialects.untranslatable import Untranslatable

MESSAGES = [{"role": "user", "content": "hi"}]
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}
TOOL = {"type": "function", "function": FUNCTION}
SECRET = "xxsecretxx"


def request(fields: dict[str, Any]) -> dict[str, Any]:
    return {"model": "m", "messages": MESSAGES} | fields


def shaped(**schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def nested(levels: int) -> dict[str, Any]:
    """A schema of so many levels."""
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"items": schema}
    return schema


def refusal_of(asked: dict[str, Any]) -> Untranslatable | None:
    """How it is refused; None if it passes."""
    try:
        check(asked)
    except Untranslatable as refused:
        return refused
    return None


def each(param: str, *values: Any) -> list[tuple[str, dict[str, Any]]]:
    """The parameter with each of some wrong values."""
    return [(param, {param: value}) for value in values]


PASSES: dict[str, dict[str, Any]] = {
    "minimal": {},
    "nulls": dict.fromkeys(FIELDS),
    "token bounds": {"max_tokens": 1, "max_completion_tokens": 2_000_000},
    "integers as numbers": {"temperature": 0, "top_p": 1, "presence_penalty": -2},
    "upper bounds": {"temperature": 2.0, "top_p": 0.0, "top_logprobs": 20, "n": 128},
    "usage asked for": {"stream": True, "stream_options": {"include_usage": True}},
    "null options": {"stream": False, "stream_options": None},
    "other stream options": {"stream": True, "stream_options": {"chunked": 5}},
    "stop string": {"stop": "x" * 1024},
    "stop array": {"stop": ["x"] * 16},
    "tools": {"tools": [TOOL] * 128, "tool_choice": "auto", "parallel_tool_calls": False},
    "a tool without parameters": {"tools": [{"type": "function", "function": {"name": "f"}}]},
    "a custom tool": {"tools": [{"type": "custom", "custom": {"name": "f", "format": {}}}]},
    "a provider's own tool": {"tools": [{"type": "web_search", "web_search": {"enable": True}}]},
    "a marked tool": {"tools": [TOOL | {"cache_control": {"type": "ephemeral"}}]},
    "a tool that is named": {"tool_choice": {"type": "function", "function": {"name": "f"}}},
    "allowed tools": {"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}},
    "functions": {"functions": [FUNCTION], "function_call": {"name": "f"}},
    "function call by word": {"functions": [FUNCTION], "function_call": "auto"},
    "text": {"response_format": {"type": "text"}},
    "json": {"response_format": {"type": "json_object"}},
    "json of a schema": shaped(name="s", schema=nested(40), strict=True, description="d"),
    "a provider's own format": {"response_format": {"type": "structural_tag", "structures": []}},
    "the deepest schema": {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": nested(40)}}]
    },
    "metadata": {"metadata": {f"{n:064}": "v" * 512 for n in range(16)}},
    "logit_bias": {"logit_bias": {"50256": -100, "1": 100, "2": 0.5}},
    "labels": {"user": "u", "safety_identifier": "s", "prompt_cache_key": "k"},
    "cache": {
        "prompt_cache_options": {"mode": "explicit", "ttl": "30m"},
        "prompt_cache_retention": "24h",
    },
    "modalities": {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
    "a voice of one's own": {"audio": {"voice": {"id": "voice_1"}, "format": "wav"}},
    "prediction": {"prediction": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
    "switches": {"logprobs": True, "store": False, "seed": -1, "verbosity": "low"},
    "search and moderation": {"web_search_options": {}, "moderation": {"model": "m"}},
    "service tier": {"service_tier": "flex"},
    "extensions": {"thinking": {"type": "enabled"}, "top_k": 40},
    "10k messages": {"messages": MESSAGES * 10_000},
    "a long model": {"model": "m" * 256},
    "unknown fields": {"api_base": 5, "anything": [{}], "enable_thinking": "x"},
}  # fmt: skip


@pytest.mark.parametrize("fields", PASSES.values(), ids=PASSES)
def test_valid_request_passes(fields: dict[str, Any]) -> None:
    check(request(fields))


@pytest.mark.parametrize("effort", REASONING_EFFORTS)
def test_every_effort_of_reasoning_passes(effort: str) -> None:
    check(request({"reasoning_effort": effort}))


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("model", {"model": None}),
    ("model", {"model": ""}),
    ("model", {"model": "m" * 257}),
    ("model", {"model": {"a": 1}}),
    *each("max_tokens", -1, 0, 1e12, 10**12, "5", True, 5.0, []),
    *each("max_completion_tokens", -1, 0, 1e12, 10**12, "5", True, 5.0, []),
    *each("n", 1_000_000, 0, "2", True, 1.0),
    ("stop", {"stop": ["x"] * 10_000}),
    ("stop", {"stop": 5}),
    ("stop", {"stop": "x" * 1025}),
    ("stop[1]", {"stop": ["x", 5]}),
    ("stop[1]", {"stop": ["x", "x" * 1025]}),
    ("logit_bias", {"logit_bias": dict.fromkeys(map(str, range(1025)), 1)}),
    *each("logit_bias", [], {"1": "x"}, {"1": 101}, {"1": True}),
    ("tools", {"tools": [{}] * 10_000}),
    ("tools", {"tools": {}}),
    ("tools[0]", {"tools": [5]}),
    ("tools[1].type", {"tools": [TOOL, {"function": FUNCTION}]}),
    ("tools[0].function", {"tools": [{"type": "function"}]}),
    ("tools[0].function.name", {"tools": [{"type": "function", "function": {}}]}),
    ("tools[0].function.name", {"tools": [{"type": "function", "function": {"name": "f" * 257}}]}),
    ("tools[0].function.parameters", {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}),
    ("tools[0].function.parameters", {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": nested(41)}}]}),
    ("tools[0].function.strict", {
        "tools": [{"type": "function", "function": FUNCTION | {"strict": "yes"}}]}),
    ("tools[0].cache_control", {"tools": [TOOL | {"cache_control": 1}]}),
    ("tool_choice", {"tool_choice": 5}),
    ("tool_choice.type", {"tool_choice": {}}),
    ("tool_choice.function.name", {"tool_choice": {"type": "function", "function": {}}}),
    ("functions", {"functions": [{}] * 129}),
    ("functions[0].name", {"functions": [{}]}),
    ("function_call", {"function_call": 5}),
    ("response_format", {"response_format": "json"}),
    ("response_format.type", {"response_format": {}}),
    ("response_format.json_schema", {"response_format": {"type": "json_schema"}}),
    ("response_format.json_schema.name", shaped(schema={})),
    ("response_format.json_schema.schema", shaped(name="s", schema=[])),
    ("response_format.json_schema.schema", shaped(name="s", schema=nested(41))),
    ("response_format.json_schema.strict", shaped(name="s", strict=1)),
    ("metadata", {"metadata": dict.fromkeys("abcdefghijklmnopq", "x")}),
    *each("metadata", "x", {"k": 5}, {"k": None}, {"k": "x" * 513}, {"x" * 65: "v"}),
    ("top_logprobs", {"top_logprobs": 21}),
    *each("temperature", 2.1, -0.1, "1", True),
    ("top_p", {"top_p": -0.1}),
    *each("presence_penalty", 2.5, "1", -3),
    *each("frequency_penalty", 2.5, "1", -3),
    *((name, {name: 1}) for name in ("logprobs", "store", "parallel_tool_calls", "stream")),
    *((name, {name: 5}) for name in ("user", "safety_identifier", "prompt_cache_key")),
    *((name, {name: "x" * 1025}) for name in ("user", "safety_identifier", "prompt_cache_key")),
    *((name, {name: 5}) for name in (
        "service_tier", "prompt_cache_retention", "web_search_options", "moderation", "thinking",
        "modalities", "audio", "prediction", "prompt_cache_options")),
    *each("reasoning_effort", "extreme", 5, ["low"]),
    ("verbosity", {"verbosity": "loud"}),
    ("seed", {"seed": "x"}),
    ("seed", {"seed": 1.5}),
    ("modalities", {"modalities": ["text", 5]}),
    ("audio.voice", {"audio": {"voice": 5}}),
    ("prediction.content", {"prediction": {"type": "content", "content": 5}}),
    ("prediction.content[0].type", {"prediction": {"content": [{"type": SECRET}]}}),
    ("prompt_cache_options.ttl", {"prompt_cache_options": {"ttl": 30}}),
    ("stream", {"stream": "true"}),
    ("stream_options", {"stream": True, "stream_options": 5}),
    ("stream_options", {"stream_options": {}}),
    ("stream_options", {"stream": False, "stream_options": {}}),
    ("stream_options.include_usage", {"stream": True, "stream_options": {"include_usage": 1}}),
]  # fmt: skip


@pytest.mark.parametrize(("param", "fields"), REFUSED)
def test_wrong_field_is_named_and_its_content_is_not(param: str, fields: dict[str, Any]) -> None:
    refused = refusal_of(request(fields))
    assert refused is not None
    assert refused.param == param
    assert f"`{param}`" in refused.message
    assert "xx" not in refused.message
    assert len(refused.message) < 220


@pytest.mark.parametrize("name", ["model", "messages"])
def test_required_field_is_missed(name: str) -> None:
    fields = request({})
    del fields[name]
    refused = refusal_of(fields)
    assert refused is not None
    assert refused.param == name
    assert "missing" in refused.message


# Whatever comes

KNOWN = [
    *FIELDS, "model", "messages", "stream_options", "role", "content", "type", "text", "name",
    "function", "parameters", "tool_calls", "tool_call_id", "image_url", "url", "json_schema",
    "schema", "source", "file", "input_audio", "arguments", "thinking_blocks", "strict",
]  # fmt: skip
WORDS = ["user", "tool", "text", "image_url", "function", "json_schema", "file", "document", "auto"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KNOWN), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(KNOWN), JSON, max_size=6), st.lists(JSON, max_size=3))
def test_arbitrary_json_passes_or_is_refused_by_name(
    fields: dict[str, Any], messages: list[Any]
) -> None:
    for asked in (fields, request(fields), request({"messages": messages})):
        refused = refusal_of(asked)
        if refused is not None:
            assert refused.message.startswith(f"`{refused.param}`")
            assert refused.param.split(".")[0].split("[")[0] in KNOWN
