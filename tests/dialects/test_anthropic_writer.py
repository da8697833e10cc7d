"""Events written as Anthropic messages: whole, and as streams whose blocks never interleave."""

import json
from typing import Any

import pytest

from droveway.contracts.relay import Usage
from droveway.dialects.anthropic.writer import AnthropicWriter
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
    assert_legal_anthropic,
    decoded,
    written,
)

BEGUN = Begun("chatcmpl-upstream", "up-1")
STOP = Finished("stop")


def _stream(*events: Event) -> list[dict[str, Any]]:
    stream = written(AnthropicWriter(CONTEXT), [BEGUN, *events])
    assert_legal_anthropic(stream)
    return decoded(stream)


def _blocks(*events: Event) -> list[dict[str, Any]]:
    """What stands between the beginning and the end of a stream."""
    return _stream(*events)[1:-2]


def _whole(*events: Event) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(AnthropicWriter(CONTEXT).whole([BEGUN, *events], USAGE))
    return body


def _begin(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    delta = {"type": kind, **fields}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _end(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def _call(tool: int, *pieces: str) -> list[Event]:
    return [ToolBegun(tool, f"t{tool}", "f"), *(ToolArguments(tool, piece) for piece in pieces)]


def _tool(index: int, tool: int, *pieces: str) -> list[dict[str, Any]]:
    return [
        _begin(index, type="tool_use", id=f"t{tool}", name="f", input={}),
        *(_delta(index, "input_json_delta", partial_json=piece) for piece in pieces),
        _end(index),
    ]


def test_a_plain_stream_as_anthropic_writes_it() -> None:
    assert _stream(Text('He said "hé"\n'), Text("!"), Counted(USAGE), STOP) == [
        {
            "type": "message_start",
            "message": {
                "id": f"msg_{RESPONSE_ID}",
                "type": "message",
                "role": "assistant",
                "model": "up-1",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {
                    "input_tokens": 11,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": 0,
                        "ephemeral_1h_input_tokens": 0,
                    },
                    "output_tokens": 1,
                },
            },
        },
        _begin(0, type="text", text=""),
        _delta(0, "text_delta", text='He said "hé"\n'),
        _delta(0, "text_delta", text="!"),
        _end(0),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 50,
                "cache_creation_input_tokens": 20,
                "cache_read_input_tokens": 30,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 12,
                    "ephemeral_1h_input_tokens": 8,
                },
                "output_tokens": 40,
                "output_tokens_details": {"thinking_tokens": 5},
            },
        },
        {"type": "message_stop"},
    ]


