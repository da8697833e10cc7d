"""Whatever a provider streams, clients get one form: constant names, role first, usage last."""

import json
from typing import Any

import pytest

from droveway.contracts.relay import Usage
from droveway.dialects.chat.stream import ChatStream
from droveway.dialects.events import Context

ROLE = {"role": "assistant", "content": ""}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2}


def chunk(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": "c1", "created": 5, "model": "m1", "choices": list(choices), **fields}


def choice(delta: dict[str, Any] | None, finish: str | None = None, index: int = 0) -> Any:
    return {"index": index, "delta": delta, "finish_reason": finish}


def taken(*chunks: dict[str, Any], include_usage: bool = False) -> list[dict[str, Any]]:
    """What the client sees, to the end."""
    stream = ChatStream(Context("0" * 32, 7, "asked", include_usage=include_usage))
    events: list[bytes] = []
    for one in chunks:
        stream.take(json.dumps(one).encode(), events)
    events += stream.close(stream.facts.settle(11))
    return [json.loads(event) for event in events]


def said(events: list[dict[str, Any]]) -> str:
    return "".join(
        one["delta"].get("content") or "" for event in events for one in event["choices"]
    )


WELL = (chunk(choice(ROLE)), chunk(choice({"content": "a"})), chunk(choice({}, "stop")))


def test_a_stream_as_it_should_be_passes_as_it_came() -> None:
    assert taken(*WELL) == list(WELL)


@pytest.mark.parametrize(
    "first",
    [
        {"content": "a"},
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": "a", "refusal": None},
    ],
)
def test_the_role_comes_first_with_empty_content(first: dict[str, Any]) -> None:
    events = taken(chunk(choice(first)), chunk(choice({}, "stop")))
    assert events[0]["choices"][0]["delta"] == ROLE
    assert said(events) == "a"
    assert sum("role" in one["choices"][0]["delta"] for one in events) == 1


@pytest.mark.parametrize("first", [{"role": "assistant", "content": None}, {"role": "assistant"}])
def test_a_role_without_content_gets_it(first: dict[str, Any]) -> None:
    events = taken(chunk(choice(first)), *WELL[1:])
    assert [one["choices"][0]["delta"] for one in events] == [ROLE, {"content": "a"}, {}]


def test_each_choice_gets_its_role() -> None:
    events = taken(
        chunk(choice({"content": "a"})),
        chunk(choice({"content": "b"}, index=1)),
        chunk(choice({}, "stop"), choice({}, "stop", 1)),
    )
    roles = [one["index"] for event in events for one in event["choices"] if one["delta"] == ROLE]
    assert roles == [0, 1]


def test_a_tool_call_in_the_first_event_follows_the_role() -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f"}}
    first = {"role": "assistant", "content": None, "tool_calls": [call]}
    events = taken(chunk(choice(first)), chunk(choice({}, "tool_calls")))
    assert events[0]["choices"][0]["delta"] == ROLE
    assert events[1]["choices"][0]["delta"] == {"content": None, "tool_calls": [call]}


def test_a_role_that_comes_late_is_not_said_twice() -> None:
    events = taken(
        chunk(choice({"reasoning_content": "hm"})), chunk(choice({**ROLE, "content": "a"})), WELL[2]
    )
    deltas = [one["choices"][0]["delta"] for one in events]
    assert deltas == [ROLE, {"reasoning_content": "hm"}, {"content": "a"}, {}]


def test_a_role_that_comes_late_beside_a_choice_that_says_nothing_is_not_said_twice() -> None:
    events = taken(
        chunk(choice({"reasoning_content": "hm"}), choice({"content": "b"}, index=1)),
        chunk(choice({**ROLE, "content": "a"}), choice(None, index=1)),
        chunk(choice({}, "stop"), choice({}, "stop", 1)),
    )
    assert said(events) == "ba"
    roles = [one["index"] for event in events for one in event["choices"] if one["delta"] == ROLE]
    assert sorted(roles) == [0, 1]


def test_a_finish_without_anything_before_it_is_shown() -> None:
    events = taken(chunk(choice({"role": "assistant"}, "stop")))
    assert [one["choices"][0]["finish_reason"] for one in events] == [None, "stop"]


def test_id_and_time_stay_the_first_ones() -> None:
    odd = [dict(one, id=f"c{number}", created=number) for number, one in enumerate(WELL)]
    odd[0] |= {"id": "c1", "created": 5}
    events = taken(*odd)
    assert {(one["id"], one["created"]) for one in events} == {("c1", 5)}


def test_a_provider_without_id_and_time_gets_ours() -> None:
    bare = [{"choices": one["choices"]} for one in WELL]
    events = taken(*bare)
    assert {(one["id"], one["created"]) for one in events} == {("chatcmpl-" + "0" * 32, 7)}


@pytest.mark.parametrize("include_usage", [True, False])
@pytest.mark.parametrize("where", ["last", "finish", "every", "never"])
def test_usage_comes_last_and_only_where_asked(where: str, include_usage: bool) -> None:
    chunks = [dict(one) for one in WELL]
    if where == "every":
        chunks = [one | {"usage": USAGE} for one in chunks]
    elif where == "finish":
        chunks[-1]["usage"] = USAGE
    elif where == "last":
        chunks.append(chunk(usage=USAGE))
    events = taken(*chunks, include_usage=include_usage)
    assert said(events) == "a"
    if not include_usage:
        assert not any("usage" in one for one in events)
        return
    *others, last = events
    assert all(one["usage"] is None for one in others)
    assert last["choices"] == []
    assert not any(one.get("usage") for one in others)
    if where == "never":
        assert last["usage"]["prompt_tokens"] == 11
        assert last["usage"]["estimated"] is True
    else:
        assert last["usage"] == USAGE


def test_a_second_finish_is_not_shown() -> None:
    events = taken(*WELL, chunk(choice({}, "length")))
    assert events == list(WELL)


def test_a_note_after_the_finish_is_shown() -> None:
    note = chunk({"index": 0, "delta": {}, "content_filter_results": {}})
    assert taken(*WELL, note)[-1] == note


def test_an_estimate_is_marked() -> None:
    stream = ChatStream(Context("0" * 32, 7, "asked", include_usage=True))
    (event,) = stream.close(Usage(4, 2, estimated=True))
    assert json.loads(event)["usage"]["estimated"] is True
