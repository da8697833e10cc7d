"""Embeddings as OpenAI gives them."""

import base64
import json
import math
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from droveway.simulator.server import Running, running
from tests.support.simulator import quick_settings


class Client:
    def __init__(self, server: Running, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session

    async def send(self, **fields: Any) -> tuple[int, Any]:
        body = {"model": "embed-8", "input": "hello", **fields}
        url = f"{self.server.url}/v1/embeddings"
        async with self._session.post(url, json=body) as response:
            return response.status, json.loads(await response.text())

    async def vectors(self, **fields: Any) -> list[Any]:
        status, answer = await self.send(**fields)
        assert status == 200, answer
        assert [item["index"] for item in answer["data"]] == list(range(len(answer["data"])))
        return [item["embedding"] for item in answer["data"]]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    headers = {"authorization": "Bearer sk-test"}
    async with (
        running(quick_settings()) as server,
        aiohttp.ClientSession(headers=headers) as session,
    ):
        yield Client(server, session)


async def test_a_vector_has_length_one_and_depends_on_the_text(client: Client) -> None:
    first, second, third = await client.vectors(input=["a", "b", "a"])
    assert math.hypot(*first) == pytest.approx(1, abs=1e-6)
    assert first == third != second
    assert [first] == await client.vectors(input="a")


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ({}, 8),
        ({"dimensions": 3}, 3),
        ({"model": "any"}, 256),
        ({"model": "quirk-dimensions-5"}, 5),
    ],
)
async def test_the_request_or_the_name_gives_the_length(
    client: Client, fields: dict[str, Any], length: int
) -> None:
    (vector,) = await client.vectors(**fields)
    assert len(vector) == length


async def test_base64_is_the_same_vector(client: Client) -> None:
    (plain,) = await client.vectors(encoding_format="float")
    (coded,) = await client.vectors(encoding_format="base64")
    assert list(struct.unpack("<8f", base64.b64decode(coded))) == plain


async def test_some_providers_do_not_know_base64(client: Client) -> None:
    (vector,) = await client.vectors(model="embed-floats-8", encoding_format="base64")
    assert [vector] == await client.vectors()


async def test_tokens_are_an_input_too(client: Client) -> None:
    assert len(await client.vectors(input=[1, 2, 3])) == 1
    assert len(await client.vectors(input=[[1, 2], [3]])) == 2
    assert (await client.send(input=[[1, 2], [3]]))[1]["usage"]["prompt_tokens"] == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"input": ""},
        {"input": []},
        {"input": ["a", ""]},
        {"input": ["a", 1]},
        {"input": ["a", [1]]},
        {"input": ["a"] * 2049},
        {"input": "x" * 40_000},
        {"input": [[1] * 8000] * 38},
        {"dimensions": 0},
        {"encoding_format": "hex"},
        {"prompt": "a"},
    ],
)
async def test_a_wrong_request_is_refused(client: Client, fields: dict[str, Any]) -> None:
    status, answer = await client.send(**fields)
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


async def test_faults_strike_embeddings_too(client: Client) -> None:
    assert (await client.send(model="fault-503"))[0] == 503
    assert (await client.send(model="missing-model"))[0] == 404
    assert (await client.send(model="quirk-empty-data"))[1]["data"] == []
    assert "usage" not in (await client.send(model="quirk-no-usage"))[1]


async def test_the_book_counts_the_input(client: Client) -> None:
    await client.vectors(input=["abcd", "abcdefgh"])
    (entry,) = client.server.book.entries
    assert (entry.endpoint, entry.model, entry.outcome) == ("embeddings", "embed-8", "answered")
    assert entry.usage is not None
    assert (entry.usage.prompt_tokens, entry.usage.completion_tokens) == (3, 0)