def test_the_input_is_told_at_the_start_where_the_provider_told_it() -> None:
    writer = AnthropicWriter(CONTEXT)
    (start,) = decoded(writer.write([Begun("", "", Usage(60, 9, 30, 20))]))
    assert start["message"]["model"] == "asked-model"
    usage = start["message"]["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (10, 30)
    assert usage["output_tokens"] == 1


def test_an_empty_answer_begins_and_ends() -> None:
    assert [event["type"] for event in _stream(STOP)] == [
        "message_start", "message_delta", "message_stop",
    ]  # fmt: skip
    assert _whole(STOP)["content"] == []
    never_begun = AnthropicWriter(CONTEXT).close(Usage())
    assert_legal_anthropic(never_begun)
    assert len(never_begun) == 3


def test_each_block_ends_before_the_next_begins() -> None:
    events: list[Event] = [
        Thinking("h"), Thinking("m"), Signature("s1"), RedactedThinking("d"), Signature("s2"),
        Text("a"), Thinking("so"), Text("b"), *_call(0, '{"x":', "1}"), Text("c"), STOP,
    ]  # fmt: skip
    assert _blocks(*events) == [
        _begin(0, type="thinking", thinking="", signature=""),
        _delta(0, "thinking_delta", thinking="h"),
        _delta(0, "thinking_delta", thinking="m"),
        _delta(0, "signature_delta", signature="s1"),
        _end(0),
        _begin(1, type="redacted_thinking", data="d"),
        _end(1),
        _begin(2, type="thinking", thinking="", signature=""),
        _delta(2, "signature_delta", signature="s2"),
        _end(2),
        _begin(3, type="text", text=""),
        _delta(3, "text_delta", text="a"),
        _end(3),
        _begin(4, type="thinking", thinking="", signature=""),
        _delta(4, "thinking_delta", thinking="so"),
        _end(4),
        _begin(5, type="text", text=""),
        _delta(5, "text_delta", text="b"),
        _end(5),
        *_tool(6, 0, '{"x":', "1}"),
        _begin(7, type="text", text=""),
        _delta(7, "text_delta", text="c"),
        _end(7),
    ]
    assert _whole(*events)["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "s1"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "thinking", "thinking": "", "signature": "s2"},
        {"type": "text", "text": "a"},
        {"type": "thinking", "thinking": "so", "signature": ""},
        {"type": "text", "text": "b"},
        {"type": "tool_use", "id": "t0", "name": "f", "input": {"x": 1}},
        {"type": "text", "text": "c"},
    ]


def test_signed_thinking_ends_at_once() -> None:
    events = decoded(AnthropicWriter(CONTEXT).write([BEGUN, Thinking("hm"), Signature("s")]))
    assert events[-1] == _end(0)


def test_calls_one_after_the_other_stream_as_they_come() -> None:
    writer = AnthropicWriter(CONTEXT)
    stream = decoded(writer.write([BEGUN, *_call(0, '{"x":', "1}"), *_call(1, '{"y"')]))
    assert stream[1:] == [*_tool(0, 0, '{"x":', "1}"), *_tool(1, 1, '{"y"')[:-1]]


@pytest.mark.parametrize("after", [[], [" ", "\n"], [""]], ids=["nothing", "blanks", "empty"])
def test_a_call_is_complete_with_its_brace_whatever_blanks_follow(after: list[str]) -> None:
    writer = AnthropicWriter(CONTEXT)
    pieces = ['{"x":"}', '"}', *after]
    stream = decoded(writer.write([BEGUN, *_call(0, *pieces), Text("a"), Text("b")]))
    assert stream[1:] == [
        *_tool(0, 0, *filter(None, pieces)),
        _begin(1, type="text", text=""),
        _delta(1, "text_delta", text="a"),
        _delta(1, "text_delta", text="b"),
    ]


def test_interleaved_calls_wait_for_one_another() -> None:
    begun: list[Event] = [ToolBegun(tool, f"t{tool}", "f") for tool in range(3)]
    pieces: list[Event] = [
        ToolArguments(1, '{"y":'), ToolArguments(0, '{"x":{}'), ToolArguments(2, "{}"),
        ToolArguments(0, "}"), ToolArguments(1, "2}"),
    ]  # fmt: skip
    expected = [
        *_tool(0, 0, '{"x":{}', "}"), *_tool(1, 1, '{"y":', "2}"), *_tool(2, 2, "{}"),
    ]  # fmt: skip
    assert _blocks(*begun, *pieces, Finished("tool_calls")) == expected
    assert [block["input"] for block in _whole(*begun, *pieces)["content"]] == [
        {"x": {}}, {"y": 2}, {},
    ]  # fmt: skip


def test_text_waits_for_a_call_that_is_not_complete() -> None:
    events: list[Event] = [*_call(0, '{"x":'), Text("a"), ToolArguments(0, "1}"), Text("b"), STOP]
    assert _blocks(*events) == [
        *_tool(0, 0, '{"x":', "1}"),
        _begin(1, type="text", text=""),
        _delta(1, "text_delta", text="a"),
        _delta(1, "text_delta", text="b"),
        _end(1),
    ]


def test_blocks_that_are_open_end_with_the_answer() -> None:
    writer = AnthropicWriter(CONTEXT)
    stream = writer.write([BEGUN, *_call(0, '{"x'), *_call(1)])
    stream += writer.close(Usage())
    assert_legal_anthropic(stream)
    assert decoded(stream)[1:-2] == [*_tool(0, 0, '{"x'), *_tool(1, 1)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {}), (" {} ", {}), ("null", {}), ('{"a":[1,{"b":null}]}', {"a": [1, {"b": None}]}),
        ('{"x', {"_raw": '{"x'}), ("[1]", {"_raw": "[1]"}), ('{"x":1}}', {"_raw": '{"x":1}}'}),
    ],
)  # fmt: skip
def test_arguments_become_an_object_and_are_never_lost(arguments: str, expected: object) -> None:
    (block,) = _whole(*_call(0, arguments), Finished("tool_calls"))["content"]
    assert block["input"] == expected


