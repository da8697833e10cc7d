"""Events written as chat completions: whole, and as streams that strict clients accept."""

import json
from typing import Any

import msgspec
import pytest

from droveway.contracts.relay import Usage
from droveway.dialects.chat.writer import ChatWriter
from droveway.dialects.events import (
    Begun,
    Counted,
    Event,
    Finished,
    RedactedThinking,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolArguments,
    ToolBegun,
)
from tests.support.answer_events import (
    CONTEXT,
    RESPONSE_ID,
    USAGE,
    assert_legal_chat,
    decoded,
    written,
)

BEGUN = Begun("msg_upstream", "up-1")
LOGPROBS: dict[str, Any] = {"content": [{"token": "a", "logprob": -0.5}], "refusal": None}
RAW_LOGPROBS = msgspec.Raw(json.dumps(LOGPROBS).encode())


def _stream(*events: Event, include_usage: bool = False) -> list[dict[str, Any]]:
    writer = ChatWriter(CONTEXT._replace(include_usage=include_usage))
    stream = written(writer, [BEGUN, *events])
    assert_legal_chat(stream, include_usage=include_usage)
    return decoded(stream)


def _deltas(*events: Event) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in _stream(*events)]


def _whole(*events: Event, usage: Usage = USAGE) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(ChatWriter(CONTEXT).whole([BEGUN, *events], usage))
    return body


def _message(*events: Event) -> dict[str, Any]:
    message: dict[str, Any] = _whole(*events)["choices"][0]["message"]
    return message


def test_a_plain_stream_as_openai_writes_it() -> None:
    chunks = _stream(Text('He said "hé"\n'), Text("!"), Finished("stop"))
    named = {
        "id": f"chatcmpl-{RESPONSE_ID}",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "up-1",
    }
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"content": 'He said "hé"\n'}, None),
        ({"content": "!"}, None),
        ({}, "stop"),
    ]
    assert chunks == [
        named | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": end}]}
        for delta, end in deltas
    ]


def test_usage_is_null_until_the_last_chunk_where_it_is_wanted() -> None:
    chunks = _stream(Text("a"), Counted(USAGE), Finished("stop"), include_usage=True)
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 3
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "total_tokens": 140,
        "prompt_tokens_details": {
            "cached_tokens": 30,
            "cache_write_tokens": 20,
            "audio_tokens": 0,
            "cache_write_1h_tokens": 8,
        },
        "completion_tokens_details": {
            "reasoning_tokens": 5,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def test_the_asked_model_is_named_where_the_provider_names_none() -> None:
    stream = ChatWriter(CONTEXT).write([Begun("", ""), Text("a")])
    assert {chunk["model"] for chunk in decoded(stream)} == {"asked-model"}
    whole = json.loads(ChatWriter(CONTEXT).whole([Begun("", "")], USAGE))
    assert whole["model"] == "asked-model"


def test_the_role_comes_first_in_every_choice() -> None:
    chunks = _stream(
        Text("a"), Text("b", 1), Thinking("c", 2), Text("d"), Text("e", 1),
        Finished("stop", 1), Finished("length"), Finished("stop", 2),
    )  # fmt: skip
    assert [chunk["choices"][0]["index"] for chunk in chunks] == [0, 0, 1, 1, 2, 2, 0, 1, 1, 0, 2]


def test_calls_are_counted_by_themselves_and_named_once() -> None:
    calls = [
        delta["tool_calls"][0]
        for delta in _deltas(
            Text("x"), ToolBegun(0, "a", "f"), ToolArguments(0, ""), ToolArguments(0, '{"x":1}'),
            ToolBegun(1, "b", "g"), ToolArguments(1, "{}"), Finished("tool_calls"),
        )
        if "tool_calls" in delta
    ]  # fmt: skip
    assert calls == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"x":1}'}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]


