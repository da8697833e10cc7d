"""A streamed answer read line by line, with aiohttp.

Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY.
"""

import asyncio
import json
import os

import aiohttp

BODY = {
    "model": os.environ.get("DROVEWAY_MODEL", "sim-small"),
    "messages": [{"role": "user", "content": "Tell a short story."}],
    "stream": True,
}


async def main() -> None:
    """Prints the answer as it comes; exits with 1 when it isn't whole."""
    async with (
        aiohttp.ClientSession(
            os.environ["DROVEWAY_URL"],
            headers={"Authorization": f"Bearer {os.environ['DROVEWAY_KEY']}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60),
        ) as session,
        session.post("/v1/chat/completions", json=BODY) as answer,
    ):
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {(await answer.json())['error']['message']}")
        async for line in answer.content:
            data = line.strip().removeprefix(b"data:").strip() if line[:5] == b"data:" else b""
            if data == b"[DONE]":
                print()
                return
            if data:
                event = json.loads(data)
                if event.get("error"):
                    raise SystemExit(f"\nthe answer is incomplete: {event['error']['message']}")
                for choice in event["choices"]:
                    print(choice["delta"].get("content") or "", end="", flush=True)
    raise SystemExit("\nthe answer is incomplete: it ended without [DONE]")


asyncio.run(main())
