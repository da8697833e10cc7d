"""Chat completions as OpenAI and its relatives send them, read into events."""

import json
from typing import Any

import msgspec
import pytest

from droveway.contracts.relay import Usage
from droveway.dialects.chat.reader import ChatReader
from droveway.dialects.events import (
    Begun,
    Counted,
    Event,
    Finished,
    InBandError,
    RedactedThinking,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolArguments,
    ToolBegun,
)
from tests.support.answer_events import merged, read_stream, sent


def _chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"id": "chatcmpl-u1", "model": "up-1", "choices": [choice], **fields}


def _read(*chunks: dict[str, Any]) -> list[Event]:
    return read_stream(ChatReader(), map(sent, chunks))


def _call(index: int | None = 0, call_id: str | None = None, **function: str) -> dict[str, Any]:
    named = {"index": index, "id": call_id}
    call = {key: value for key, value in named.items() if value is not None}
    return {"tool_calls": [{**call, "function": function}]}


def _whole(message: dict[str, Any], **fields: Any) -> list[Event]:
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = {"id": "chatcmpl-u1", "model": "up-1", "choices": [choice], **fields}
    return ChatReader().read_whole(b"\n\n" + sent(body))


def test_a_plain_stream() -> None:
    events = _read(
        _chunk({"role": "assistant", "content": ""}),
        _chunk({"content": "Hel"}),
        _chunk({"content": "lo"}),
        _chunk({}, "stop"),
        {"id": "chatcmpl-u1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    )
    assert events == [
        Begun("chatcmpl-u1", "up-1"), Text("Hel"), Text("lo"), Finished("stop"),
        Counted(Usage(3, 2)),
    ]  # fmt: skip


def test_a_whole_answer_is_the_same_events() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    assert _whole({"role": "assistant", "content": "Hello"}, usage=usage) == [
        Begun("chatcmpl-u1", "up-1"), Text("Hello"), Finished("stop"), Counted(Usage(3, 2)),
    ]  # fmt: skip


def test_a_first_content_of_null_says_nothing() -> None:
    events = _read(_chunk({"role": "assistant", "content": None}), _chunk({"content": "a"}))
    assert events[1:] == [Text("a")]


def test_azures_judgement_of_the_prompt_isnt_the_beginning() -> None:
    judged = {"id": "", "model": "", "choices": [], "prompt_filter_results": [{}]}
    assert _read(judged, _chunk({"content": "a"})) == [Begun("chatcmpl-u1", "up-1"), Text("a")]


def test_calls_by_openais_own_order() -> None:
    events = _read(
        _chunk(_call(0, "a", name="f", arguments="")),
        _chunk(_call(0, arguments='{"x":')),
        _chunk(_call(0, arguments="1}")),
        _chunk(_call(1, "b", name="g", arguments="")),
        _chunk(_call(0, arguments=" ")),
        _chunk(_call(1, arguments="{}")),
        _chunk({}, "tool_calls"),
    )
    assert events[1:] == [
        ToolBegun(0, "a", "f"), ToolArguments(0, '{"x":'), ToolArguments(0, "1}"),
        ToolBegun(1, "b", "g"), ToolArguments(0, " "), ToolArguments(1, "{}"),
        Finished("tool_calls"),
    ]  # fmt: skip


@pytest.mark.parametrize("index", [0, None], ids=["all 0", "missing"])
def test_a_new_id_is_a_new_call_whatever_its_index(index: int | None) -> None:
    events = _read(
        _chunk(_call(index, "a", name="f", arguments='{"x":')),
        _chunk(_call(index, arguments="1}")),
        _chunk(_call(index, "b", name="f", arguments="{")),
        _chunk(_call(index, "b", arguments="}")),
    )
    assert events[1:] == [
        ToolBegun(0, "a", "f"), ToolArguments(0, '{"x":'), ToolArguments(0, "1}"),
        ToolBegun(1, "b", "f"), ToolArguments(1, "{"), ToolArguments(1, "}"),
    ]  # fmt: skip


@pytest.mark.parametrize("call_id", ["", None])
def test_calls_without_ids_are_told_apart_by_their_names_and_get_ids(call_id: str | None) -> None:
    events = _read(
        _chunk(_call(0, call_id, name="f", arguments='{"x":')),
        _chunk(_call(0, call_id, name="f", arguments="1}")),
        _chunk(_call(0, call_id, name="f", arguments='{"x":2}')),
        _chunk(_call(0, call_id, name="g", arguments="{}")),
        _chunk(_call(0, call_id, name="g", arguments="")),
    )
    begun = [event for event in events if isinstance(event, ToolBegun)]
    assert [(call.tool, call.name) for call in begun] == [(0, "f"), (1, "f"), (2, "g")]
    assert [call.call_id for call in begun] == ["call_u1_0_0", "call_u1_0_1", "call_u1_0_2"]


def test_an_id_that_stands_in_every_piece_is_one_call() -> None:
    pieces = [_chunk(_call(0, "a", name="f", arguments=piece)) for piece in ('{"', 'x":', "1}")]
    assert merged(_read(*pieces)) == [ToolBegun(0, "a", "f"), ToolArguments(0, '{"x":1}')]


def test_one_id_under_two_indices_is_two_calls() -> None:
    events = _read(
        _chunk(_call(0, "a", name="f", arguments="{}")),
        _chunk(_call(1, "a", name="g", arguments="{}")),
    )
    assert [event.tool for event in events if isinstance(event, ToolBegun)] == [0, 1]


def test_a_call_without_arguments_gets_an_empty_object_unless_it_was_cut() -> None:
    call = _chunk(_call(0, "a", name="f", arguments=""))
    assert _read(call, _chunk({}, "tool_calls"))[2:] == [
        ToolArguments(0, "{}"), Finished("tool_calls"),
    ]  # fmt: skip
    assert _read(call, _chunk({}, "length"))[2:] == [Finished("length")]


def test_text_and_a_call_in_one_chunk_lose_neither() -> None:
    both = {"content": "Let me see", **_call(0, "a", name="f", arguments="{}")}
    assert _read(_chunk(both))[1:] == [
        Text("Let me see"), ToolBegun(0, "a", "f"), ToolArguments(0, "{}"),
    ]  # fmt: skip


def test_whole_calls_with_arguments_as_text_or_as_an_object() -> None:
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": 2}}},
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}},
    ]
    assert _whole({"content": None, "tool_calls": calls})[1:-1] == [
        ToolBegun(0, "a", "f"), ToolArguments(0, '{"x": 1}'),
        ToolBegun(1, "a", "f"), ToolArguments(1, '{"x":2}'),
        ToolBegun(2, "c", "f"), ToolArguments(2, "{}"),
    ]  # fmt: skip


