import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from droveway.contracts.relay import Usage
from droveway.dialects.events import (
    Begun,
    Context,
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
from droveway.dialects.responses.reasoning import unseal
from droveway.dialects.responses.writer import ResponsesWriter, output_messages
from tests.support.responses_checker import checked

USAGE = Usage(10, 20, 3, 4, 5)
ID = "0123456789abcdef0123456789abcdef"
BEGUN = Begun("chatcmpl-1", "model-2026")
STOP = Finished("stop")
SEALED = {"include": ["reasoning.encrypted_content"]}


def context(**request: Any) -> Context:
    return Context(ID, 1_700_000_000, "model", request={"model": "model", "input": "hi"} | request)


def streamed(events: Sequence[Event], **request: Any) -> list[bytes]:
    writer = ResponsesWriter(context(**request))
    written = [data for event in events for data in writer.write([event])]
    return written + writer.close(USAGE)


def names(events: Sequence[bytes]) -> list[str]:
    return [json.loads(data)["type"].removeprefix("response.") for data in events]


def of(events: Sequence[bytes], name: str) -> list[dict[str, Any]]:
    decoded = [json.loads(data) for data in events]
    return [event for event in decoded if event["type"] == f"response.{name}"]


def whole(events: Sequence[Event], **request: Any) -> Any:
    return json.loads(ResponsesWriter(context(**request)).whole(events, USAGE))


def test_a_text_streams_in_openais_order() -> None:
    events = streamed([BEGUN, Text("Hel"), Text("lo"), STOP, Counted(USAGE)])
    assert names(events) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
        "output_text.delta", "output_text.done", "content_part.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    final = checked(events)
    part = {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    assert final["output"] == [
        {
            "id": f"msg_{ID}0000",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [part],
        }
    ]
    assert final["id"] == f"resp_{ID}"
    assert final["model"] == "model-2026"
    assert final["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 4},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 30,
    }


def test_thinking_comes_as_a_summary_before_the_text() -> None:
    events = streamed([BEGUN, Thinking("hm"), Thinking("m"), Text("yes"), STOP])
    assert names(events)[2:9] == [
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.delta", "reasoning_summary_text.done",
        "reasoning_summary_part.done", "output_item.done",
    ]  # fmt: skip
    reasoning, message = checked(events)["output"]
    summary = [{"type": "summary_text", "text": "hmm"}]
    assert reasoning == {"id": f"rs_{ID}0000", "type": "reasoning", "summary": summary}
    assert message["content"][0]["text"] == "yes"


def test_signed_thinking_is_given_back_only_where_it_was_asked_for() -> None:
    events: list[Event] = [
        BEGUN,
        Thinking("hm"),
        Signature("sig=="),
        RedactedThinking("opaque"),
        STOP,
    ]
    shown = checked(streamed(events, **SEALED))["output"]
    assert [unseal(item["encrypted_content"]) for item in shown] == [
        [{"type": "thinking", "thinking": "hm", "signature": "sig=="}],
        [{"type": "redacted_thinking", "data": "opaque"}],
    ]
    hidden = checked(streamed(events))["output"]
    assert [item["summary"] for item in hidden] == [[{"type": "summary_text", "text": "hm"}], []]
    assert not any("encrypted_content" in item for item in hidden)


def test_a_refusal_is_a_part_of_its_own() -> None:
    events = streamed([BEGUN, Text("Well. "), Refusal("I can"), Refusal("not."), STOP])
    (message,) = checked(events)["output"]
    assert message["content"][1] == {"type": "refusal", "refusal": "I cannot."}
    assert [event["delta"] for event in of(events, "refusal.delta")] == ["I can", "not."]


def test_calls_end_as_soon_as_another_item_begins() -> None:
    events = streamed(
        [
            BEGUN,
            ToolBegun(0, "call_a", "f"),
            ToolArguments(0, '{"x":'),
            ToolArguments(0, "1}"),
            ToolBegun(1, "call_b", "g"),
            Finished("tool_calls"),
        ]
    )
    assert names(events)[2:] == [
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done", "output_item.added",
        "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    first, second = checked(events)["output"]
    assert (first["call_id"], first["name"], first["arguments"]) == ("call_a", "f", '{"x":1}')
    assert second["arguments"] == "{}", "clients parse the arguments of a call that has none"


def test_arguments_that_come_by_turns_reach_their_calls() -> None:
    events: list[Event] = [
        BEGUN,
        ToolBegun(0, "call_a", "f"),
        ToolBegun(1, "call_b", "g"),
        ToolArguments(1, '{"b":'),
        ToolArguments(0, '{"a":'),
        ToolArguments(1, "2}"),
        Text("meanwhile"),
        ToolArguments(0, "1}"),
        Finished("tool_calls"),
    ]
    output = checked(streamed(events))["output"]
    assert [item.get("arguments") for item in output] == ['{"a":1}', '{"b":2}', None]


@pytest.mark.parametrize(
    ("reason", "told"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_that_was_cut_is_incomplete(reason: str, told: str) -> None:
    events = streamed([BEGUN, Text("Hel"), Finished(reason)])
    assert names(events)[-1] == "incomplete"
    final = checked(events)
    assert final["incomplete_details"] == {"reason": told}
    assert final["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "function_call", "a_word_of_its_own"])
def test_any_other_end_completes(reason: str) -> None:
    final = checked(streamed([BEGUN, Text("a"), Finished(reason)]))
    assert final["status"] == "completed"
    assert final["incomplete_details"] is None


def test_a_call_that_was_cut_keeps_what_came_of_it() -> None:
    events: list[Event] = [
        BEGUN,
        ToolBegun(0, "call_a", "f"),
        ToolArguments(0, '{"x'),
        Finished("length"),
    ]
    (call,) = checked(streamed(events))["output"]
    assert (call["status"], call["arguments"]) == ("incomplete", '{"x')
    assert output_messages(events) == []


LOGPROBS = msgspec.Raw(
    b'{"content":[{"token":"a","logprob":-0.5,"bytes":null,"top_logprobs":[]}],"refusal":null}'
)
TOKEN = {"token": "a", "logprob": -0.5, "bytes": [], "top_logprobs": []}


@pytest.mark.parametrize(
    "asked", [{"include": ["message.output_text.logprobs"]}, {"top_logprobs": 2}]
)
def test_log_probabilities_are_shown_where_asked_for(asked: dict[str, Any]) -> None:
    events: list[Event] = [BEGUN, Text("a", 0, LOGPROBS), Text("b"), STOP]
    written = streamed(events, **asked)
    assert [event["logprobs"] for event in of(written, "output_text.delta")] == [[TOKEN], []]
    assert checked(written)["output"][0]["content"][0]["logprobs"] == [TOKEN]
    assert checked(streamed(events))["output"][0]["content"][0]["logprobs"] == []


@pytest.mark.parametrize("odd", [b"[]", b'{"tokens":["a"]}', b'{"content":[1]}', b"{"])
def test_log_probabilities_of_another_shape_are_left_out(odd: bytes) -> None:
    events = streamed([BEGUN, Text("a", 0, msgspec.Raw(odd)), STOP], top_logprobs=1)
    assert checked(events)["output"][0]["content"][0]["logprobs"] == []


def test_the_response_repeats_its_request() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    asked = {
        "instructions": "Be brief.",
        "max_output_tokens": 99,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "previous_response_id": "resp_1",
        "store": False,
        "temperature": 0.5,
        "tool_choice": "required",
        "tools": [tool],
        "top_p": 0.9,
        "user": "u1",
    }
    shown = {
        **asked,
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "reasoning": {"effort": "low", "summary": None},
        "truncation": "disabled",
    }
    events = streamed(
        [BEGUN, STOP], **asked, text={"verbosity": "low"}, reasoning={"effort": "low"}
    )
    for event in (json.loads(events[0]), json.loads(events[-1])):
        response = event["response"]
        assert {name: response[name] for name in shown} == shown


def test_a_tool_is_shown_with_all_fields_that_clients_require() -> None:
    response = whole([BEGUN, STOP], tools=[{"type": "function", "name": "f"}])
    shown = {"type": "function", "name": "f", "parameters": None, "strict": None}
    assert response["tools"] == [shown]


def test_what_the_request_leaves_out_has_openais_defaults() -> None:
    response = whole([BEGUN, STOP])
    assert response["tools"] == []
    assert response["tool_choice"] == "auto"
    assert response["parallel_tool_calls"] is True
    assert response["metadata"] == {}
    assert response["store"] is True
    assert response["object"] == "response"
    assert response["created_at"] == 1_700_000_000


def test_a_stream_that_breaks_ends_with_an_error() -> None:
    writer = ResponsesWriter(context())
    events = writer.write([BEGUN, Text("Hel")])
    events += writer.failed("stream_interrupted", "The answer was cut before its end")
    assert names(events)[-2:] == ["error", "failed"]
    error = json.loads(events[-2])
    assert (error["code"], error["param"]) == ("stream_interrupted", None)
    assert error["error"] == {
        "message": "The answer was cut before its end",
        "type": "server_error",
        "param": None,
        "code": "stream_interrupted",
    }
    final = checked(events)
    assert final["error"] == {
        "code": "server_error",
        "message": "The answer was cut before its end",
    }
    assert final["output"][0]["status"] == "incomplete"


def test_a_stream_that_breaks_at_once_still_begins() -> None:
    events = ResponsesWriter(context()).failed("provider_rate_limited", "Later")
    assert names(events) == ["created", "in_progress", "error", "failed"]
    assert checked(events)["error"]["code"] == "rate_limit_exceeded"


def test_a_response_that_could_not_be_kept_says_so() -> None:
    writer = ResponsesWriter(context())
    events = writer.write([BEGUN, Text("a"), STOP])
    writer.say_not_stored()
    assert checked(events + writer.close(USAGE))["store"] is False


def test_the_provider_may_leave_out_its_beginning() -> None:
    assert checked(streamed([Text("a"), STOP]))["model"] == "model"
    assert checked(streamed([]))["output"] == []


def test_other_choices_and_what_comes_after_the_end_are_left_out() -> None:
    events: list[Event] = [
        BEGUN,
        Text("a"),
        Text("b", 1),
        Finished("stop", 1),
        STOP,
        Text("c"),
        Finished("length"),
    ]
    assert checked(streamed(events))["output"][0]["content"][0]["text"] == "a"


def test_an_answer_becomes_messages_that_a_provider_takes_back() -> None:
    events: list[Event] = [
        BEGUN,
        Thinking("hm"),
        Signature("sig"),
        Text("I look."),
        ToolBegun(0, "call_a", "f"),
        ToolArguments(0, '{"x":1}'),
        Finished("tool_calls"),
    ]
    assert output_messages(events) == [
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "hm",
            "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "sig"}],
            "tool_calls": [
                {
                    "id": "call_a",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"x":1}'},
                }
            ],
        }
    ]
