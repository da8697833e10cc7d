"""Whole messages, their headers, and what travels unchanged."""

import pytest

from tests.sdks.anthropic.client import Client, opened
from tests.sdks.marks import TO_ANTHROPIC
from tests.sdks.server import Book, Droveway

pytestmark = pytest.mark.sdks

ODD_TEXT = '\r\n \v \f \x1c \x85 \u2028 \u2029 "\\" \x00 \x7f é 漢字 \U0001f986'
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "YPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def image() -> dict[str, object]:
    """A user's turn with a picture."""
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    parts = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    return {"role": "user", "content": parts}


async def test_a_whole_message_has_all_that_the_sdk_types(sdk: Client) -> None:
    message = await sdk.message()
    [block] = message.content
    assert (block.type, block.text) == ("text", "t0 t1 t2 t3 t4 ")
    assert (message.type, message.role, message.model) == ("message", "assistant", "numbered-5")
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.id.startswith("msg_")
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens == 5
    assert not message.usage.cache_read_input_tokens
    assert not message.usage.cache_creation_input_tokens
    assert message._request_id.startswith("req_")


async def test_the_provider_is_asked_in_its_own_dialect(
    sdk: Client, book: Book, upstream: str
) -> None:
    await sdk.message()
    await sdk.stream()
    assert book.dialects() == [upstream, upstream]


async def test_a_message_is_cut_at_the_callers_limit(sdk: Client) -> None:
    message = await sdk.message(max_tokens=2)
    assert (message.stop_reason, message.content[0].text) == ("max_tokens", "t0 t1 ")


@pytest.mark.parametrize(
    "system",
    ["Answer briefly. " * 40, [{"type": "text", "text": "Answer briefly. "}] * 40],
    ids=["text", "blocks"],
)
async def test_a_system_prompt_and_earlier_turns_are_part_of_the_question(
    sdk: Client, system: object
) -> None:
    turns = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello, what can I do?"}]},
        {"role": "user", "content": [{"type": "text", "text": "hello"}]},
    ]
    alone = await sdk.message()
    message = await sdk.message(system=system, messages=turns)
    assert message.content[0].text == "t0 t1 t2 t3 t4 "
    assert message.usage.input_tokens > alone.usage.input_tokens + 100


async def test_turns_of_one_role_that_follow_each_other_are_taken(sdk: Client) -> None:
    turns = [{"role": "user", "content": text} for text in ("hello", "are you there?")]
    assert (await sdk.message(messages=turns)).stop_reason == "end_turn"


async def test_an_image_reaches_the_provider(sdk: Client, book: Book) -> None:
    message = await sdk.message(messages=[image()])
    [entry] = book.entries()
    assert message.stop_reason == "end_turn"
    assert entry["images"] == 1


async def test_odd_text_reaches_the_provider_unchanged(sdk: Client, book: Book) -> None:
    await sdk.message(messages=[{"role": "user", "content": ODD_TEXT}])
    content = book.last()["messages"][0]["content"]
    assert (content if isinstance(content, str) else content[0]["text"]) == ODD_TEXT


@TO_ANTHROPIC
async def test_a_request_reaches_a_provider_of_the_same_dialect_as_it_is(
    sdk: Client, book: Book
) -> None:
    fields = {
        "system": [{"type": "text", "text": "Briefly."}],
        "messages": [image()],
        "metadata": {"user_id": "u-1"},
        "stop_sequences": ["END"],
        "service_tier": "standard_only",
    }
    await sdk.message(**fields)
    assert book.last() == {**fields, "model": "numbered-5", "max_tokens": 1_000}


async def test_the_users_name_reaches_either_provider(
    sdk: Client, book: Book, upstream: str
) -> None:
    await sdk.message(metadata={"user_id": "u-1"})
    body = book.last()
    told = body["metadata"]["user_id"] if upstream == "anthropic" else body["user"]
    assert told == "u-1"


@pytest.mark.parametrize(
    "ending", ["", "/", "/v1", "/v1/"], ids=["bare", "slash", "v1", "v1-slash"]
)
async def test_the_base_url_may_end_as_people_write_it(
    server: Droveway, flavour: str, ending: str
) -> None:
    """The SDK adds /v1/messages to whatever it is given."""
    async with opened(flavour, server, base_url=server.url + ending) as client:
        assert (await client.message()).stop_reason == "end_turn"
        assert (await client.stream()).text() == "t0 t1 t2 t3 t4 "
        assert await client.count() > 0
        assert await client.models()


async def test_an_answers_headers_tell_id_and_limits(sdk: Client) -> None:
    raw, message = await sdk.raw_message()
    assert raw.headers["request-id"] == message._request_id
    assert raw.headers["content-type"] == "application/json"
    assert int(raw.headers["anthropic-ratelimit-requests-limit"]) == 100_000
    assert 0 < int(raw.headers["anthropic-ratelimit-requests-remaining"]) < 100_000
    assert raw.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert raw.retries_taken == 0
