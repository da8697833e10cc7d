"""Asks all routers how targets fare, and has all routers and callers start anew."""

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
from droveway.runtime.gather_answers import Patience, gather_answers

PATIENCE = Patience(quiet_s=0.2, longest_s=3.0)
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

    def take(payload: bytes) -> bool:
        try:
            answer = answer_decoder.decode(payload)
        except MALFORMED:
            return False  # of a later version
        if len(found) < MAX_ANSWERS:
            found.append(answer)
        return True

    try:
        await gather_answers(bus, providers_subject(), encode(question), take, PATIENCE)
    except BusError as error:
        raise NobodyAnswers(f"routers can't be asked: {error}") from None
    return found
