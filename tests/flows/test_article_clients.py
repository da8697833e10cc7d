"""Exactly what the articles' clients put on the wire, with their mistakes, and what they read.

The libraries send the articles' own bodies; what an SDK would send is sent with its headers.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import requests

from droveway.contracts.access import Limit
from droveway.contracts.config import Config
from tests.support.articles import MODELS, STAINLESS, base, configured, json_headers, sent
from tests.support.nats import NatsServer
from tests.support.stack import Stack, running_stack


@pytest.fixture
async def stack(nats: NatsServer, tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(nats, tmp_path, configure=configured, keep_bodies=True) as stack:
        yield stack


async def with_requests(call: Callable[..., requests.Response], *args: Any, **options: Any) -> Any:
    """A call of requests, beside our loop."""
    return await asyncio.to_thread(lambda: call(*args, **{"timeout": 30, **options}))


@pytest.mark.parametrize("model", MODELS)
async def test_the_monitor_tracks_a_request_of_each_model(stack: Stack, model: str) -> None:
    payload = {
        "model": model,
        "messages": [{"role": "user", "content": "测试请求 #1"}],
        "max_tokens": 1000,
        "temperature": 0.7,
    }
    answer = await with_requests(
        requests.post, f"{base(stack)}/chat/completions", headers=json_headers(stack), json=payload
    )
    assert answer.status_code == 200
    usage = answer.json()["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    entry, body = sent(stack)
    assert entry.dialect == ("anthropic" if model.startswith("claude") else "openai")
    assert body["messages"][0]["content"] in (
        "测试请求 #1",
        [{"type": "text", "text": "测试请求 #1"}],
    )


async def test_the_key_check_tells_a_good_key_from_a_bad_one(stack: Stack) -> None:
    url = f"{base(stack)}/models"
    good = await with_requests(requests.get, url, headers=json_headers(stack), timeout=10)
    assert good.status_code == 200
    assert set(MODELS) <= {model["id"] for model in good.json()["data"]}
    bad = {"Authorization": "Bearer YOUR_API_KEY", "Content-Type": "application/json"}
    assert (await with_requests(requests.get, url, headers=bad, timeout=10)).status_code == 401


async def test_a_pasted_keys_blanks_are_no_obstacle(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer   {stack.key}  "}
    answer = await with_requests(requests.get, f"{base(stack)}/models", headers=headers)
    assert answer.status_code == 200


async def test_ten_workers_send_fifty_requests(stack: Stack) -> None:
    url = f"{base(stack)}/chat/completions"
    headers = {"Authorization": f"Bearer {stack.key}"}
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hello"}]}
    slots = asyncio.Semaphore(10)

    async def one() -> int:
        async with slots:
            answer = await with_requests(requests.post, url, headers=headers, json=body)
            return int(answer.status_code)

    assert await asyncio.gather(*(one() for _ in range(50))) == [200] * 50


@pytest.mark.parametrize(
    "payload",
    [
        {
            "model": "gpt-4.1",
            "messages": [
                {"role": "system", "content": "你是一个专业的Python编程助手"},
                {"role": "user", "content": "用Python写一个快速排序算法"},
            ],
            "temperature": 0.7,
            "max_tokens": 500,
        },
        {
            "model": "deepseek-v3.2",
            "messages": [{"role": "user", "content": "解释一下什么是Transformer架构"}],
            "stream": False,
        },
        {"model": "gpt-4.1", "messages": [{"role": "user", "content": "ping"}]},
    ],
    ids=["sync", "async", "health-check"],
)
async def test_openai_python_as_the_articles_call_it(stack: Stack, payload: dict[str, Any]) -> None:
    async with stack.client(headers=STAINLESS) as client:
        answer = await client.post("/v1/chat/completions", json=payload)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"]
    assert answer.json()["usage"]["total_tokens"] > 0
    _, body = sent(stack)
    assert {name: body[name] for name in payload} == payload


async def test_a_wrong_key_has_the_articles_own_401(stack: Stack) -> None:
    headers = {**STAINLESS, "authorization": "Bearer YOUR_HOLYSHEEP_API_KEY"}
    async with httpx.AsyncClient(headers=headers) as client:
        answer = await client.post(f"{base(stack)}/chat/completions", json={})
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert error["message"] == "Incorrect API key provided"
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")


async def test_a_rate_limit_has_the_articles_own_429(nats: NatsServer, tmp_path: Path) -> None:
    def limited(config: Config) -> Config:
        limits = (Limit(requests=1, window_s=2.0),)
        keys = [msgspec.structs.replace(key, limits=limits) for key in config.keys]
        return msgspec.structs.replace(config, keys=tuple(keys))

    payload = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hello"}]}
    async with (
        running_stack(nats, tmp_path, configure=limited) as stack,
        stack.client(headers=STAINLESS) as client,
    ):
        assert (await client.post("/v1/chat/completions", json=payload)).status_code == 200
        refused = await client.post("/v1/chat/completions", json=payload)
        error = refused.json()["error"]
        assert refused.status_code == 429
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert "gpt-4.1" in error["message"]
        assert "rate_limit" in str(error), "an article looks for this word in the whole error"
        await asyncio.sleep(int(refused.headers["retry-after-ms"]) / 1000)
        assert (await client.post("/v1/chat/completions", json=payload)).status_code == 200


@pytest.mark.parametrize("model", ["gpt-4.1", "claude-sonnet-4.5", "deepseek-v3.2"])
async def test_the_streaming_client_reads_pieces_and_measures(stack: Stack, model: str) -> None:
    payload = {
        "model": model,
        "messages": [
            {"role": "system", "content": "你是一个技术架构师"},
            {"role": "user", "content": "请分析微服务架构的优缺点,给出 500 字总结"},
        ],
        "temperature": 0.7,
        "max_tokens": 1024,
        "stream": True,
    }
    pieces, first_s, started_s = [], None, time.time()
    async with (
        httpx.AsyncClient(timeout=60.0, headers=json_headers(stack)) as client,
        client.stream("POST", f"{base(stack)}/chat/completions", json=payload) as response,
    ):
        response.raise_for_status()
        async for line in response.aiter_lines():
            if not line.startswith("data: "):
                continue
            if line.startswith("data: [DONE]"):
                break
            data = json.loads(line[6:])
            if "choices" in data and len(data["choices"]) > 0:
                delta = data["choices"][0].get("delta", {})
                if "content" in delta:
                    first_s = first_s or time.time() - started_s
                    pieces.append(delta["content"])
    assert first_s is not None
    assert "".join(pieces).strip(), "a piece that is null would have raised"


@pytest.mark.parametrize("ending", ["", "/"], ids=["bare", "slash"])
async def test_either_spelling_of_the_base_url_works(stack: Stack, ending: str) -> None:
    payload = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "你好"}]}
    async with stack.client() as client:
        answer = await client.post(f"/v1{ending}/chat/completions", json=payload)
    assert answer.status_code == 200
