"""(2) Router to limiter: may this request run now, and on which credential?

One request, one message, all limits at once, all or nothing. A second question by the same router
is answered as the first was and counts once. A question about a later attempt counts in the limits
of the credential that it goes to, and not again in those of the client.

Every limiter hears each question; the owner of the partition answers, after its decision stands in
the stream LIMITS.

The first router that is admitted *holds* the request. Here all routers meet, so here is decided
that no two of them run it: another one is told who has it, unless its door names that router as
dead (`instead_of`), by which the hold passes on.
"""

from typing import Annotated

import msgspec

from droveway.contracts.envelope import Id, Millis, NanoUsd, NoId, Text, Tokens
from droveway.contracts.envelope import subject as _subject
from droveway.contracts.errors import Failure
from droveway.contracts.inference import Ask, Standing

PARTITION = 0
"""The only one so far: all limits and budgets are counted by one owner."""
DECIDE_WITHIN_MS = 100
"""A router that hears nothing for this long asks again, and then waits for twice as long."""


CREDENTIAL = "credential"
"""The scope of a provider's limits; all other scopes are the client's."""
CONCURRENCY = "concurrency"

Attempt = Annotated[int, msgspec.Meta(ge=1, le=1_000)]


def admission_subject(partition: int) -> str:
    """`droveway.v1.admission.<partition>`."""
    return _subject("admission", str(partition))


def standing_subject(partition: int) -> str:
    """`droveway.v1.standing.<partition>`."""
    return _subject("standing", str(partition))


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One target that would serve the request: whose limits count, and what it costs there."""

    provider: Id
    credential: Id
    model: Text
    """The name that the provider knows the model by."""


class AdmissionRequested(
    msgspec.Struct, frozen=True, kw_only=True, tag="admission.requested.v1", tag_field="t"
):
    """A router asks before it spends anything on a request."""

    request_id: Id
    router: Id
    ask: Ask = 1
    instead_of: NoId = ""
    """As in `InferenceRequested`: the router whose hold passes on; else empty."""
    key_id: Id
    tenant: Id
    model: Text
    input_tokens: Tokens = 0
    max_output_tokens: Tokens | None = None
    """None: the client set no bound, so the limiter reserves what it has learned."""
    choices: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    """As in `InferenceRequested`: each is as long as an answer without a bound may get."""
    remaining_ms: Millis
    places: tuple[Place, ...] = ()
    """In the order in which they'd be tried; the first one with room is taken."""
    attempt: Attempt = 1
    """Above 1: the request is admitted already, only a place is asked for."""


class Admitted(Standing, frozen=True, kw_only=True, tag="admission.admitted.v1", tag_field="t"):
    """It may run, `start_in_ms` from now, at the place of that index."""

    request_id: Id
    start_in_ms: Millis = 0
    place: Annotated[int, msgspec.Meta(ge=0)] = 0
    lease_ms: Millis = 0
    """Tokens, money or a place among concurrent requests are reserved: its caller renews at least
    this often and settles at the end. 0: nothing is reserved, nothing is to be said."""


class Denied(Standing, frozen=True, kw_only=True, tag="admission.denied.v1", tag_field="t"):
    """It may not; `failure.retry_after_ms` says when it would pass."""

    request_id: Id
    failure: Failure
    scope: NoId = ""
    """Whose limit is full for now: `key`, `tenant`, `model` or `credential`; empty: it isn't that,
    so waiting is no use."""
    kind: NoId = ""
    """What is full, as in `LimitStanding`; of `concurrency` nobody knows until when."""


class Held(msgspec.Struct, frozen=True, kw_only=True, tag="admission.held.v1", tag_field="t"):
    """Another router has it already, by the door's publication `ask`."""

    request_id: Id
    router: Id
    ask: Ask


Decision = Admitted | Denied | Held


class StandingAsked(
    msgspec.Struct, frozen=True, kw_only=True, tag="standing.asked.v1", tag_field="t"
):
    """An operator wants to see where a key, and its tenant, stand."""

    key_id: Id
    tenant: Id


class LimitStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One limit as it counts now."""

    scope: str
    """`key`, `tenant`, `model` or `credential`."""
    kind: str
    """`requests`, `tokens`, `input_tokens`, `output_tokens` or `concurrency`."""
    model: Text = "*"
    limit: int
    used: int
    window_ms: Millis = 0
    reset_ms: Millis = 0


class BudgetStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One budget as it counts now."""

    scope: str
    period: str
    limit_nano: NanoUsd
    spent_nano: NanoUsd
    reserved_nano: NanoUsd
    """Of requests that run, or whose row isn't there yet."""
    resets_ms: Millis | None = None
    """None: never."""


class StandingReported(
    msgspec.Struct, frozen=True, kw_only=True, tag="standing.reported.v1", tag_field="t"
):
    """The owner's answer."""

    key_id: Id
    owner: Id
    limits: tuple[LimitStanding, ...] = ()
    budgets: tuple[BudgetStanding, ...] = ()


request_decoder = msgspec.msgpack.Decoder(AdmissionRequested)
decision_decoder = msgspec.msgpack.Decoder(Decision)
standing_decoder = msgspec.msgpack.Decoder(StandingAsked)
reported_decoder = msgspec.msgpack.Decoder(StandingReported)
