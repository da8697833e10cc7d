"""Models and sizes of prompts, as this API tells them."""

import datetime

import pytest

from tests.sdks.anthropic.client import Client
from tests.sdks.marks import TO_OPENAI
from tests.sdks.server import Book, Droveway
from tests.sdks.tools import TOOLS

pytestmark = pytest.mark.sdks


@TO_OPENAI
async def test_models_are_listed_and_retrieved(sdk: Client, server: Droveway) -> None:
    listed = await sdk.models()
    assert set(server.listed) <= {model.id for model in listed}
    model = await sdk.call(sdk.raw.models.retrieve, "sim-small")
    assert (model.id, model.type, model.lifecycle) == ("sim-small", "model", "active")
    assert model.display_name
    assert isinstance(model.created_at, datetime.datetime)
    assert model in listed


@TO_OPENAI
async def test_a_page_of_models_says_where_it_begins_and_ends(sdk: Client) -> None:
    page = await sdk.call(sdk.raw.models.with_raw_response.list)
    told = page.http_response.json()
    assert (told["first_id"], told["last_id"]) == (told["data"][0]["id"], told["data"][-1]["id"])
    assert told["has_more"] is False


async def test_a_prompt_is_counted_without_asking_the_model(sdk: Client, book: Book) -> None:
    tools = [{"name": "get_weather", "input_schema": TOOLS["get_weather"]}]
    short = await sdk.count()
    assert 0 < short < 50
    assert await sdk.count(system="Answer briefly. " * 40) > short + 100
    assert await sdk.count(tools=tools) > short
    assert [entry for entry in book.entries() if entry["usage"]] == []
