"""Asks what a plan says through openai-python; run by an SDK's own environment.

    python streams_sdk.py < plan.json

Writes the lines of a history, which `tests.support.history` reads.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import openai

PAUSE_S = 0.25
"""After a stream that didn't begin."""
_TOLD = {"role": "user", "content": "hello"}


async def main(plan: dict[str, Any]) -> None:
    """Asks until the plan is done or its time is over."""
    waiting = iter(enumerate(plan["asks"]))
    ports = {ask[1] for ask in plan["asks"]}
    clients = {
        port: openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{port}/v1", api_key=plan["key"], max_retries=0, timeout=60
        )
        for port in ports
    }
    with Path(plan["history"]).open("w") as file:  # noqa: ASYNC230 - local, and nothing waits
        workers = (_work(plan, clients, waiting, file) for _ in range(plan["at_once"]))
        await asyncio.gather(*workers)


async def _work(
    plan: dict[str, Any],
    clients: dict[int, openai.AsyncOpenAI],
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
        task = asyncio.ensure_future(_ask(clients[port], model, line))
        done, _ = await asyncio.wait({task}, timeout=leave_after_s)
        if not done:
            task.cancel()
            await asyncio.wait({task})
        line["duration_s"] = time.monotonic() - line["invoked_s"]
        file.write(json.dumps(line) + "\n")
        if not line["tokens"]:
            await asyncio.sleep(PAUSE_S)  # else an outage would use up the plan


async def _ask(client: openai.AsyncOpenAI, model: str, line: dict[str, Any]) -> None:
    """Fills in what the SDK's user sees: a stream that just ends is a success to the SDK."""
    finished = False
    try:
        stream = await client.chat.completions.create(model=model, messages=[_TOLD], stream=True)
        line["status"] = 200
        async for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    line["tokens"].append(choice.delta.content)
                finished = finished or bool(choice.finish_reason)
        line["body"] = "whole"
        if finished:
            line["terminals"].append("done")
    except asyncio.CancelledError:
        line["body"] = "left"
    except openai.APITimeoutError as error:
        line["exception"] = type(error).__name__
    except Exception as error:  # noqa: BLE001 - whatever is raised, its user was told
        line["exception"] = type(error).__name__
        line["error_code"] = str(getattr(error, "code", "") or "")
        line["status"] = getattr(error, "status_code", line.get("status"))
        line["terminals"].append("error")


if __name__ == "__main__":
    asyncio.run(main(json.load(sys.stdin)))
