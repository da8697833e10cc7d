"""Asks the limiter where a key and its tenant stand."""

import msgspec

from droveway.contracts.access import Key
from droveway.contracts.admission import (
    PARTITION,
    StandingAsked,
    StandingReported,
    standing_subject,
)
from droveway.contracts.envelope import MALFORMED, encode
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError, DrovewayError

TIMEOUT_S = 1.0
_ASKED = 2
"""Times: while the owner changes nobody answers."""

_decoder = msgspec.msgpack.Decoder(StandingReported)


class StandingUnknown(DrovewayError):
    """No limiter has answered."""


async def ask_standing(bus: Bus, key: Key) -> StandingReported:
    """Limits and budgets of the key as they count now.

    Raises:
        StandingUnknown: Nobody knows.
    """
    question = encode(StandingAsked(key_id=key.id, tenant=key.tenant))
    reason = ""
    for _ in range(_ASKED):
        try:
            answer = await bus.request(standing_subject(PARTITION), question, TIMEOUT_S)
            return _decoder.decode(answer)
        except BusError as error:
            reason = str(error)
        except MALFORMED as error:
            reason = f"an answer of another form: {error}"
    raise StandingUnknown(f"no limiter tells where the key stands: {reason}")
