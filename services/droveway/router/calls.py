"""The call that a caller gets: one request at one of its candidates, and what remains of time."""

from droveway.contracts.dispatch import CallRouted
from droveway.contracts.envelope import new_attempt_id
from droveway.contracts.inference import InferenceRequested
from droveway.dialects import dialect
from droveway.otel.context import format_traceparent
from droveway.router.journey import Journey
from droveway.router.routes import Candidate, Manner

_GATHERABLE = frozenset({dialect.CHAT, dialect.MESSAGES})


def call_of(
    journey: Journey,
    candidate: Candidate,
    manner: Manner,
    *,
    attempt: int,
    router: str,
    answer_to: str,
    remaining_ms: int,
    lease_ms: int,
    routed_ns: int,
) -> CallRouted:
    """One attempt at the journey's request.

    Args:
        journey: The request's way so far.
        candidate: Whom to ask, and how long that may take.
        manner: How its route wants it asked.
        attempt: Which one it is, from 1.
        router: Who dispatches it.
        answer_to: Its door's inbox.
        remaining_ms: Of the request's own time.
        lease_ms: Of its reservation.
        routed_ns: Now.
    """
    request = journey.request
    remaining_ms = min(remaining_ms, candidate.total_ms)
    return CallRouted(
        attempt_id=new_attempt_id(),
        attempt=attempt,
        request_id=request.request_id,
        relay_id=request.relay_id,
        router=router,
        door=request.door,
        answer_to=answer_to,
        traceparent=format_traceparent(journey.span),
        tenant=request.tenant,
        key_id=request.key_id,
        dialect=request.dialect,
        api_version=request.api_version,
        api_features=request.api_features,
        model=request.model,
        target=candidate.target,
        config=journey.config,
        channel=candidate.channel,
        stream=request.stream,
        include_usage=request.include_usage,
        body=request.body,
        gathered=manner.gathered and _is_gatherable(request),
        continuable=manner.continuable,
        continues=request.needs.continues,
        remaining_ms=remaining_ms,
        first_token_ms=min(candidate.first_token_ms, request.first_token_ms, remaining_ms),
        connect_ms=candidate.connect_ms,
        write_ms=candidate.write_ms,
        idle_ms=_shorter(candidate.idle_ms, request.idle_ms),
        lease_ms=lease_ms,
        received_ns=journey.received_ns,
        admitted_ns=journey.admitted_ns,
        routed_ns=routed_ns,
    )


def _is_gatherable(request: InferenceRequested) -> bool:
    """Whether a client wants a chat or a message whole, and pieces of it can be put together."""
    return not (request.stream or request.needs.audio) and request.dialect in _GATHERABLE


def _shorter(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)