def test_arguments_keep_their_spelling_in_a_whole_message() -> None:
    events: list[Event] = [BEGUN, *_call(0, '{"z": 1.50, "a": 1e3}')]
    assert b'"input":{"z": 1.50, "a": 1e3}' in AnthropicWriter(CONTEXT).whole(events, USAGE)


@pytest.mark.parametrize(
    ("events", "reason", "sequence"),
    [
        ([Finished("stop")], "end_turn", None),
        ([Finished("stop", 0, "", "###")], "stop_sequence", "###"),
        ([Finished("stop", 0, "stop_sequence", "###")], "stop_sequence", "###"),
        ([Finished("length", 0, "", "###")], "max_tokens", None),
        ([Finished("tool_calls")], "tool_use", None),
        ([*_call(0, "{}"), Finished("stop")], "tool_use", None),
        ([*_call(0, "{}"), Finished("length")], "max_tokens", None),
        ([Finished("function_call")], "tool_use", None),
        ([Finished("content_filter")], "refusal", None),
        ([Refusal("No"), Finished("stop")], "refusal", None),
        ([Finished("stop", 0, "pause_turn")], "pause_turn", None),
        (
            [Finished("length", 0, "model_context_window_exceeded")],
            "model_context_window_exceeded",
            None,
        ),
        ([Finished("stop", 0, "STOP")], "end_turn", None),
        ([Finished("moon_phase")], "end_turn", None),
        ([Finished("length", 1)], "end_turn", None),
    ],
)
def test_stop_reasons(events: list[Event], reason: str, sequence: str | None) -> None:
    expected = {"stop_reason": reason, "stop_sequence": sequence}
    assert _stream(*events)[-2]["delta"] == expected
    whole = _whole(*events)
    assert {key: whole[key] for key in expected} == expected


def test_a_refusal_is_text() -> None:
    events: list[Event] = [Text("I "), Refusal("won"), Refusal("'t"), STOP]
    assert _whole(*events)["content"] == [{"type": "text", "text": "I won't"}]
    assert len([event for event in _blocks(*events) if event["type"].endswith("start")]) == 1


def test_only_the_first_choice_is_shown() -> None:
    events: list[Event] = [
        Text("b", 1), Text("a"), Thinking("b", 1), ToolBegun(0, "t", "f", 1),
        ToolArguments(0, "{}", 1), Refusal("b", 1), Finished("length", 1), STOP,
    ]  # fmt: skip
    assert _blocks(*events) == [
        _begin(0, type="text", text=""), _delta(0, "text_delta", text="a"), _end(0),
    ]  # fmt: skip
    assert _whole(*events)["content"] == [{"type": "text", "text": "a"}]


def test_pieces_without_anything_in_them_begin_no_block() -> None:
    assert _blocks(Text(""), Thinking(""), Refusal(""), STOP) == []
    assert _whole(Text(""), STOP)["content"] == []


def test_a_whole_answer_as_anthropic_writes_it() -> None:
    whole = _whole(Text("Hel"), Text("lo"), Counted(USAGE), Finished("stop"))
    assert whole == {
        "id": f"msg_{RESPONSE_ID}",
        "type": "message",
        "role": "assistant",
        "model": "up-1",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _stream(STOP)[-2]["usage"],
    }
