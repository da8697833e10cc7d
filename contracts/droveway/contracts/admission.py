"""(2) Router to limiter: may this request run now?

One request, one message, all of the client's limits at once, all or nothing. A second question
by the same router is answered as the first was and counts once.

The first router that is admitted *holds* the request. Here all routers meet, so here is decided
that no two of them run it: another one is told who has it, unless its door names that router as
dead (`instead_of`), by which the hold passes on.
"""

import msgspec

from droveway.contracts.envelope import Id, Millis, NoId, Text, Tokens
from droveway.contracts.envelope import subject as _subject
from droveway.contracts.errors import Failure
from droveway.contracts.inference import Ask, Window

DECIDE_WITHIN_MS = 100
"""A router that hears nothing for this long asks again, and then waits for twice as long."""


def admission_subject(partition: int) -> str:
    """`droveway.v1.admission.<partition>`."""
    return _subject("admission", str(partition))


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
    remaining_ms: Millis


class Admitted(
    msgspec.Struct, frozen=True, kw_only=True, tag="admission.admitted.v1", tag_field="t"
):
    """It may run, `start_in_ms` from now."""

    request_id: Id
    start_in_ms: Millis = 0
    requests: Window | None = None


class Denied(msgspec.Struct, frozen=True, kw_only=True, tag="admission.denied.v1", tag_field="t"):
    """It may not; `failure.retry_after_ms` says when it would pass."""

    request_id: Id
    failure: Failure
    requests: Window | None = None


class Held(msgspec.Struct, frozen=True, kw_only=True, tag="admission.held.v1", tag_field="t"):
    """Another router has it already, by the door's publication `ask`."""

    request_id: Id
    router: Id
    ask: Ask


Decision = Admitted | Denied | Held

request_decoder = msgspec.msgpack.Decoder(AdmissionRequested)
decision_decoder = msgspec.msgpack.Decoder(Decision)
