"""Callers to routers and to each other: which of a pool's credentials to spare, and for how long.

Each caller says all that it knows once a second, and at once when a cooldown begins or ends. A
digest replaces its caller's last one; a cooldown that was told ends by itself, also when its caller
falls silent.
"""

from typing import Annotated

import msgspec

from droveway.contracts.envelope import PREFIX, Id, Millis, NoId, Tokens
from droveway.contracts.envelope import subject as _subject

RATE_LIMITED = "rate_limited"
"""The provider answered 429."""
EXHAUSTED = "exhausted"
"""The provider said that nothing remains until its limit is reset."""
REFUSED = "refused"
"""The provider doesn't take the credential: 401, 402, 403."""

MAX_CREDENTIALS = 1_000
"""Of one digest; of more, those that cool down come first."""
MAX_COOLDOWN_MS = 600_000
"""What is told of a longer one."""

HEALTH_OF_ALL = f"{PREFIX}.health.*"
"""The digests of all pools, as a subject pattern."""


def health_subject(pool: str) -> str:
    """`droveway.v1.health.<pool>`."""
    return _subject("health", pool)


class CredentialHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One credential of one provider, as one caller has seen it."""

    provider: Id
    credential: Id
    cooldown_ms: Millis = 0
    """Nothing is to be sent under it for so long."""
    why: NoId = ""
    """`rate_limited`, `exhausted` or `refused`; empty when nothing is cooling."""
    remaining_requests: Tokens | None = None
    """What the provider's last answer said is left; None: not said, or its reset is over."""
    remaining_tokens: Tokens | None = None
    requests_reset_ms: Millis | None = None
    tokens_reset_ms: Millis | None = None


class PoolHealth(msgspec.Struct, frozen=True, kw_only=True, tag="pool.health.v1", tag_field="t"):
    """All that one caller knows of its pool; a credential that isn't named is fine."""

    caller: Id
    credentials: Annotated[
        tuple[CredentialHealth, ...], msgspec.Meta(max_length=MAX_CREDENTIALS)
    ] = ()


health_decoder = msgspec.msgpack.Decoder(PoolHealth)
