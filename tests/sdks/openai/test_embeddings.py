"""Embeddings: in base64, which the SDK asks for, and as numbers."""

from typing import Any

import openai
import pytest

from tests.sdks.marks import TO_ANTHROPIC, TO_OPENAI
from tests.sdks.openai.client import Client
from tests.sdks.server import Book

pytestmark = pytest.mark.sdks

MODEL = "sim-embedding"
TEXTS = ["a road", "a river", "a road"]


async def embed(sdk: Client, **fields: Any) -> Any:
    """The vectors of some texts."""
    asked = {"model": MODEL, "input": TEXTS, **fields}
    asked["model"] = sdk.named(asked["model"])
    return await sdk.call(sdk.raw.embeddings.create, **asked)


@TO_OPENAI
async def test_vectors_come_in_the_order_of_their_texts(sdk: Client) -> None:
    answer = await embed(sdk)
    assert (answer.object, answer.model) == ("list", MODEL)
    assert [(one.object, one.index) for one in answer.data] == [("embedding", n) for n in range(3)]
    first, second, third = (one.embedding for one in answer.data)
    assert len(first) > 1
    assert all(isinstance(number, float) for number in first)
    assert first == third != second
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0


@TO_OPENAI
async def test_base64_and_numbers_are_the_same_vectors(sdk: Client) -> None:
    packed = await embed(sdk)
    plain = await embed(sdk, encoding_format="float")
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)


@TO_OPENAI
async def test_base64_that_is_asked_for_comes_as_text(sdk: Client) -> None:
    answer = await embed(sdk, encoding_format="base64")
    assert isinstance(answer.data[0].embedding, str)


@TO_OPENAI
async def test_the_caller_chooses_the_dimensions(sdk: Client, book: Book) -> None:
    answer = await embed(sdk, dimensions=16)
    assert [len(one.embedding) for one in answer.data] == [16] * 3
    assert book.last()["dimensions"] == 16


@TO_OPENAI
@pytest.mark.parametrize(
    ("given", "count"),
    [("a road", 1), (["a road"], 1), ([1, 2, 3], 1), ([[1, 2], [3]], 2)],
    ids=["text", "texts", "tokens", "lists-of-tokens"],
)
async def test_every_form_of_input_is_taken(
    sdk: Client, book: Book, given: object, count: int
) -> None:
    answer = await embed(sdk, input=given)
    assert len(answer.data) == count
    assert book.last()["input"] == given


@TO_OPENAI
@pytest.mark.parametrize("given", ["", [], [[]]], ids=["empty", "none", "empty-list"])
async def test_no_input_is_refused_by_name(sdk: Client, given: object) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await embed(sdk, input=given)
    assert caught.value.param.startswith("input")


@TO_ANTHROPIC
async def test_a_provider_without_embeddings_is_not_asked(sdk: Client, book: Book) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await embed(sdk, model="sim-small")
    assert caught.value.type == "invalid_request_error"
    assert book.entries() == []


@TO_OPENAI
async def test_a_failing_provider_is_told_as_the_sdks_own_class(sdk: Client) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        await embed(sdk, model="fault-500")
    assert caught.value.code == "provider_unavailable"
