"""Whole responses, what is kept of them, and their errors."""

from typing import Any

import openai
import pytest

from tests.sdks.openai.client import Client, opened
from tests.sdks.openai.failures import Failure, broken, check, invalid, limited, missing
from tests.sdks.openai.responses_client import Responses
from tests.sdks.server import Book, Droveway

pytestmark = pytest.mark.sdks

ERRORS = {
    "no-input": ({"input": []}, invalid("invalid_request", "input")),
    "provider-404": ({"model": "missing-model"}, missing("model_not_found", "model")),
    "provider-403": ({"model": "fault-403"}, broken(502, "provider_auth_error")),
    "provider-500": ({"model": "fault-500"}, broken(503, "provider_unavailable")),
    "all-failed": ({"model": "both-fail"}, broken(503, "all_targets_failed")),
}


async def test_a_whole_response_has_all_that_the_sdk_types(sdk: Client) -> None:
    response = await Responses(sdk).create(instructions="Briefly.", metadata={"k": "v"})
    [message] = response.output
    assert (message.type, message.role, message.status) == ("message", "assistant", "completed")
    [part] = message.content
    assert (part.type, part.text, part.annotations) == ("output_text", "t0 t1 t2 t3 t4 ", [])
    assert response.output_text == part.text
    assert (response.object, response.status, response.error) == ("response", "completed", None)
    assert response.id.startswith("resp_")
    assert message.id.startswith("msg_")
    assert (response.instructions, response.metadata) == ("Briefly.", {"k": "v"})
    assert response.created_at > 1_700_000_000
    assert response._request_id.startswith("req_")


async def test_a_responses_usage_is_whole(sdk: Client) -> None:
    usage = (await Responses(sdk).create()).usage
    assert (usage.output_tokens, usage.total_tokens) == (5, usage.input_tokens + 5)
    assert usage.input_tokens > 0
    assert usage.input_tokens_details.cached_tokens == 0
    assert usage.input_tokens_details.cache_write_tokens == 0
    assert usage.output_tokens_details.reasoning_tokens == 0


async def test_a_response_that_is_cut_at_the_limit_is_incomplete(sdk: Client) -> None:
    response = await Responses(sdk).create(max_output_tokens=16, model="numbered-50")
    assert (response.status, response.incomplete_details.reason) == (
        "incomplete",
        "max_output_tokens",
    )
    assert response.output_text.startswith("t0 t1 ")


@pytest.mark.parametrize("kind", ["text", "message", "parts"])
async def test_every_form_of_input_is_read(
    sdk: Client, book: Book, upstream: str, kind: str
) -> None:
    parts = [{"type": "input_text", "text": "hello"}]
    forms: dict[str, Any] = {
        "text": "hello",
        "message": [{"role": "user", "content": "hello"}],
        "parts": [{"type": "message", "role": "user", "content": parts}],
    }
    response = await Responses(sdk).create(input=forms[kind])
    assert response.status == "completed"
    content = book.last()["messages"][-1]["content"]
    assert (content if isinstance(content, str) else content[0]["text"]) == "hello"
    assert book.dialects() == [upstream]


async def test_a_response_is_kept_until_it_is_deleted(sdk: Client) -> None:
    responses = Responses(sdk)
    created = await responses.create()
    kept = await responses.retrieve(created.id)
    assert kept.model_dump() == created.model_dump()
    await responses.delete(created.id)
    with pytest.raises(openai.NotFoundError):
        await responses.retrieve(created.id)


async def test_a_response_that_shall_not_be_kept_is_not(sdk: Client) -> None:
    created = await Responses(sdk).create(store=False)
    with pytest.raises(openai.NotFoundError):
        await Responses(sdk).retrieve(created.id)


async def test_a_kept_response_is_its_keys_own(sdk: Client, server: Droveway, flavour: str) -> None:
    created = await Responses(sdk).create()
    async with opened(flavour, server, api_key=server.keys["narrow"]) as other:
        with pytest.raises(openai.NotFoundError):
            await Responses(other).retrieve(created.id)


async def test_a_conversation_goes_on_from_a_kept_response(sdk: Client, book: Book) -> None:
    responses = Responses(sdk)
    first = await responses.create(input="hello", instructions="Only for this turn.")
    second = await responses.create(input="go on", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    sent = book.last()["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]
    assert "Only for this turn." not in str(book.last())
    third = await responses.create(input="and on", previous_response_id=second.id)
    assert third.usage.input_tokens > second.usage.input_tokens > first.usage.input_tokens


async def test_a_conversation_that_is_not_kept_is_not_found(sdk: Client) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await Responses(sdk).create(previous_response_id="resp_0123456789abcdef")
    assert caught.value.status_code in (400, 404)
    assert caught.value.param == "previous_response_id"


@pytest.mark.parametrize("name", ["background", "conversation"])
async def test_what_this_gateway_does_not_do_is_refused_by_name(sdk: Client, name: str) -> None:
    value: Any = True if name == "background" else "conv_1"
    with pytest.raises(openai.BadRequestError) as caught:
        await Responses(sdk).create(**{name: value})
    assert caught.value.param == name


@pytest.mark.parametrize(("fields", "failure"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_request_fails_as_the_sdks_own_class(
    sdk: Client, fields: dict[str, Any], failure: Failure, stream: bool
) -> None:
    responses = Responses(sdk)
    with pytest.raises(openai.APIStatusError) as caught:
        await (responses.stream if stream else responses.create)(**fields)
    check(caught.value, failure)


async def test_a_rate_limited_client_is_told_when_to_come_back(
    server: Droveway, flavour: str
) -> None:
    key = server.keys[f"limited-{flavour}"]
    async with opened(flavour, server, api_key=key, max_retries=1) as client:
        await Responses(client).create()
        raw = await Responses(client).raw_create()
        assert raw.retries_taken == 1
    async with opened(flavour, server, api_key=key) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            await Responses(client).create()
    assert int(check(caught.value, limited("rate_limit_exceeded"))["retry-after-ms"]) > 0