def test_reasoning_streams_as_it_comes_and_its_block_when_it_ends() -> None:
    deltas = _deltas(
        Thinking("h"), Thinking("m"), Signature("s1"), RedactedThinking("d"), Signature("s2"),
        Text("a"), Finished("stop"),
    )  # fmt: skip
    assert deltas[1:-1] == [
        {"reasoning_content": "h"},
        {"reasoning_content": "m"},
        {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s1"}]},
        {"thinking_blocks": [{"type": "redacted_thinking", "data": "d"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "s2"}]},
        {"content": "a"},
    ]


def test_text_and_calls_end_reasoning_that_no_signature_ends() -> None:
    for between in (Text("a"), ToolBegun(0, "x", "f")):
        events: list[Event] = [
            Text("b"), Thinking("no"), between, Text("c"), Thinking("yes"), Signature("s"),
            Finished("stop"),
        ]  # fmt: skip
        block = {"type": "thinking", "thinking": "yes", "signature": "s"}
        assert {"thinking_blocks": [block]} in _deltas(*events)
        assert _message(*events)["thinking_blocks"] == [block]


def test_a_refusal_streams_as_such() -> None:
    assert _deltas(Refusal("No"), Finished("stop"))[1] == {"refusal": "No"}


def test_logprobs_stay_with_their_text() -> None:
    chunks = _stream(Text("a", 0, RAW_LOGPROBS), Text("", 0, RAW_LOGPROBS), Finished("stop"))
    logprobs = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert logprobs == [None, LOGPROBS, LOGPROBS, None]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("stop", "stop"), ("length", "length"), ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"), ("moon_phase", "stop"),
    ],
)  # fmt: skip
def test_finish_reasons_are_openais_own(reason: str, told: str) -> None:
    assert _stream(Finished(reason))[-1]["choices"][0]["finish_reason"] == told
    assert _whole(Finished(reason))["choices"][0]["finish_reason"] == told


def test_pieces_without_anything_in_them_are_not_written() -> None:
    assert _deltas(Text(""), Thinking(""), Refusal(""), Finished("stop"))[1:] == [{}]


def test_a_whole_answer_as_openai_writes_it() -> None:
    whole = _whole(Text("Hel"), Text("lo"), Counted(USAGE), Finished("stop"))
    assert whole == {
        "id": f"chatcmpl-{RESPONSE_ID}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "up-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": whole["usage"],
    }
    assert whole["usage"]["total_tokens"] == 140


def test_content_is_null_beside_calls_without_text() -> None:
    call: list[Event] = [ToolBegun(0, "a", "f"), ToolArguments(0, '{"x":'), ToolArguments(0, "1}")]
    assert _message(*call, Finished("tool_calls")) == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
        ],
    }
    assert _message(Text("t"), *call, Finished("tool_calls"))["content"] == "t"


def test_content_of_an_empty_answer_is_empty_and_of_a_refusal_null() -> None:
    assert _message(Finished("stop"))["content"] == ""
    refused = _message(Refusal("N"), Refusal("o"), Finished("stop"))
    assert (refused["content"], refused["refusal"]) == (None, "No")


def test_reasoning_stands_in_a_whole_answer_with_its_blocks() -> None:
    message = _message(
        Thinking("h"), Thinking("m"), Signature("s"), RedactedThinking("d"), Text("a"),
        Finished("stop"),
    )  # fmt: skip
    assert message["reasoning_content"] == "hm"
    assert message["thinking_blocks"] == [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
    ]


def test_logprobs_of_pieces_are_joined_in_a_whole_answer() -> None:
    whole = _whole(Text("a", 0, RAW_LOGPROBS), Text("b", 0, RAW_LOGPROBS), Finished("stop"))
    assert whole["choices"][0]["logprobs"] == {
        "content": LOGPROBS["content"] * 2,
        "refusal": None,
    }
    strange = msgspec.Raw(b'{"content":"token"}')
    whole = _whole(Text("a", 0, RAW_LOGPROBS), Text("b", 0, strange), Finished("stop"))
    assert whole["choices"][0]["logprobs"] == {"content": "token"}


def test_a_whole_answer_has_all_its_choices_in_order() -> None:
    whole = _whole(Text("b", 1), Text("a"), Finished("stop", 1), Finished("length"))
    assert [
        (choice["index"], choice["message"]["content"], choice["finish_reason"])
        for choice in whole["choices"]
    ] == [(0, "a", "length"), (1, "b", "stop")]