def test_a_function_call_of_old_is_a_tool_call() -> None:
    events = _read(
        _chunk({"function_call": {"name": "f", "arguments": ""}}),
        _chunk({"function_call": {"arguments": '{"x":1}'}}),
        _chunk({}, "function_call"),
    )
    assert events[1:] == [
        ToolBegun(0, "call_u1_0_0", "f"), ToolArguments(0, '{"x":1}'),
        Finished("tool_calls", 0, "function_call"),
    ]  # fmt: skip


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_by_either_name(field: str) -> None:
    events = _read(_chunk({"content": None, field: "hm"}), _chunk({"content": "a"}))
    assert events[1:] == [Thinking("hm"), Text("a")]
    assert _whole({"content": "a", field: "hm"})[1:3] == [Thinking("hm"), Text("a")]


def test_reasoning_told_under_both_names_is_told_once() -> None:
    both = {"reasoning_content": "hm", "reasoning": "hm", "reasoning_details": [{}]}
    assert _read(_chunk(both))[1:] == [Thinking("hm")]
    assert _read(_chunk({"reasoning": {"text": "hm"}, "content": "a"}))[1:] == [Text("a")]


def test_thinking_blocks_end_the_reasoning_before_them() -> None:
    block = {"type": "thinking", "thinking": "hm", "signature": "s1"}
    events = _read(
        _chunk({"reasoning_content": "h"}),
        _chunk({"reasoning_content": "m"}),
        _chunk({"thinking_blocks": [block]}),
        _chunk({"thinking_blocks": [{"type": "redacted_thinking", "data": "d"}]}),
        _chunk({"thinking_blocks": [{"type": "thinking", "thinking": "so", "signature": None}]}),
        _chunk({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "s2"}]}),
    )
    assert merged(events) == [
        Thinking("hm"), Signature("s1"), RedactedThinking("d"), Thinking("so"), Signature("s2"),
    ]  # fmt: skip


def test_refusals_and_logprobs() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]}
    chunk = _chunk({"content": "a"})
    chunk["choices"][0]["logprobs"] = logprobs
    _, text, refusal = _read(chunk, _chunk({"refusal": "No"}))
    assert isinstance(text, Text)
    assert text.logprobs is not None
    assert json.loads(bytes(text.logprobs)) == logprobs
    assert refusal == Refusal("No")


def test_empty_logprobs_are_no_content() -> None:
    chunk = _chunk({"role": "assistant", "content": ""})
    chunk["choices"][0]["logprobs"] = {"content": [], "refusal": None}
    assert _read(chunk) == [Begun("chatcmpl-u1", "up-1")]


def test_content_in_parts_is_one_text() -> None:
    parts: list[dict[str, str]] = [
        {"type": "text", "text": "a"},
        {"type": "image"},
        {"type": "text", "text": "b"},
    ]
    assert _whole({"content": parts})[1] == Text("ab")


