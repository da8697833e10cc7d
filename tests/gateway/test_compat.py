"""The time that an answer took: in a header for all, in its usage for who wants that."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from droveway.gateway.doors.compat import amendment, with_total_duration
from droveway.gateway.operations import ALL, CHAT, RESPONSES
from droveway.gateway.settings import GatewaySettings
from droveway.runtime.errors import SettingsError
from droveway.runtime.settings import read
from tests.support.nats import NatsServer, nats  # noqa: F401
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

RESPONSE: dict[str, Any] = {"model": "numbered-5", "input": "x"}
EMBEDDING: dict[str, Any] = {"model": "embed-8", "input": "x"}
WHOLE = pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/chat/completions", chat_body()), ("/v1/responses", RESPONSE)],
    ids=["chat", "responses"],
)


def test_it_is_off_unless_an_operator_asks_for_it() -> None:
    assert read(GatewaySettings, "gateway", {}).compat == ""
    assert [amendment("", one) for one in ALL] == [None] * len(ALL)
    chosen = read(GatewaySettings, "gateway", {"DROVEWAY_GATEWAY_COMPAT": "seeds"}).compat
    assert [one for one in ALL if amendment(chosen, one)] == [CHAT, RESPONSES]


@pytest.mark.parametrize("word", ["seed", "seeds\n", "on"])
def test_another_word_for_it_is_refused(word: str) -> None:
    with pytest.raises(SettingsError, match="DROVEWAY_GATEWAY_COMPAT"):
        read(GatewaySettings, "gateway", {"DROVEWAY_GATEWAY_COMPAT": word})


def test_the_rest_of_an_answer_keeps_its_order_and_its_values() -> None:
    body = b'{"z":1.50,"usage":{"b":2,"a":{"c" : 1}},"id":"x\\u00e9"}'
    made = b'{"z":1.50,"usage":{"b":2,"a":{"c" : 1},"total_duration":12},"id":"x\\u00e9"}'
    assert with_total_duration(body, 12) == made


@pytest.mark.parametrize("body", [b'{"a": 1}', b'{"usage": null}', b'{"usage": []}', b"[]", b"{"])
def test_an_answer_without_usage_stays_as_it_is(body: bytes) -> None:
    assert with_total_duration(body, 12) == body


@pytest.fixture(params=["", "seeds"], ids=["off", "seeds"])
def compat(request: pytest.FixtureRequest) -> str:
    """The operator's choice."""
    return str(request.param)


@pytest_asyncio.fixture
async def stack(
    compat: str,
    nats: NatsServer,  # noqa: F811
    tmp_path: Path,
) -> AsyncIterator[Stack]:
    environment = {"DROVEWAY_GATEWAY_COMPAT": compat}
    async with running_stack(nats, tmp_path, environment=environment) as world:
        yield world


async def _post(stack: Stack, path: str, body: dict[str, Any]) -> httpx.Response:
    async with stack.client() as client:
        answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer


@WHOLE
async def test_a_whole_answer_says_how_long_it_took(
    stack: Stack, compat: str, path: str, body: dict[str, Any]
) -> None:
    answer = await _post(stack, path, body)
    taken_ms = int(answer.headers["x-droveway-duration-ms"])
    assert 0 <= int(answer.headers["openai-processing-ms"]) <= taken_ms
    usage = answer.json()["usage"]
    assert ("total_duration" in usage) == (compat == "seeds")
    assert 0 <= usage.get("total_duration", 0) <= taken_ms


async def test_streams_and_other_answers_are_as_the_api_has_them(stack: Stack) -> None:
    asked = {**chat_body(stream=True), "stream_options": {"include_usage": True}}
    streamed = await _post(stack, "/v1/chat/completions", asked)
    assert "x-droveway-duration-ms" not in streamed.headers
    assert "openai-processing-ms" in streamed.headers
    embedded = await _post(stack, "/v1/embeddings", EMBEDDING)
    assert int(embedded.headers["x-droveway-duration-ms"]) >= 0
    for answer in (streamed, embedded):
        assert '"usage":{' in answer.text
        assert "total_duration" not in answer.text
