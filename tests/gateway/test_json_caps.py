import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from droveway.gateway.json_caps import (
    BadRequest,
    JsonCaps,
    check_chat_request,
    read_json_object,
)

CAPS = JsonCaps()
MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        pytest.param(b"", "invalid_json", "empty", id="empty"),
        pytest.param(b" \r\n", "invalid_json", "blank", id="blank"),
        pytest.param(b"null", "invalid_request", "object; it is null", id="null"),
        pytest.param(b"[]", "invalid_request", "object; it is an array", id="array"),
        pytest.param(b'"x"', "invalid_request", "object; it is a string", id="string"),
        pytest.param(b"true", "invalid_request", "object; it is a boolean", id="boolean"),
        pytest.param(b"5", "invalid_request", "object; it is an integer", id="number"),
        pytest.param(b"{} x", "invalid_json", "trailing", id="trailing-garbage"),
        pytest.param(b"{}{}", "invalid_json", "trailing", id="two-objects"),
        pytest.param(b"\xef\xbb\xbf{}", "invalid_json", "byte order mark", id="bom"),
        pytest.param("{}".encode("utf-16"), "invalid_json", "byte 0", id="utf-16"),
        pytest.param(b"[" * 50_000, "invalid_request", "deeper than 64", id="50k-brackets"),
        pytest.param(b'{"a":' * 50_000, "invalid_request", "deeper than 64", id="50k-braces"),
        pytest.param(b"[" * 50_001, "invalid_request", "more than 50000", id="too-many-brackets"),
        pytest.param(b'{"a":"\xff"}', "invalid_json", "UTF-8", id="invalid-utf8"),
        pytest.param(b'{"\xff":1}', "invalid_json", "UTF-8", id="invalid-utf8-in-key"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', "invalid_json", "UTF-8", id="surrogate-as-utf8"),
        pytest.param(b'{"a":"\xc0\xaf"}', "invalid_json", "UTF-8", id="overlong-utf8"),
        pytest.param(b'{"a":NaN}', "invalid_json", "NaN", id="nan"),
        pytest.param(b'{"a":Infinity}', "invalid_json", "Infinity", id="infinity"),
        pytest.param(b'{"a":-Infinity}', "invalid_json", "Infinity", id="minus-infinity"),
        pytest.param(b'{"a":1e999999}', "invalid_json", "out of range", id="1e999999"),
        pytest.param(b'{"a":%b}' % (b"9" * 5000), "invalid_json", "out of range", id="5000-digits"),
        pytest.param(b'{"a":"\\ud800"}', "invalid_json", "surrogate", id="lone-high-surrogate"),
        pytest.param(b'{"a":"\\udc00"}', "invalid_json", "surrogate", id="lone-low-surrogate"),
        pytest.param(b'{"\\uD800x":1}', "invalid_json", "surrogate", id="lone-surrogate-in-key"),
        pytest.param(b'{"a":"\x00"}', "invalid_json", "byte 6", id="raw-nul"),
        pytest.param(b'{"a":1,}', "invalid_json", "trailing comma", id="trailing-comma"),
        pytest.param(b'{"a":', "invalid_json", "truncated", id="truncated"),
    ],
)
def test_hostile_body_is_refused_with_a_reason(body: bytes, code: str, says: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_json_object(body, CAPS)
    assert (refused.value.code, refused.value.param) == (code, None)
    assert says in refused.value.message
    assert len(refused.value.message) < 200


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\u2028", id="line-separator"),
        pytest.param("\u202e", id="right-to-left-override"),
        pytest.param("\x00", id="escaped-nul"),
        pytest.param("\U0001f600", id="astral"),
        pytest.param("data: [DONE]\n\n", id="sse-end"),
        pytest.param("\\ud800", id="backslash-and-letters"),
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "utf-8"])
def test_unusual_text_passes_unchanged(text: str, ascii_only: bool) -> None:
    body = json.dumps({"a": text}, ensure_ascii=ascii_only).encode()
    decoded = read_json_object(body, CAPS)
    assert decoded == {"a": text}
    assert json.loads(msgspec.json.encode(decoded)) == {"a": text}


def test_a_duplicate_key_has_its_last_reading() -> None:
    assert read_json_object(b'{"model":"a","model":"b"}', CAPS) == {"model": "b"}


