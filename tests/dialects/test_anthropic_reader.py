"""Anthropic messages, whole and as streams, read into events."""

import json
from typing import Any

import msgspec
import pytest

from droveway.contracts.relay import Usage
from droveway.dialects.anthropic.reader import AnthropicReader
from droveway.dialects.events import (
    Begun,
    Counted,
    Event,
    Finished,
    InBandError,
    RedactedThinking,
    Signature,
    Text,
    Thinking,
    ToolArguments,
    ToolBegun,
)
from tests.support.answer_events import read_stream, sent

START_USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 20,
    "cache_read_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5},
    "output_tokens": 1,
}
START = {
    "type": "message_start",
    "message": {
        "id": "msg_u1", "type": "message", "role": "assistant", "model": "up-1", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": START_USAGE,
    },
}  # fmt: skip
BEGUN = Begun("msg_u1", "up-1", Usage(60, 1, 30, 20, cache_write_1h_tokens=5))
STOP = {"type": "message_stop"}


def _begin(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    delta = {"type": kind, **fields}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _end(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def _finish(
    reason: str | None, sequence: str | None = None, usage: dict[str, Any] | None = None
) -> dict[str, Any]:
    delta = {"stop_reason": reason, "stop_sequence": sequence}
    event = {"type": "message_delta", "delta": delta}
    return event | ({"usage": usage} if usage is not None else {})


def _read(*events: dict[str, Any]) -> list[Event]:
    begun, *rest = read_stream(AnthropicReader(), map(sent, [START, *events]))
    assert begun == BEGUN
    return rest


def _whole(*blocks: dict[str, Any], **fields: Any) -> list[Event]:
    named = {"id": "msg_u1", "type": "message", "role": "assistant", "model": "up-1"}
    body = {**named, "content": blocks, "stop_reason": "end_turn", **fields}
    return AnthropicReader().read_whole(sent(body))


def test_a_plain_stream() -> None:
    events = _read(
        _begin(0, type="text", text=""),
        {"type": "ping"},
        _delta(0, "text_delta", text="Hel"),
        _delta(0, "text_delta", text="lo"),
        _end(0),
        _finish("end_turn", usage={"output_tokens": 7}),
        STOP,
    )
    assert events == [
        Text("Hel"), Text("lo"), Finished("stop", 0, "end_turn"),
        Counted(Usage(60, 7, 30, 20, cache_write_1h_tokens=5)),
    ]  # fmt: skip


def test_a_whole_answer_is_the_same_events() -> None:
    assert _whole({"type": "text", "text": "Hello"}, usage={**START_USAGE, "output_tokens": 7}) == [
        Begun("msg_u1", "up-1"), Text("Hello"), Finished("stop", 0, "end_turn"),
        Counted(Usage(60, 7, 30, 20, cache_write_1h_tokens=5)),
    ]  # fmt: skip


def test_a_ping_may_come_first() -> None:
    reader = AnthropicReader()
    assert reader.read(sent({"type": "ping"})) == []
    assert reader.read(sent(START)) == [BEGUN]
    assert reader.read(sent(START)) == []


def test_thinking_ends_with_its_signature_even_one_without_text() -> None:
    events = _read(
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
    )
    assert events == [
        Thinking("h"), Thinking("m"), Signature("s1"), RedactedThinking("d"), Signature("s2"),
    ]  # fmt: skip
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s1"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "thinking", "thinking": "", "signature": "s2"},
    ]
    assert _whole(*blocks)[1:-1] == [
        Thinking("hm"), Signature("s1"), RedactedThinking("d"), Signature("s2"),
    ]  # fmt: skip


def test_calls_are_counted_among_themselves() -> None:
    events = _read(
        _begin(0, type="text", text=""),
        _delta(0, "text_delta", text="a"),
        _end(0),
        _begin(1, type="tool_use", id="t1", name="f", input={}),
        _delta(1, "input_json_delta", partial_json=""),
        _delta(1, "input_json_delta", partial_json='{"x"'),
        _delta(1, "input_json_delta", partial_json=": 1}"),
        _end(1),
        _begin(2, type="tool_use", id="t2", name="g", input={}),
        _end(2),
        _finish("tool_use"),
    )
    assert events == [
        Text("a"), ToolBegun(0, "t1", "f"), ToolArguments(0, '{"x"'), ToolArguments(0, ": 1}"),
        ToolBegun(1, "t2", "g"), ToolArguments(1, "{}"), Finished("tool_calls", 0, "tool_use"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "pieces", "arguments"),
    [
        ("{}", [], "{}"), ("{}", [""], "{}"), ('{"x": 1.50}', [], '{"x": 1.50}'),
        ('{"x": 1}', ['{"x":2}'], '{"x":2}'),
    ],
)  # fmt: skip
def test_input_given_at_once_counts_unless_pieces_follow(
    given: str, pieces: list[str], arguments: str
) -> None:
    begin = sent(_begin(0, type="tool_use", id="t", name="f", input={})).replace(
        b'"input": {}', b'"input": ' + given.encode()
    )
    reader = AnthropicReader()
    events = reader.read(begin)
    for piece in pieces:
        events += reader.read(sent(_delta(0, "input_json_delta", partial_json=piece)))
    events += reader.read(sent(_end(0)))
    assert events[1:] == [ToolBegun(0, "t", "f"), ToolArguments(0, arguments)]


def test_whole_calls_keep_their_arguments_as_they_were_written() -> None:
    body = (
        b'{"type":"message","content":[{"type":"tool_use","id":"t","name":"f",'
        b'"input":{"z": 1.50, "a": "\\u00e9"}}, {"type":"tool_use","id":"u","name":"g"}]}'
    )
    assert AnthropicReader().read_whole(body)[1:] == [
        ToolBegun(0, "t", "f"), ToolArguments(0, '{"z": 1.50, "a": "\\u00e9"}'),
        ToolBegun(1, "u", "g"), ToolArguments(1, "{}"),
    ]  # fmt: skip


def test_what_the_provider_does_by_itself_is_left_out() -> None:
    events = _read(
        _begin(0, type="server_tool_use", id="s", name="web_search", input={}),
        _delta(0, "input_json_delta", partial_json='{"query":"x"}'),
        _end(0),
        _begin(1, type="web_search_tool_result", tool_use_id="s", content=[{"text": 1}]),
        _end(1),
        _begin(2, type="oracle", text={"strange": 1}, input=[]),
        _delta(2, "text_delta", text="left out"),
        _end(2),
        _begin(3, type="text", text="", citations=[]),
        _delta(3, "citations_delta", citation={"type": "x"}),
        _delta(3, "oracle_delta", text={"strange": 1}),
        {"type": "oracle", "message": 3, "index": "x", "usage": []},
        _delta(3, "text_delta", text="a"),
        _end(3),
        _begin(4, type="tool_use", id="t", name="f", input={}),
        _end(4),
        _finish("end_turn"),
    )
    assert events == [
        Text("a"), ToolBegun(0, "t", "f"), ToolArguments(0, "{}"), Finished("stop", 0, "end_turn"),
    ]  # fmt: skip


def test_unknown_blocks_of_a_whole_answer_are_left_out() -> None:
    strange: list[dict[str, Any]] = [
        {"type": "oracle", "text": {}, "input": 3},
        {"type": "server_tool_use", "id": "s"},
    ]
    assert _whole(*strange, {"type": "text", "text": "a"})[1:-1] == [Text("a")]
    with pytest.raises(msgspec.DecodeError):
        _whole({"type": "text", "text": {}})


def test_blocks_that_imitations_do_not_end_are_ended() -> None:
    events = _read(
        _begin(0, type="thinking", thinking="hm", signature="s"),
        _begin(1, type="tool_use", id="t", name="f", input={}),
        _begin(2, type="tool_use", id="u", name="g", input={}),
        _finish("tool_use"),
    )
    assert events == [
        Thinking("hm"), Signature("s"), ToolBegun(0, "t", "f"), ToolArguments(0, "{}"),
        ToolBegun(1, "u", "g"), ToolArguments(1, "{}"), Finished("tool_calls", 0, "tool_use"),
    ]  # fmt: skip


def test_a_stream_without_its_beginning_is_read() -> None:
    assert AnthropicReader().read(sent(_delta(0, "text_delta", text="a"))) == [
        Begun("", ""), Text("a"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("pause_turn", "stop"),
        ("max_tokens", "length"), ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"), ("refusal", "content_filter"),
    ],
)  # fmt: skip
def test_stop_reasons(word: str, reason: str) -> None:
    assert _read(_finish(word)) == [Finished(reason, 0, word)]
    assert _whole(stop_reason=word)[1:] == [Finished(reason, 0, word)]


def test_a_stop_sequence_is_told_and_unknown_words_stay() -> None:
    assert _read(_finish("stop_sequence", "###")) == [Finished("stop", 0, "stop_sequence", "###")]
    assert _whole(stop_reason="stop_sequence", stop_sequence="###")[1:] == [
        Finished("stop", 0, "stop_sequence", "###")
    ]
    assert _read(_finish("moon_phase")) == [Finished("moon_phase")]


def test_an_answer_ends_once() -> None:
    assert _read(_finish(None), _finish("end_turn"), _finish("max_tokens")) == [
        Finished("stop", 0, "end_turn")
    ]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"output_tokens": 7}, Usage(60, 7, 30, 20, cache_write_1h_tokens=5)),
        (
            {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 7},
            Usage(60, 7, 30, 20, cache_write_1h_tokens=5),
        ),
        (
            {"input_tokens": 12, "output_tokens": 7},
            Usage(62, 7, 30, 20, cache_write_1h_tokens=5),
        ),
        (
            {"input_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 50},
            Usage(51, 1, 50),
        ),
        (
            {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 3}},
            Usage(60, 7, 30, 20, 3, cache_write_1h_tokens=5),
        ),
    ],
    ids=["output", "zeros", "input", "all", "thinking"],
)
def test_later_usage_is_merged(usage: dict[str, Any], expected: Usage) -> None:
    assert _read(_finish("end_turn", usage=usage))[-1] == Counted(expected)


