import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts.relay import Usage
from droveway.dialects.events import (
    FINISHES,
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
from droveway.dialects.responses.writer import ResponsesWriter, output_messages
from tests.support.responses_checker import checked

USAGE = Usage(10, 20, 3, 4, 5)
BEGUN = Begun("chatcmpl-1", "model-2026")


def writing() -> ResponsesWriter:
    request: dict[str, Any] = {"model": "model", "include": ["reasoning.encrypted_content"]}
    return ResponsesWriter(Context("0" * 32, 1_700_000_000, "model", request=request))


SAYING: st.SearchStrategy[Event] = st.one_of(
    st.builds(Text, st.text(max_size=5), st.just(0), st.none()),
    st.builds(Refusal, st.text(max_size=5), st.just(0)),
    st.builds(Thinking, st.text(max_size=5), st.just(0)),
    st.builds(Signature, st.text(max_size=5)),
    st.builds(RedactedThinking, st.text(max_size=5)),
    st.builds(Text, st.text(max_size=3), st.just(1), st.none()),
    st.just(Counted(USAGE)),
)
ARGUMENTS = st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5), max_size=3)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Event], dict[int, str]]:
    """An answer's events, what calls say in pieces between other events, and their arguments."""
    texts = [json.dumps(arguments) for arguments in draw(st.lists(ARGUMENTS, max_size=4))]
    lanes: list[list[Event]] = [draw(st.lists(SAYING, max_size=12))]
    for tool, text in enumerate(texts):
        cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
        edges = [0, *cuts, len(text)]
        pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
        begun: list[Event] = [ToolBegun(tool, f"call_{tool}", f"f{tool}")]
        lanes.append(begun + [ToolArguments(tool, piece) for piece in pieces])
    mixed: list[Event] = []
    while lanes := [lane for lane in lanes if lane]:
        mixed.append(draw(st.sampled_from(lanes)).pop(0))
    reason = draw(st.sampled_from(sorted(FINISHES)))
    return [BEGUN, *mixed, Finished(reason)], dict(enumerate(texts))


@given(conversations(), st.data())
def test_any_answer_streams_as_clients_demand(
    conversation: tuple[list[Event], dict[int, str]], data: st.DataObject
) -> None:
    events, arguments = conversation
    writer = writing()
    written: list[bytes] = []
    rest = events
    while rest:
        size = data.draw(st.integers(1, 5))
        written += writer.write(rest[:size])
        rest = rest[size:]
    final = checked(written + writer.close(USAGE))
    calls = [item for item in final["output"] if item["type"] == "function_call"]
    assert {item["call_id"]: item["arguments"] for item in calls} == {
        f"call_{tool}": text for tool, text in arguments.items()
    }
    said = [part for item in final["output"] for part in item.get("content", [])]
    own = [event for event in events if getattr(event, "choice", 0) == 0]
    assert "".join(part.get("text", "") for part in said) == "".join(
        event.text for event in own if isinstance(event, Text)
    )
    assert final == json.loads(writing().whole(events, USAGE))


@given(conversations())
def test_an_answers_messages_keep_all_that_was_said(
    conversation: tuple[list[Event], dict[int, str]],
) -> None:
    events, arguments = conversation
    messages = output_messages(events)
    calls = [call for message in messages for call in message.get("tool_calls", [])]
    assert sorted(call["function"]["arguments"] for call in calls) == sorted(arguments.values())
    assert all(message["content"] is not None or message.get("tool_calls") for message in messages)