@pytest.mark.parametrize("pair", ["[]", "{}"], ids=["arrays", "objects"])
def test_depth_cap_counts_the_outermost_object(pair: str) -> None:
    opening = {"[]": "[", "{}": '{"a":'}[pair]

    def nested(levels: int) -> bytes:
        return f'{{"a":{opening * (levels - 1)}1{pair[1] * (levels - 1)}}}'.encode()

    assert read_json_object(nested(CAPS.max_depth), CAPS)
    with pytest.raises(BadRequest, match="deeper than 64 levels"):
        read_json_object(nested(CAPS.max_depth + 1), CAPS)


def test_brackets_and_commas_in_strings_do_not_count() -> None:
    text = json.dumps({"a": '[{,"\\' * 20}).encode()
    assert read_json_object(text, JsonCaps(max_brackets=5, max_values=5))
    with pytest.raises(BadRequest, match="more than 5 objects"):
        read_json_object(text[:-1] + b',"b":[[],[],[],[]]}', JsonCaps(max_brackets=5))


@pytest.mark.parametrize("unit", [b"[]", b"[[]]", b'""', b'{"":0}', b"1"])
def test_a_body_of_tiny_values_is_refused_before_it_is_decoded(unit: bytes) -> None:
    body = b'{"a":[' + (unit + b",") * 1_000_000 + b"1]}"
    assert best_of(3, lambda: refused_for(body)) < 0.3


def best_of(times: int, run: Callable[[], None]) -> float:
    """The shortest of some runs, in seconds: others use the processor as well."""
    spent_s = []
    for _ in range(times):
        began_s = time.perf_counter()
        run()
        spent_s.append(time.perf_counter() - began_s)
    return min(spent_s)


def refused_for(body: bytes) -> None:
    with pytest.raises(BadRequest, match="more than"):
        read_json_object(body, CAPS)


def test_number_of_values_is_capped() -> None:
    caps = JsonCaps(max_values=10)
    assert read_json_object(b'{"a":[1,2,3,4,5,6,7,8,9]}', caps)
    with pytest.raises(BadRequest, match="more than 10 values"):
        read_json_object(b'{"a":[1,2,3,4,5,6,7,8,9,10]}', caps)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="minimal"),
        pytest.param({"max_tokens": None, "stream": None, "stop": None, "n": None}, id="nulls"),
        pytest.param({"max_tokens": 1, "max_completion_tokens": 2_000_000}, id="token-bounds"),
        pytest.param({"temperature": 0, "top_p": 1}, id="integers-as-numbers"),
        pytest.param({"temperature": 2.0, "top_p": 0.0, "top_logprobs": 20}, id="upper-bounds"),
        pytest.param({"stream": True, "stream_options": {"include_usage": True}}, id="usage"),
        pytest.param({"stream": False, "stream_options": None}, id="null-options"),
        pytest.param({"stop": "x" * 1024}, id="stop-string"),
        pytest.param({"stop": ["x"] * 16}, id="stop-array"),
        pytest.param({"tools": [{"type": "function"}] * 128}, id="tools"),
        pytest.param({"messages": MESSAGES * 10_000}, id="10k-messages"),
        pytest.param({"model": "m" * 256}, id="long-model"),
        pytest.param({"api_base": 5, "anything": [{}], "seed": "x"}, id="unknown-left-alone"),
        pytest.param(
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}]},
            id="null-content",
        ),
        pytest.param({"messages": [{"role": "tool"}, {"role": "developer"}]}, id="no-content"),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 1000}]},
            id="parts",
        ),
    ],
)
def test_valid_chat_request_passes(fields: dict[str, Any]) -> None:
    check_chat_request({"model": "m", "messages": MESSAGES} | fields, CAPS)


