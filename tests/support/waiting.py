"""Waiting for what another process, thread or connection does."""

import asyncio
from collections.abc import Callable


async def until(claim: Callable[[], object], limit_s: float = 5.0) -> None:
    """Returns once `claim()` holds.

    Raises:
        TimeoutError: It didn't within `limit_s`.
    """
    async with asyncio.timeout(limit_s):
        while not claim():  # noqa: ASYNC110 - the claim is about somebody who can't tell us
            await asyncio.sleep(0.005)
