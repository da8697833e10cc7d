"""Legacy completions, whole and as streams."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts.relay import Usage
from droveway.dialects.completions.writer import CompletionsWriter
from droveway.dialects.events import (
    Begun,
    Context,
    Event,
    Finished,
    Refusal,
    Text,
    Thinking,
    ToolArguments,
    ToolBegun,
    Writer,
)

CONTEXT = Context("0" * 32, 1_700_000_000, "asked")
HEAD = {
    "id": "cmpl-" + "0" * 32,
    "object": "text_completion",
    "created": 1_700_000_000,
    "model": "told",
}
USAGE = Usage(input_tokens=3, output_tokens=2, cache_read_tokens=1)
BEGUN = Begun("chatcmpl-theirs", "told")
ANSWER: list[Event] = [BEGUN, Text("a"), Text('"\n'), Finished("stop")]


def choice(text: str, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def streamed(events: Sequence[Event], *, include_usage: bool = False) -> list[Any]:
    writer: Writer = CompletionsWriter(CONTEXT._replace(include_usage=include_usage))
    return [json.loads(data) for data in (*writer.write(events), *writer.close(USAGE))]


def whole(events: Sequence[Event]) -> Any:
    return json.loads(CompletionsWriter(CONTEXT).whole(events, USAGE))


def test_a_stream_is_its_pieces_and_its_end() -> None:
    assert streamed(ANSWER) == [
        HEAD | {"choices": [choice("a")]},
        HEAD | {"choices": [choice('"\n')]},
        HEAD | {"choices": [choice("", "stop")]},
    ]


def test_usage_comes_last_where_it_was_asked_for_and_is_null_before() -> None:
    *others, last = streamed(ANSWER, include_usage=True)
    assert [event["usage"] for event in others] == [None, None, None]
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == 3
    assert last["usage"]["completion_tokens"] == 2
    assert last["usage"]["total_tokens"] == 5
    assert last["usage"]["prompt_tokens_details"]["cached_tokens"] == 1
    assert {name: last[name] for name in HEAD} == HEAD


def test_a_whole_answer_is_one_text_with_usage() -> None:
    answer = whole(ANSWER)
    assert answer.pop("usage")["total_tokens"] == 5
    assert answer == HEAD | {"choices": [choice('a"\n', "stop")]}


def test_choices_are_kept_apart_and_in_order() -> None:
    events: list[Event] = [
        BEGUN,
        Text("b", 1),
        Text("a", 0),
        Finished("length", 1),
        Finished("stop", 0),
    ]
    assert whole(events)["choices"] == [choice("a", "stop"), choice("b", "length", 1)]
    assert [event["choices"][0]["index"] for event in streamed(events)] == [1, 0, 1, 0]


def test_a_model_that_was_not_told_is_the_one_asked_for() -> None:
    assert streamed([Begun("x", ""), Text("a")])[0]["model"] == "asked"
    assert whole([Finished("stop")])["model"] == "asked"


def test_reasoning_and_calls_have_no_place_and_declining_is_text() -> None:
    events: list[Event] = [
        BEGUN, Thinking("hm"), ToolBegun(0, "c", "f"), ToolArguments(0, "{}"), Text(""),
        Refusal("no"), Finished("tool_calls"),
    ]  # fmt: skip
    assert [event["choices"] for event in streamed(events)] == [
        [choice("no")],
        [choice("", "stop")],
    ]
    assert whole(events)["choices"] == [choice("no", "stop")]


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "stop"),
        ("function_call", "stop"),
        ("a word of their own", "stop"),
    ],
)
def test_reasons_to_finish_are_those_that_clients_know(reason: str, shown: str) -> None:
    assert whole([BEGUN, Finished(reason)])["choices"] == [choice("", shown)]


def test_an_answer_of_nothing_still_has_a_choice() -> None:
    assert whole([BEGUN])["choices"] == [choice("")]


PIECES = st.lists(
    st.tuples(st.sampled_from([Text, Refusal]), st.text(max_size=5), st.integers(0, 2)),
    max_size=8,
)


@given(PIECES)
def test_a_stream_put_together_is_the_whole_answer(pieces: list[Any]) -> None:
    events = [
        BEGUN,
        *(kind(text, choice) for kind, text, choice in pieces),
        *(Finished("stop", index) for index in range(3)),
    ]
    texts = dict.fromkeys(range(3), "")
    for event in streamed(events):
        [part] = event["choices"]
        texts[part["index"]] += part["text"]
    assert whole(events)["choices"] == [choice(texts[i], "stop", i) for i in range(3)]
