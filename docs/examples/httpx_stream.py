"""A streamed answer with its time to first token, time in all and tokens, with httpx.

One event may hold several tokens: the usage event counts them. Only `data:` lines are events.
Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx

TIMEOUT = httpx.Timeout(120.0, connect=10.0)


async def events(client: httpx.AsyncClient, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Every event of the answer; raises when it isn't whole."""
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        if answer.status_code != 200:
            raise SystemExit(f"{answer.status_code}: {(await answer.aread()).decode()}")
        async for line in answer.aiter_lines():
            if line == "data: [DONE]":
                return
            if line.startswith("data:"):
                event = json.loads(line.removeprefix("data:"))
                if event.get("error"):
                    raise SystemExit(f"\nthe answer is incomplete: {event['error']['message']}")
                yield event
    raise SystemExit("\nthe answer is incomplete: it ended without [DONE]")


async def main() -> None:
    """Prints the answer as it comes, then what it took."""
    body = {
        "model": os.environ.get("DROVEWAY_MODEL", "sim-small"),
        "messages": [{"role": "user", "content": "Microservices or a monolith?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    headers = {"Authorization": f"Bearer {os.environ['DROVEWAY_KEY']}"}
    started_s, first_s, tokens = time.monotonic(), 0.0, 0
    async with httpx.AsyncClient(
        base_url=os.environ["DROVEWAY_URL"], headers=headers, timeout=TIMEOUT
    ) as client:
        async for event in events(client, body):
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
            for choice in event["choices"]:
                if text := choice["delta"].get("content"):
                    first_s = first_s or time.monotonic() - started_s
                    print(text, end="", flush=True)
    took_ms = (time.monotonic() - started_s) * 1000
    print(f"\nfirst token {first_s * 1000:.0f} ms, all {took_ms:.0f} ms, {tokens} tokens")


asyncio.run(main())
