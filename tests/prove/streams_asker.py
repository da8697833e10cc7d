"""Asks what a plan says and writes down what was seen: raw HTTP, or our client for the bus.

python -m tests.prove.streams_asker < plan.json
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import uvloop

from droveway import client
from droveway.runtime.api_key import parse_key
from tests.prove.streams_plan import Ask, Plan
from tests.support.history import History, Request
from tests.support.history_clients import ask_raw

PROMPT = "prompt-canary-52e1: hello"
WITHIN_S = 60.0
PAUSE_S = 0.25
"""After a stream that didn't begin."""

Asking = Callable[[Ask], Awaitable[Request]]


async def run(plan: Plan) -> None:
    """Asks until the plan is done or its time is over."""
    loop = asyncio.get_running_loop()
    waiting = iter(plan.asks)

    async def work(ask: Asking) -> None:
        for one in waiting:
            if loop.time() > plan.until_s:
                return
            if not await _begins(ask(one), one.leave_after_s):
                await asyncio.sleep(PAUSE_S)  # else an outage would use up the plan

    with History(Path(plan.history)) as history:
        async with _asking(plan, history) as ask, asyncio.TaskGroup() as group:
            for _ in range(plan.at_once):
                group.create_task(work(ask))


@contextlib.asynccontextmanager
async def _asking(plan: Plan, history: History) -> AsyncIterator[Asking]:
    if plan.client == "raw":

        async def over_http(one: Ask) -> Request:
            body = {**_body(one.model), "stream": True}
            return await ask_raw(history, one.port, plan.key, body, within_s=WITHIN_S)

        yield over_http
        return
    key_id = parse_key(plan.key).id
    async with client.connect(plan.nats_url, key_id=key_id, seed_file=plan.seed_file) as bus:

        async def over_bus(one: Ask) -> Request:
            return await ask_bus(history, bus, one.model)

        yield over_bus


def _body(model: str) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": PROMPT}]}


async def _begins(asked: Awaitable[Request], leave_after_s: float | None) -> bool:
    """Asks, and leaves when it's time; whether anything was said."""
    task = asyncio.ensure_future(asked)
    done, _ = await asyncio.wait({task}, timeout=leave_after_s)
    if not done:
        task.cancel()
        await asyncio.wait({task})
    return task.cancelled() or bool(task.result().tokens)


async def ask_bus(history: History, bus: client.Client, model: str) -> Request:
    """Asks over the bus; records what became of it."""
    record = history.invoke("bus", model, stream=True)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(WITHIN_S), bus.stream(_body(model)) as stream:
            async for text in stream.text():
                record.tokens.append(text)
                record.arrivals_s.append(loop.time() - record.invoked_s)
        record.status, record.body = 200, "whole"
        record.terminals.append("done")
    except TimeoutError as error:
        record.exception = type(error).__name__
    except client.ClientError as error:
        record.status = getattr(error, "status", None)
        record.error_code = getattr(error, "code", "") or type(error).__name__
        record.terminals.append("error")
    except asyncio.CancelledError:
        record.body = "left"
        raise
    finally:
        history.add(record)
    return record


if __name__ == "__main__":
    uvloop.run(run(msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)))
