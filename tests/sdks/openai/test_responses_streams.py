"""Streams of the Responses API: the strict order of their events, and errors amid them."""

import openai
import pytest

from tests.sdks.openai.client import Client
from tests.sdks.openai.responses_client import Responses

pytestmark = pytest.mark.sdks

MIDSTREAM = {
    "fault-cut-after-3": "stream_interrupted",
    "fault-end-after-3": "stream_interrupted",
    "fault-error-after-3": "server_error",
    "stalls": "stream_stalled",
}


async def test_a_stream_has_its_events_in_order(sdk: Client) -> None:
    events, error = await Responses(sdk).stream()
    assert error is None
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 5,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    created, completed = events[0].response, events[-1].response
    assert (created.status, completed.status) == ("in_progress", "completed")
    assert created.id == completed.id
    added, done = events[2].item, events[-2].item
    assert (added.id, added.status, added.content) == (done.id, "in_progress", [])
    assert {event.item_id for event in events[3:-2]} == {done.id}


async def test_a_stream_says_what_a_whole_response_says(sdk: Client) -> None:
    whole = await Responses(sdk).create()
    events, _ = await Responses(sdk).stream()
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    completed = events[-1].response
    assert "".join(deltas) == completed.output_text == whole.output_text
    assert completed.usage.model_dump() == whole.usage.model_dump()
    assert completed.model == whole.model


async def test_the_stream_helper_builds_the_whole_response(sdk: Client) -> None:
    events, response = await Responses(sdk).helper()
    assert response.output_text == "t0 t1 t2 t3 t4 "
    assert response.status == "completed"
    last = [event for event in events if event.type == "response.output_text.delta"][-1]
    assert last.snapshot == response.output_text


async def test_a_stream_that_is_cut_at_the_limit_ends_as_incomplete(sdk: Client) -> None:
    events, error = await Responses(sdk).stream(max_output_tokens=16, model="numbered-50")
    assert error is None
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"


async def test_a_streamed_response_is_kept_as_well(sdk: Client) -> None:
    events, _ = await Responses(sdk).stream()
    completed = events[-1].response
    kept = await Responses(sdk).retrieve(completed.id)
    assert kept.output_text == completed.output_text


@pytest.mark.parametrize(("model", "code"), MIDSTREAM.items(), ids=MIDSTREAM)
async def test_an_error_amid_a_stream_is_raised_after_what_was_said(
    sdk: Client, model: str, code: str
) -> None:
    events, error = await Responses(sdk).stream(model=model)
    kinds = [event.type for event in events]
    assert kinds[-3:] == ["response.output_text.delta"] * 3
    assert kinds.count("response.output_text.delta") == 3
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert type(error) is openai.APIError
    assert isinstance(error, openai.APIError)
    assert error.code in (code, "overloaded_error")
    assert error.type in ("server_error", "timeout_error")
    assert error.body is not None
    assert error.message == error.body["message"]


async def test_the_stream_helper_raises_such_an_error_too(sdk: Client) -> None:
    with pytest.raises(openai.APIError) as caught:
        await Responses(sdk).helper(model="fault-cut-after-3")
    assert type(caught.value) is openai.APIError
    assert caught.value.code == "stream_interrupted"
