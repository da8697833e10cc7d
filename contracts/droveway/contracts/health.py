"""Callers to routers and to each other: how targets and credentials of a pool fare.

Each caller says what it knows once a second, and at once when a cooldown begins or ends or a target
begins to fail. What it says of credentials replaces its last digest; a cooldown that was told ends
by itself, also when its caller falls silent. Outcomes are those since its last digest, each told
once and for the router whose attempts they were: that one has seen them already, all but cuts.
"""

from typing import Annotated

import msgspec

from droveway.contracts.envelope import MAX_NUMBER, PREFIX, Id, Millis, NoId, Tokens
from droveway.contracts.envelope import subject as _subject

Count = Annotated[int, msgspec.Meta(ge=0, lt=MAX_NUMBER)]

RATE_LIMITED = "rate_limited"
"""The provider answered 429."""
EXHAUSTED = "exhausted"
"""The provider said that nothing remains until its limit is reset."""
REFUSED = "refused"
"""The provider doesn't take the credential: 401, 402, 403."""

FAULTS = frozenset(
    {"provider_unavailable", "provider_no_response", "provider_timeout", "bad_upstream"}
)
"""Codes of failures that are held against a target; a rate limit, a refusal and our own bounds
aren't."""
CUTS = FAULTS | {"stream_interrupted", "stream_stalled"}
"""The same of an answer that had begun."""

MAX_CREDENTIALS = 1_000
"""Of one digest; of more, those that cool down come first."""
MAX_TARGETS = 1_000
"""Of one digest, each once for each router; what has no room is left out: its own router knows."""
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


class TargetHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one router's attempts at one target since the digest before."""

    provider: Id
    model: Annotated[str, msgspec.Meta(max_length=256)]
    """The provider's name for it."""
    router: Id
    good: Count = 0
    """Committed, and not slow."""
    slow: Count = 0
    """Committed after a first token that took longer than the configuration's `health.slow_s`."""
    cut: Count = 0
    """Broke off by the provider's fault after they had committed, now or earlier."""
    failed: Annotated[dict[str, Count], msgspec.Meta(max_length=16)] = {}
    """By code, of `FAULTS`."""
    first_token_ms: Millis = 0
    """Mean of the streamed ones that committed; 0: there was none."""

    @property
    def failures(self) -> int:
        """All that failed before they committed."""
        return sum(self.failed.values())


class PoolHealth(msgspec.Struct, frozen=True, kw_only=True, tag="pool.health.v1", tag_field="t"):
    """All that one caller knows of its pool; a credential that isn't named is fine."""

    caller: Id
    credentials: Annotated[
        tuple[CredentialHealth, ...], msgspec.Meta(max_length=MAX_CREDENTIALS)
    ] = ()
    targets: Annotated[tuple[TargetHealth, ...], msgspec.Meta(max_length=MAX_TARGETS)] = ()


health_decoder = msgspec.msgpack.Decoder(PoolHealth)
