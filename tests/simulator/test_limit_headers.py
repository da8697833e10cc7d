"""Rate limit headers on demand, in each dialect's own words."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from droveway.simulator.server import running
from tests.support.simulator import MESSAGES, chat_body, message_body, quick_settings

CHAT = "/v1/chat/completions"
HEADERS = {
    "authorization": "Bearer sk-test",
    "anthropic-version": "2023-06-01",
    "x-simulator-fault": "remaining=3,reset=90000",
}


@pytest.mark.parametrize("fault", ["", "429=2,"])
@pytest.mark.parametrize("stream", [False, True])
async def test_openais(fault: str, stream: bool) -> None:
    headers = {**HEADERS, "x-simulator-fault": f"{fault}remaining=3,reset=90000"}
    async with running(quick_settings()) as server, httpx.AsyncClient() as client:
        url = f"{server.url}{CHAT}"
        answer = await client.post(url, json=chat_body(stream=stream), headers=headers)
    assert answer.status_code == (429 if fault else 200)
    assert answer.headers["x-ratelimit-remaining-requests"] == "3"
    assert answer.headers["x-ratelimit-reset-requests"] == "90000ms"


async def test_anthropics() -> None:
    async with running(quick_settings()) as server, httpx.AsyncClient() as client:
        url = f"{server.url}{MESSAGES}"
        answer = await client.post(url, json=message_body(), headers=HEADERS)
    assert answer.status_code == 200
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "3"
    reset = datetime.fromisoformat(answer.headers["anthropic-ratelimit-requests-reset"])
    assert timedelta(seconds=80) < reset - datetime.now(UTC) <= timedelta(seconds=90)


async def test_openais_are_left_out_unless_asked_for() -> None:
    headers = {**HEADERS, "x-simulator-fault": ""}
    async with running(quick_settings()) as server, httpx.AsyncClient() as client:
        answer = await client.post(f"{server.url}{CHAT}", json=chat_body(), headers=headers)
    assert not [name for name in answer.headers if "ratelimit" in name]