def message(**fields: Any) -> dict[str, Any]:
    return {"messages": [*MESSAGES, {"role": "user", **fields}]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        pytest.param({"model": None}, "model", id="model-null"),
        pytest.param({"model": ""}, "model", id="model-empty"),
        pytest.param({"model": "m" * 257}, "model", id="model-long"),
        pytest.param({"model": {"a": 1}}, "model", id="model-object"),
        pytest.param({"messages": None}, "messages", id="messages-null"),
        pytest.param({"messages": []}, "messages", id="messages-empty"),
        pytest.param({"messages": "hi"}, "messages", id="messages-string"),
        pytest.param({"messages": MESSAGES * 10_001}, "messages", id="messages-10001"),
        pytest.param({"messages": ["hi"]}, "messages[0]", id="message-string"),
        pytest.param({"messages": [{"content": "x"}]}, "messages[0].role", id="role-missing"),
        pytest.param(message(role="root"), "messages[1].role", id="role-unknown"),
        pytest.param(message(role=5), "messages[1].role", id="role-number"),
        pytest.param(message(role=["user"]), "messages[1].role", id="role-array"),
        pytest.param(message(content=5), "messages[1].content", id="content-number"),
        pytest.param(message(content={}), "messages[1].content", id="content-object"),
        pytest.param(
            message(content=[{"type": "text"}] * 1001), "messages[1].content", id="parts-1001"
        ),
        pytest.param(message(content=["x"]), "messages[1].content[0]", id="part-string"),
        pytest.param(message(content=[{}]), "messages[1].content[0].type", id="part-untyped"),
        pytest.param(message(tool_calls={}), "messages[1].tool_calls", id="tool-calls-object"),
        pytest.param(message(tool_calls=[1]), "messages[1].tool_calls[0]", id="tool-call-number"),
        pytest.param({"max_tokens": -1}, "max_tokens", id="max-tokens-negative"),
        pytest.param({"max_tokens": 0}, "max_tokens", id="max-tokens-zero"),
        pytest.param({"max_tokens": 1e12}, "max_tokens", id="max-tokens-1e12"),
        pytest.param({"max_tokens": 10**12}, "max_tokens", id="max-tokens-10**12"),
        pytest.param({"max_tokens": "5"}, "max_tokens", id="max-tokens-string"),
        pytest.param({"max_tokens": True}, "max_tokens", id="max-tokens-boolean"),
        pytest.param({"max_tokens": 5.0}, "max_tokens", id="max-tokens-float"),
        pytest.param({"max_completion_tokens": []}, "max_completion_tokens", id="max-completion"),
        pytest.param({"n": 1_000_000}, "n", id="n-million"),
        pytest.param({"n": 0}, "n", id="n-zero"),
        pytest.param({"stop": ["x"] * 10_000}, "stop", id="stop-10k"),
        pytest.param({"stop": 5}, "stop", id="stop-number"),
        pytest.param({"stop": "x" * 1025}, "stop", id="stop-long"),
        pytest.param({"stop": ["x", 5]}, "stop[1]", id="stop-item-number"),
        pytest.param({"stop": ["x", "x" * 1025]}, "stop[1]", id="stop-item-long"),
        pytest.param(
            {"logit_bias": dict.fromkeys(map(str, range(1025)), 1)}, "logit_bias", id="logit-bias"
        ),
        pytest.param({"logit_bias": []}, "logit_bias", id="logit-bias-array"),
        pytest.param({"tools": [{}] * 10_000}, "tools", id="tools-10k"),
        pytest.param({"tools": {}}, "tools", id="tools-object"),
        pytest.param({"tools": [5]}, "tools[0]", id="tool-number"),
        pytest.param({"functions": [{}] * 129}, "functions", id="functions-129"),
        pytest.param({"metadata": dict.fromkeys("abcdefghijklmnopq")}, "metadata", id="metadata"),
        pytest.param({"metadata": "x"}, "metadata", id="metadata-string"),
        pytest.param({"top_logprobs": 21}, "top_logprobs", id="top-logprobs"),
        pytest.param({"temperature": 2.1}, "temperature", id="temperature-high"),
        pytest.param({"temperature": "1"}, "temperature", id="temperature-string"),
        pytest.param({"temperature": True}, "temperature", id="temperature-boolean"),
        pytest.param({"top_p": -0.1}, "top_p", id="top-p-negative"),
        pytest.param({"stream": "true"}, "stream", id="stream-string"),
        pytest.param({"stream": 1}, "stream", id="stream-number"),
        pytest.param({"stream": True, "stream_options": 5}, "stream_options", id="options-number"),
        pytest.param({"stream_options": {}}, "stream_options", id="options-without-stream"),
        pytest.param(
            {"stream": True, "stream_options": {"include_usage": 1}},
            "stream_options.include_usage",
            id="include-usage-number",
        ),
    ],
)
def test_wrong_field_is_named_and_its_content_is_not(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_chat_request({"model": "m", "messages": MESSAGES} | fields, CAPS)
    assert (refused.value.code, refused.value.param) == ("invalid_request", param)
    assert f"`{param}`" in refused.value.message
    assert "xx" not in refused.value.message
    assert len(refused.value.message) < 200


@pytest.mark.parametrize("name", ["model", "messages"])
def test_required_field_is_missed(name: str) -> None:
    request = {"model": "m", "messages": MESSAGES}
    del request[name]
    with pytest.raises(BadRequest, match="missing") as refused:
        check_chat_request(request, CAPS)
    assert refused.value.param == name
