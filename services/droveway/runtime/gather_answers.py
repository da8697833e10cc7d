"""One question to everybody who hears it: all their answers, until no further one comes."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from droveway.runtime.bus import Bus


class Patience(NamedTuple):
    """How long answers are waited for, in seconds."""

    quiet_s: float
    """No further answer for this long: all have answered."""
    longest_s: float
    first_s: float = 1.0
    """How long nobody may answer until nobody is there."""


async def gather_answers(
    bus: Bus, subject: str, question: bytes, take: Callable[[bytes], bool], patience: Patience
) -> None:
    """Hands each answer to `take`, which says whether it was one.

    Raises:
        BusError: The question can't be asked.
    """
    heard, nobody = asyncio.Event(), asyncio.Event()

    def on_answer(payload: bytes) -> None:
        if take(payload):
            heard.set()

    def on_nobody() -> None:
        nobody.set()
        heard.set()

    inbox = bus.open_inbox(on_answer, on_nobody)
    try:
        bus.publish(subject, question, inbox.subject)
        await _until_quiet(heard, nobody, patience)
    finally:
        inbox.close()


async def _until_quiet(heard: asyncio.Event, nobody: asyncio.Event, patience: Patience) -> None:
    until_s = time.monotonic() + patience.longest_s
    wait_s = patience.first_s
    while time.monotonic() < until_s and not nobody.is_set():
        heard.clear()
        try:
            async with asyncio.timeout(wait_s):
                await heard.wait()
        except TimeoutError:
            return
        wait_s = patience.quiet_s
