"""Asks all routers how targets fare, and has all routers and callers start anew."""

import asyncio
import time

import msgspec

from droveway.contracts.envelope import MALFORMED, encode
from droveway.contracts.providers import (
    Answer,
    ProvidersAsked,
    ProvidersReset,
    ProvidersSeen,
    ResetDone,
    answer_decoder,
    providers_subject,
)
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError, DrovewayError

FIRST_ANSWER_S = 1.0
"""How long nobody may answer until nobody is there."""
QUIET_S = 0.2
"""No further answer for this long: all have answered."""
LONGEST_S = 3.0
MAX_ANSWERS = 1_000


class NobodyAnswers(DrovewayError):
    """The question couldn't be asked."""


async def ask_providers(bus: Bus, provider: str = "") -> list[ProvidersSeen]:
    """What each router sees of a provider, of all where it is empty; by router.

    Raises:
        NobodyAnswers: There is no connection.
    """
    answers = await _ask(bus, ProvidersAsked(provider=provider))
    seen = (one for one in answers if isinstance(one, ProvidersSeen))
    return sorted(seen, key=lambda one: one.router)


async def reset_providers(bus: Bus, provider: str = "", model: str = "") -> list[str]:
    """Which routers and callers have started anew.

    Raises:
        NobodyAnswers: There is no connection.
    """
    answers = await _ask(bus, ProvidersReset(provider=provider, model=model))
    return sorted(one.instance for one in answers if isinstance(one, ResetDone))


async def _ask(bus: Bus, question: msgspec.Struct) -> list[Answer]:
    found: list[Answer] = []
    heard, nobody = asyncio.Event(), asyncio.Event()

    def on_answer(payload: bytes) -> None:
        try:
            answer = answer_decoder.decode(payload)
        except MALFORMED:
            return  # of a later version
        if len(found) < MAX_ANSWERS:
            found.append(answer)
        heard.set()

    def on_nobody() -> None:
        nobody.set()
        heard.set()

    inbox = bus.open_inbox(on_answer, on_nobody)
    try:
        bus.publish(providers_subject(), encode(question), inbox.subject)
        await _until_quiet(heard, nobody)
    except BusError as error:
        raise NobodyAnswers(f"routers can't be asked: {error}") from None
    finally:
        inbox.close()
    return found


async def _until_quiet(heard: asyncio.Event, nobody: asyncio.Event) -> None:
    until_s = time.monotonic() + LONGEST_S
    wait_s = FIRST_ANSWER_S
    while time.monotonic() < until_s and not nobody.is_set():
        heard.clear()
        try:
            async with asyncio.timeout(wait_s):
                await heard.wait()
        except TimeoutError:
            return
        wait_s = QUIET_S