def test_usage_whose_writes_are_told_by_lifetime_only() -> None:
    split = {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3}
    usage = {"input_tokens": 1, "output_tokens": 4, "cache_creation": split}
    assert _whole(usage=usage)[-1] == Counted(
        Usage(6, 4, cache_write_tokens=5, cache_write_1h_tokens=3)
    )


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("overloaded_error", "provider_unavailable"), ("rate_limit_error", "provider_rate_limited"),
        ("api_error", "provider_unavailable"),
    ],
)  # fmt: skip
def test_errors_in_band(kind: str, code: str) -> None:
    error = sent({"type": "error", "error": {"type": kind, "message": "Overloaded"}})
    for read in (AnthropicReader().read, AnthropicReader().read_whole):
        with pytest.raises(InBandError) as told:
            read(error)
        assert told.value.failure.code == code
        assert told.value.failure.provider_code == kind
        assert "Overloaded" in told.value.failure.message


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "boom", "type": "server_error", "code": 500}},
        {"type": "error", "message": "boom"},
        {"type": "error", "error": "boom"},
        {"type": "error", "error": {"type": None, "message": "boom"}},
    ],
)
def test_errors_in_band_as_imitations_tell_them(error: dict[str, Any]) -> None:
    with pytest.raises(InBandError) as told:
        AnthropicReader().read(sent(error))
    assert told.value.failure.code == "provider_unavailable"
    assert "boom" in told.value.failure.message


def test_what_isnt_of_this_dialect_leaves_the_reader_as_it_was() -> None:
    reader = AnthropicReader()
    strange = [
        b"[]", b"{", b"{}", b'{"type":"message_start","message":3}', sent(_begin(0, type=3)),
        sent(_begin(0, type="text", text={})), sent(_delta(0, "text_delta", text=1)),
    ]  # fmt: skip
    for data in strange:
        with pytest.raises(msgspec.DecodeError):
            reader.read(data)
    with pytest.raises(UnicodeDecodeError):
        reader.read(sent(_begin(0, type="tool_use", input={"x": "?"})).replace(b"?", b"\xff"))
    assert reader.read(sent(START)) == [BEGUN]
    bodies: list[dict[str, Any]] = [
        {"type": "message"}, {"choices": []}, {"type": "completion", "content": []},
    ]  # fmt: skip
    for body in bodies:
        with pytest.raises(msgspec.DecodeError):
            AnthropicReader().read_whole(json.dumps(body).encode())
