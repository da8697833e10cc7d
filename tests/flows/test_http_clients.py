"""HTTP libraries without an SDK: a whole answer and a stream, read as each of them reads."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests

from tests.support.nats import NatsServer
from tests.support.simulator import chat_body, payloads, spoken
from tests.support.stack import Stack, running_stack

TEXT = "t0 t1 t2 t3 t4 "
Post = Callable[[str, dict[str, str], dict[str, Any]], Awaitable[tuple[int, str]]]
"""URL, headers and body to status and the answer's lines, read one after the other."""


async def by_requests(url: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str]:
    return await asyncio.to_thread(_by_requests, url, headers, body)


def _by_requests(url: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str]:
    with (
        requests.Session() as session,
        session.post(url, headers=headers, json=body, stream=True, timeout=10) as answer,
    ):
        lines = [line.decode() for line in answer.iter_lines(delimiter=b"\n")]
        return answer.status_code, "\n".join(lines)


def by_httpx_sync(url: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str]:
    with httpx.stream("POST", url, headers=headers, json=body, timeout=10) as answer:
        return answer.status_code, "\n".join(answer.iter_lines())


async def by_httpx_in_a_thread(
    url: str, headers: dict[str, str], body: dict[str, Any]
) -> tuple[int, str]:
    return await asyncio.to_thread(by_httpx_sync, url, headers, body)


async def by_httpx(url: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str]:
    async with (
        httpx.AsyncClient(timeout=10) as client,
        client.stream("POST", url, headers=headers, json=body) as answer,
    ):
        return answer.status_code, "\n".join([line async for line in answer.aiter_lines()])


async def by_aiohttp(url: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json=body) as answer,
    ):
        return answer.status, b"".join([line async for line in answer.content]).decode()


POSTS = [by_requests, by_httpx, by_httpx_in_a_thread, by_aiohttp]


@pytest.fixture
async def stack(nats: NatsServer, tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(nats, tmp_path) as stack:
        yield stack


@pytest.mark.parametrize("post", POSTS)
async def test_a_plain_client_gets_whole_answers_streams_and_errors(
    stack: Stack, post: Post
) -> None:
    url = f"{stack.url}/v1/chat/completions"
    headers = {"authorization": f"Bearer {stack.key}"}
    status, whole = await post(url, headers, chat_body())
    assert status == 200
    assert json.loads(whole)["choices"][0]["message"]["content"] == TEXT
    status, stream = await post(url, headers, chat_body(stream=True))
    assert status == 200
    assert payloads(stream)[-1] == "[DONE]"
    assert spoken(stream) == TEXT
    status, refusal = await post(url, {"authorization": "Bearer sk-unknown"}, chat_body())
    assert status == 401
    assert json.loads(refusal)["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("post", POSTS)
async def test_a_plain_client_can_tell_a_cut_stream(stack: Stack, post: Post) -> None:
    """The last chunk is missing, so that also those who read no events notice."""
    url = f"{stack.url}/v1/chat/completions"
    headers = {"authorization": f"Bearer {stack.key}"}
    broken = (requests.RequestException, httpx.TransportError, aiohttp.ClientPayloadError)
    with pytest.raises(broken):
        await post(url, headers, chat_body("fault-cut-after-3", stream=True))
