"""Waiting for what another process, thread or connection does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from nats.aio.client import Client


async def until(claim: Callable[[], object], limit_s: float = 5.0) -> None:
    """Returns once `claim()` holds.

    Raises:
        TimeoutError: It didn't within `limit_s`.
    """
    async with asyncio.timeout(limit_s):
        while not claim():  # noqa: ASYNC110 - the claim is about somebody who can't tell us
            await asyncio.sleep(0.005)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs what never ends by itself for the length of a block; it must still run at its end."""
    task = asyncio.create_task(work)
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def settled(connection: Client) -> None:
    """The broker has read what was sent before, which nats-py's first PING overtakes."""
    await connection.flush()
    await connection.flush()
