"""The row of an attempt whose caller died in the middle of an answer that was gone on with.

The request's row names the last attempt; of the earlier ones nobody but the door can tell.
"""

from typing import NamedTuple

from droveway.contracts.errors import Failure
from droveway.contracts.inference import InferenceRequested
from droveway.contracts.relay import Origin, Usage
from droveway.contracts.usage import AttemptRecorded, AttemptTimes
from droveway.otel.context import TraceContext, child, format_traceparent


class Lost(NamedTuple):
    """What the door knows of it."""

    origin: Origin
    router: str
    """Who had dispatched it; empty: that isn't known."""
    cause: Failure
    used: Usage
    """By this attempt alone: an estimate of what has come of it."""
    asked_ns: int
    ended_ns: int


def lost_answer(
    request: InferenceRequested, lost: Lost, span: TraceContext, door: str
) -> AttemptRecorded:
    """Its row; should the caller live after all, its own counts instead.

    Args:
        request: As it was asked first.
        lost: What is known.
        span: The request's own at its door.
        door: Who tells it.
    """
    origin = lost.origin
    _, _, model = origin.target.partition("/")
    return AttemptRecorded(
        attempt_id=origin.attempt_id,
        request_id=request.request_id,
        attempt=origin.attempt,
        traceparent=format_traceparent(child(span)),
        tenant=request.tenant,
        key_id=request.key_id,
        caller=origin.caller,
        witness=door,
        router=lost.router,
        provider=origin.provider,
        credential="",
        model=model or origin.model,
        asked_model=request.model,
        channel=origin.channel,
        served_model=origin.model,
        stream=request.stream,
        outcome="interrupted",
        code=lost.cause.code,
        committed=True,
        request_sent=True,
        usage=lost.used,
        began_ns=lost.asked_ns,
        times=AttemptTimes(ended_us=max(0, lost.ended_ns - lost.asked_ns) // 1000),
    )
