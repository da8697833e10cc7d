"""Single requests at a steady rate, each with what it was answered and when."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from tests.prove.clients import http_request
from tests.prove.plant import Plant
from tests.support.raw_http import raw_connection

_WITHIN_S = 30.0
_POLL_S = 0.02


class Probe(NamedTuple):
    """One request for a whole answer; times are monotonic."""

    model: str
    asked_s: float
    answered_s: float
    status: int
    """0: the connection ended without an answer, or none came in time."""
    retry_after: str

    @property
    def took_s(self) -> float:
        """From the request to its answer."""
        return self.answered_s - self.asked_s


async def probe(it: Plant, model: str = "numbered-5") -> Probe:
    """Asks on a connection of its own."""
    asked_s = time.monotonic()
    status, retry_after = 0, ""
    try:
        async with raw_connection(it.port) as client:
            await client.send(http_request(it, it.body(model)))
            answer = await client.read_answer(_WITHIN_S)
            status, retry_after = answer.status, answer.headers.get("retry-after", "")
    except (OSError, EOFError, TimeoutError):
        status = 0
    return Probe(model, asked_s, time.monotonic(), status, retry_after)


async def until_served(it: Plant, since_s: float, within_s: float, per_s: float = 50.0) -> float:
    """How long after `since_s` the first request that is asked now was answered with 200.

    Raises:
        TimeoutError: None was within `within_s`.
    """
    served: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    asked: set[asyncio.Task[None]] = set()

    async def ask() -> None:
        one = await probe(it)
        if one.status == 200 and not served.done():
            served.set_result(one.answered_s - since_s)

    try:
        async with asyncio.timeout(within_s):
            while not served.done():
                asked.add(asyncio.ensure_future(ask()))
                await asyncio.wait({served}, timeout=1 / per_s)
            return served.result()
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def first_time(holds: Callable[[], Awaitable[bool]], within_s: float) -> float | None:
    """How long until a claim holds; None: not within `within_s`."""
    began_s = time.monotonic()
    while not await holds():
        if time.monotonic() - began_s > within_s:
            return None
        await asyncio.sleep(_POLL_S)
    return time.monotonic() - began_s


def statuses(probes: Iterable[Probe]) -> dict[str, int]:
    """How often each status came, and which of them told when to come again."""
    return dict(Counter(f"{one.status}{' retry-after' * bool(one.retry_after)}" for one in probes))
