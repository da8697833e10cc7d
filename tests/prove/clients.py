"""What claims ask: many at once, so many a second, and clients that leave."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from tests.prove.plant import Plant
from tests.support.history import History, Request
from tests.support.history_clients import ask_raw
from tests.support.raw_http import RawConnection, raw_connection

T = TypeVar("T")


def streams(
    plant: Plant, history: History, count: int, model: str, *, port: int = 0
) -> list[asyncio.Task[Request]]:
    """So many streams at once; the providers hear of them together."""
    body = plant.body(model, stream=True)
    ask = (ask_raw(history, port or plant.port, plant.key, body) for _ in range(count))
    return [asyncio.ensure_future(one) for one in ask]


async def open_loop(per_s: float, for_s: float, ask: Callable[[int], Awaitable[T]]) -> list[T]:
    """Asks at a steady rate, however long answers take; returns all answers in order of asking."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    tasks: list[asyncio.Future[T]] = []
    for number in range(round(per_s * for_s)):
        await asyncio.sleep(began_s + number / per_s - loop.time())
        tasks.append(asyncio.ensure_future(ask(number)))
    return list(await asyncio.gather(*tasks))


async def until_done(
    per_s: float, done: "asyncio.Future[None]", ask: Callable[[int], Awaitable[T]]
) -> list[T]:
    """Asks at a steady rate until `done` is; returns all answers in order of asking."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    tasks: list[asyncio.Future[T]] = []
    while not done.done():
        tasks.append(asyncio.ensure_future(ask(len(tasks))))
        await asyncio.wait([done], timeout=max(0.0, began_s + len(tasks) / per_s - loop.time()))
    got = list(await asyncio.gather(*tasks))
    await done
    return got


async def at_most(limit: int, work: Iterable[Awaitable[T]]) -> list[T]:
    """Runs all, so many at a time; the results in order."""
    room = asyncio.Semaphore(limit)

    async def one(each: Awaitable[T]) -> T:
        async with room:
            return await each

    return list(await asyncio.gather(*map(one, work)))


def http_request(plant: Plant, body: dict[str, Any]) -> bytes:
    """A POST as bytes, for clients that don't behave."""
    content = json.dumps(body).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        f"authorization: Bearer {plant.key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def leave(
    plant: Plant, body: dict[str, Any], when: Callable[[RawConnection], Awaitable[None]]
) -> float:
    """Asks, waits for `when`, closes the connection; the monotonic second at which it left."""
    async with raw_connection(plant.port) as client:
        await client.send(http_request(plant, body))
        await when(client)
        left_s = time.monotonic()
        client.close()
    return left_s


def failed(requests: Iterable[Request]) -> list[Request]:
    """Those that didn't end as asked."""
    return [one for one in requests if one.terminal != "done"]


def reasons(requests: Iterable[Request]) -> dict[str, int]:
    """How often each kind of failure came: status, error code, exception."""
    found: dict[str, int] = {}
    for one in failed(requests):
        name = f"{one.terminal} {one.status or ''} {one.error_code or one.exception}".strip()
        found[name] = found.get(name, 0) + 1
    return found