def test_several_choices_keep_apart() -> None:
    chunks: list[dict[str, Any]] = [
        {"id": "c", "choices": [{"index": 1, "delta": {"content": "b"}}]},
        {"id": "c", "choices": [{"index": 0, "delta": _call(0, "x", name="f", arguments="{}")}]},
        {"id": "c", "choices": [{"index": 1, "delta": _call(0, "y", name="g", arguments="{}")}]},
        {"id": "c", "choices": [{"index": 1, "finish_reason": "stop"}, {"finish_reason": "stop"}]},
    ]
    assert _read(*chunks)[1:] == [
        Text("b", 1), ToolBegun(0, "x", "f"), ToolArguments(0, "{}"),
        ToolBegun(0, "y", "g", 1), ToolArguments(0, "{}", 1),
        Finished("stop", 1), Finished("stop", 0),
    ]  # fmt: skip


def test_what_comes_after_the_finish_is_not_part_of_the_answer() -> None:
    events = _read(_chunk({"content": "a"}, "stop"), _chunk({"content": "b"}, "stop"))
    assert events[1:] == [Text("a"), Finished("stop")]


@pytest.mark.parametrize(
    ("word", "reason", "native"),
    [
        ("stop", "stop", ""),
        ("STOP", "stop", "STOP"),
        ("max_tokens", "length", "max_tokens"),
        ("model_context_window_exceeded", "length", "model_context_window_exceeded"),
        ("insufficient_system_resource", "length", "insufficient_system_resource"),
        ("tool_use", "tool_calls", "tool_use"),
        ("sensitive", "content_filter", "sensitive"),
        ("content_filter", "content_filter", ""),
        ("moon_phase", "moon_phase", ""),
    ],
)
def test_words_of_relatives(word: str, reason: str, native: str) -> None:
    assert _read(_chunk({}, word))[1:] == [Finished(reason, 0, native)]


def test_the_stop_sequence_where_the_provider_tells_it() -> None:
    for told, sequence in (("###", "###"), (128_001, None), (None, None)):
        chunk = _chunk({}, "stop")
        chunk["choices"][0]["stop_reason"] = told
        assert _read(chunk)[1:] == [Finished("stop", 0, "", sequence)]


def test_usage_in_every_chunk_is_told_as_it_changes() -> None:
    counts = [{"prompt_tokens": 3, "completion_tokens": count} for count in (1, 1, 2)]
    events = _read(*(_chunk({"content": "a"}, usage=count) for count in counts))
    assert [event for event in events if isinstance(event, Counted)] == [
        Counted(Usage(3, 1)), Counted(Usage(3, 2)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(10, 5, 4, 3, 2),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 4},
            Usage(10, 5, 4),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 4}, Usage(10, 5, 4)),
        ({"prompt_tokens": 10, "prompt_tokens_details": None}, Usage(10)),
        ({"prompt_tokens": -1, "completion_tokens": 2**60}, Usage(0, 2**53)),
    ],
    ids=["details", "deepseek", "moonshot", "null", "out of bounds"],
)
def test_usage_as_relatives_count_it(usage: dict[str, Any], expected: Usage) -> None:
    assert _read(_chunk({}, usage=usage))[1:] == [Counted(expected)]


def test_usage_that_counts_nothing_or_stands_in_the_choice() -> None:
    chunk = _chunk({}, usage={})
    assert _read(chunk)[1:] == []
    chunk["choices"][0]["usage"] = {"prompt_tokens": 1, "completion_tokens": 2}
    del chunk["usage"]
    assert _read(chunk)[1:] == [Counted(Usage(1, 2))]


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"error": {"message": "boom", "code": 502}}, "boom", "502"),
        ({"error": {"message": "boom", "code": "x"}, "choices": []}, "boom", "x"),
        ({"error": "boom"}, "boom", ""),
        ({"object": "error", "message": "boom"}, "boom", ""),
    ],
)
def test_errors_in_band(body: dict[str, Any], message: str, code: str) -> None:
    for read in (ChatReader().read, ChatReader().read_whole):
        with pytest.raises(InBandError) as told:
            read(sent(body))
        assert told.value.failure.code == "provider_unavailable"
        assert message in told.value.failure.message
        assert told.value.failure.provider_code == code


@pytest.mark.parametrize("error", [None, "", []])
def test_an_error_of_nothing_is_none(error: object) -> None:
    assert _read(_chunk({"content": "a"}, error=error))[1:] == [Text("a")]


def test_what_isnt_of_this_dialect_leaves_the_reader_as_it_was() -> None:
    reader = ChatReader()
    for data in (b"[]", b"{", b'{"choices":3}', b'{"id":"x","choices":[{"delta":"a"}]}'):
        with pytest.raises(msgspec.DecodeError):
            reader.read(data)
    assert reader.read(sent(_chunk({"content": "a"})))[0] == Begun("chatcmpl-u1", "up-1")
    bodies: list[dict[str, Any]] = [{}, {"choices": []}, {"type": "message", "content": []}]
    for body in bodies:
        with pytest.raises(msgspec.DecodeError):
            ChatReader().read_whole(sent(body))
