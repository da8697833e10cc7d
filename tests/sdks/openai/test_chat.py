"""Whole answers, their headers, model lists, and what travels unchanged."""

import json

import openai
import pytest

from tests.sdks.marks import TO_ANTHROPIC, TO_OPENAI
from tests.sdks.openai.client import Client, opened
from tests.sdks.server import Book, Droveway

pytestmark = pytest.mark.sdks

LINE_ENDS = "\r\n \v \f \x1c \x85 \u2028 \u2029"
"""All that one reader or another takes for the end of a line."""
ODD_TEXT = (
    f'{LINE_ENDS} "\\" \x00 \x7f é 漢字 \U0001f986 \U0001f468\u200d\U0001f469\u200d\U0001f467'
)
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def echoing(text: str) -> dict[str, object]:
    """A response format that makes the provider say `text` as JSON."""
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "const": text}},
        "required": ["text"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "echo", "schema": schema}}


async def test_a_whole_answer_has_all_that_the_sdk_types(sdk: Client) -> None:
    answer = await sdk.chat()
    [choice] = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "t0 t1 t2 t3 t4 ")
    assert (choice.index, choice.finish_reason, choice.message.tool_calls) == (0, "stop", None)
    assert (answer.object, answer.model) == ("chat.completion", "numbered-5")
    assert answer.id.startswith("chatcmpl-")
    assert answer.created > 1_700_000_000
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5
    assert answer._request_id.startswith("req_")


async def test_an_answer_is_cut_at_the_callers_limit(sdk: Client) -> None:
    answer = await sdk.chat(max_completion_tokens=2)
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == "t0 t1 "


@TO_OPENAI
async def test_two_choices_are_two_answers(sdk: Client) -> None:
    answer = await sdk.chat(model="sim-small", n=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    first, second = (choice.message.content for choice in answer.choices)
    assert first != second


@TO_OPENAI
async def test_an_image_part_reaches_the_provider(sdk: Client, book: Book) -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
    ]
    messages = [{"role": "user", "content": parts}]
    answer = await sdk.chat(messages=messages)
    [entry] = book.entries()
    assert answer.choices[0].finish_reason == "stop"
    assert entry["images"] == 1
    assert book.body(entry)["messages"] == messages


async def test_a_megabyte_of_image_reaches_the_provider(sdk: Client, book: Book) -> None:
    large = PIXEL.rstrip("=") + "A" * 1_000_002
    parts = [{"type": "image_url", "image_url": {"url": large}}]
    await sdk.chat(messages=[{"role": "user", "content": parts}])
    [entry] = book.entries()
    assert entry["images"] == 1
    assert entry["body_bytes"] > 1_000_000


@TO_OPENAI
async def test_fields_that_droveway_does_not_know_reach_the_provider(
    sdk: Client, book: Book
) -> None:
    await sdk.chat(extra_body={"thinking": {"budget": 5}}, user="u-1", seed=7, logit_bias={"9": 1})
    body = book.last()
    assert body["thinking"] == {"budget": 5}
    assert (body["user"], body["seed"], body["logit_bias"]) == ("u-1", 7, {"9": 1})


@TO_OPENAI
async def test_odd_text_goes_to_the_provider_unchanged(sdk: Client, book: Book) -> None:
    await sdk.chat(messages=[{"role": "user", "content": ODD_TEXT}])
    body = book.last()
    assert body["messages"][0]["content"] == ODD_TEXT


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_odd_text_comes_from_the_provider_unchanged(sdk: Client, stream: bool) -> None:
    fields = {"model": "sim-small", "response_format": echoing(ODD_TEXT)}
    if stream:
        said = (await sdk.stream(**fields)).text()
    else:
        said = (await sdk.chat(**fields)).choices[0].message.content
    assert json.loads(said) == {"text": ODD_TEXT}


@pytest.mark.parametrize("ending", ["/v1", "/v1/"], ids=["without-slash", "with-slash"])
async def test_the_base_url_may_end_with_a_slash(
    server: Droveway, flavour: str, ending: str
) -> None:
    async with opened(flavour, server, base_url=server.url + ending) as client:
        assert (await client.chat()).choices[0].finish_reason == "stop"
        assert (await client.stream()).text() == "t0 t1 t2 t3 t4 "
        assert await client.models()


@TO_OPENAI
async def test_models_are_listed_and_retrieved(sdk: Client, server: Droveway) -> None:
    listed = await sdk.models()
    assert set(server.listed) <= {model.id for model in listed}
    model = await sdk.call(sdk.raw.models.retrieve, "sim-small")
    assert (model.id, model.object, model.owned_by) == ("sim-small", "model", "droveway")
    assert model in listed


async def test_an_answers_headers_tell_id_time_and_limits(sdk: Client) -> None:
    raw = await sdk.raw_chat()
    assert raw.headers["x-request-id"] == raw.parse()._request_id
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["openai-version"] == "2020-10-01"
    assert int(raw.headers["openai-processing-ms"]) >= 0
    assert int(raw.headers["x-ratelimit-limit-requests"]) == 100_000
    assert 0 < int(raw.headers["x-ratelimit-remaining-requests"]) < 100_000
    assert raw.headers["x-ratelimit-reset-requests"].endswith("s")
    assert raw.retries_taken == 0
    assert raw.parse().choices[0].message.content == "t0 t1 t2 t3 t4 "


async def test_the_provider_is_asked_in_its_own_dialect(
    sdk: Client, book: Book, upstream: str
) -> None:
    await sdk.chat()
    await sdk.stream()
    assert book.dialects() == [upstream, upstream]


async def test_a_system_prompt_and_earlier_turns_are_part_of_the_question(sdk: Client) -> None:
    turns = [
        {"role": "system", "content": "Answer briefly. " * 40},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Hello, what can I do?"},
        {"role": "user", "content": "hello"},
    ]
    alone = await sdk.chat()
    answer = await sdk.chat(messages=turns)
    assert answer.usage.prompt_tokens > alone.usage.prompt_tokens + 100


@TO_ANTHROPIC
async def test_what_the_providers_dialect_has_no_words_for_is_refused_by_name(
    sdk: Client, book: Book
) -> None:
    for name, value in (("n", 2), ("logprobs", True)):
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.chat(**{name: value})
        assert (caught.value.param, caught.value.type) == (name, "invalid_request_error")
    assert book.entries() == []


@TO_ANTHROPIC
async def test_what_is_dropped_for_the_providers_dialect_is_told_by_a_header(
    sdk: Client, book: Book
) -> None:
    raw = await sdk.raw_chat(seed=7)
    assert "seed" in raw.headers["x-droveway-warning"]
    assert "seed" not in book.last()
    assert "x-droveway-warning" not in (await sdk.raw_chat()).headers
