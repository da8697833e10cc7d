"""Exactly what the article on prompt caching puts on the wire, with its mistakes."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.articles import STAINLESS, base, configured, sent
from tests.support.nats import NatsServer
from tests.support.stack import Stack, running_stack

MISSPELT = "claude-sonnet-4.5-20250514"
SYSTEM_PROMPT = "你是公司的 AI 客服助手。\n【回复规范】\n1. 使用友好的语气\n2. 回复不超过 100 字"
REVIEW_TOOL = {
    "type": "function",
    "name": "code_review",
    "description": "输出代码审查结果",
    "parameters": {
        "type": "object",
        "properties": {
            "issue_type": {"type": "string", "enum": ["security", "performance"]},
            "severity": {"type": "string", "enum": ["critical", "high", "medium", "low"]},
            "description": {"type": "string"},
        },
        "required": ["issue_type", "severity", "description"],
    },
}


@pytest.fixture
async def stack(nats: NatsServer, tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(nats, tmp_path, configure=configured, keep_bodies=True) as stack:
        yield stack


async def test_the_responses_call_with_chat_parts_is_understood(stack: Stack) -> None:
    """The article writes a chat's `text` parts where this API has `input_text`."""
    payload = {
        "model": "gpt-4.1",
        "input": [
            {"role": "system", "content": [{"type": "text", "text": "你是一个专业的代码审查助手"}]},
            {"role": "user", "content": [{"type": "text", "text": "请审查以下 Python 代码"}]},
        ],
        "tools": [REVIEW_TOOL],
    }
    async with stack.client(headers=STAINLESS) as client:
        answer = await client.post("/v1/responses", json=payload)
    assert answer.status_code == 200, answer.text
    [call] = [item for item in answer.json()["output"] if item["type"] == "function_call"]
    assert call["name"] == "code_review"
    assert set(json.loads(call["arguments"])) == {"issue_type", "severity", "description"}
    usage = answer.json()["usage"]
    assert usage["input_tokens"] > 0
    assert usage["input_tokens_details"]["cached_tokens"] == 0
    assert usage["output_tokens"] > 0
    assert int(answer.headers["openai-processing-ms"]) >= 0
    _, body = sent(stack)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def caching_payload(**marker: Any) -> dict[str, Any]:
    """The article's request: its marker is a block of its own, which no API has."""
    return {
        "model": MISSPELT,
        "max_tokens": 1024,
        "system": [
            {"type": "text", "text": SYSTEM_PROMPT * 200},
            {"type": "cache_control", "index": 0, **marker},
        ],
        "messages": [{"role": "user", "content": "你们的服务支持哪些支付方式?"}],
    }


MAJORS = {
    "first-major": lambda key: {"x-api-key": key, "anthropic-version": "2023-06-01"},
    "second-major": lambda key: {
        "authorization": f"Bearer {key}",
        "anthropic-version": "2026-10-21",
    },
}


@pytest.mark.parametrize("headers", MAJORS.values(), ids=MAJORS)
@pytest.mark.parametrize("marker", [{}, {"authorization": "high"}], ids=["plain", "priority"])
async def test_the_caching_call_is_folded_into_what_the_article_means(
    stack: Stack, headers: Callable[[str], dict[str, str]], marker: dict[str, str]
) -> None:
    """Its base URL ends with /v1, to which the SDK adds /v1/messages."""
    url = f"{base(stack)}/v1/messages"
    async with httpx.AsyncClient(headers={**STAINLESS, **headers(stack.key)}) as client:
        first, second = [await client.post(url, json=caching_payload(**marker)) for _ in range(2)]
    assert first.status_code == second.status_code == 200, first.text
    assert first.json()["content"][0]["text"]
    written, read = first.json()["usage"], second.json()["usage"]
    assert written["cache_creation_input_tokens"] > 1024
    assert read["cache_read_input_tokens"] == written["cache_creation_input_tokens"]
    assert "cache_control" in first.headers["x-droveway-warning"]
    entry, body = sent(stack)
    assert entry.dialect == "anthropic"
    assert body["model"] == "claude-sonnet-4-5"
    [block] = body["system"]
    assert block["cache_control"] == {"type": "ephemeral"}


@pytest.mark.parametrize("headers", MAJORS.values(), ids=MAJORS)
async def test_the_articles_key_check_by_anthropics_sdk_works(
    stack: Stack, headers: Callable[[str], dict[str, str]]
) -> None:
    async with httpx.AsyncClient(headers=headers(stack.key)) as client:
        listed = await client.get(f"{base(stack)}/v1/models")
    assert listed.status_code == 200
    assert {model["type"] for model in listed.json()["data"]} == {"model"}
    assert listed.json()["has_more"] is False
    async with httpx.AsyncClient(headers=headers("hsk_wrong")) as client:
        refused = await client.get(f"{base(stack)}/v1/models")
    assert refused.status_code == 401
    assert refused.json()["error"]["type"] == "authentication_error"
