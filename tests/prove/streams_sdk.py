"""Asks what a plan says through an official SDK; run by that SDK's own environment.

    python streams_sdk.py openai|anthropic < plan.json

Writes the lines of a history, which `tests.support.history` reads.
"""

import asyncio
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Any

PAUSE_S = 0.25
"""After a stream that didn't begin."""
_TOLD = {"role": "user", "content": "hello"}
_MAX_TOKENS = 4_096


async def main(maker: str, plan: dict[str, Any]) -> None:
    """Asks until the plan is done or its time is over."""
    sdk = importlib.import_module(maker)
    waiting = iter(enumerate(plan["asks"]))
    ports = {ask[1] for ask in plan["asks"]}
    kind = sdk.AsyncAnthropic if maker == "anthropic" else sdk.AsyncOpenAI
    path = "" if maker == "anthropic" else "/v1"
    clients = {
        port: kind(
            base_url=f"http://127.0.0.1:{port}{path}", api_key=plan["key"],
            max_retries=0, timeout=60,
        )
        for port in ports
    }  # fmt: skip
    with Path(plan["history"]).open("w") as file:  # noqa: ASYNC230 - local, and nothing waits
        workers = (_work(sdk, plan, clients, waiting, file) for _ in range(plan["at_once"]))
        await asyncio.gather(*workers)


async def _work(
    sdk: Any,
    plan: dict[str, Any],
    clients: dict[int, Any],
    waiting: Iterator[tuple[int, list[Any]]],
    file: IO[str],
) -> None:
    for number, (model, port, leave_after_s) in waiting:
        if time.monotonic() > plan["until_s"]:
            return
        line = {
            "type": "request", "id": f"{plan['client']}-{number}", "client": plan["client"],
            "model": model, "stream": True, "invoked_s": time.monotonic(),
            "expected_tokens": int(model.partition("numbered-")[2].partition("+")[0]),
            "tokens": [], "terminals": [],
        }  # fmt: skip
        task = asyncio.ensure_future(_ask(sdk, clients[port], model, line))
        done, _ = await asyncio.wait({task}, timeout=leave_after_s)
        if not done:
            task.cancel()
            await asyncio.wait({task})
        line["duration_s"] = time.monotonic() - line["invoked_s"]
        file.write(json.dumps(line) + "\n")
        if not line["tokens"]:
            await asyncio.sleep(PAUSE_S)  # else an outage would use up the plan


async def _ask(sdk: Any, client: Any, model: str, line: dict[str, Any]) -> None:
    """Fills in what the SDK's user sees: a stream that just ends is a success to the SDK."""
    finished = False
    try:
        pieces = _said(client, model) if hasattr(client, "chat") else _messages(client, model)
        async for text, ended in pieces:
            line["status"] = 200
            if text:
                line["tokens"].append(text)
            finished = finished or ended
        line["body"] = "whole"
        if finished:
            line["terminals"].append("done")
    except asyncio.CancelledError:
        line["body"] = "left"
    except sdk.APITimeoutError as error:
        line["exception"] = type(error).__name__
    except Exception as error:  # noqa: BLE001 - whatever is raised, its user was told
        line["exception"] = type(error).__name__
        line["error_code"] = str(getattr(error, "code", "") or "")
        line["status"] = getattr(error, "status_code", line.get("status"))
        line["terminals"].append("error")


async def _said(client: Any, model: str) -> AsyncIterator[tuple[str, bool]]:
    stream = await client.chat.completions.create(model=model, messages=[_TOLD], stream=True)
    async for chunk in stream:
        for choice in chunk.choices:
            yield choice.delta.content or "", bool(choice.finish_reason)


async def _messages(client: Any, model: str) -> AsyncIterator[tuple[str, bool]]:
    stream = await client.messages.create(
        model=model, messages=[_TOLD], max_tokens=_MAX_TOKENS, stream=True
    )
    async for event in stream:
        if event.type == "content_block_delta":
            yield event.delta.text, False
        elif event.type == "message_stop":
            yield "", True


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.load(sys.stdin)))
