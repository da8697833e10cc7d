"""The row of an attempt whose caller died before commit: nobody but its router can tell of it."""

from droveway.contracts.dispatch import CallRouted
from droveway.contracts.relay import Usage
from droveway.contracts.usage import AttemptRecorded, AttemptTimes
from droveway.otel.context import TraceContext, child, format_traceparent


def lost_attempt(
    call: CallRouted, caller: str, span: TraceContext, input_tokens: int, ended_ns: int
) -> AttemptRecorded:
    """What is known of it: its provider may have read the whole input, and bills it then.

    Args:
        call: What its caller was given.
        caller: Who had started it.
        span: The router's own, above the attempt's.
        input_tokens: An estimate of what was sent.
        ended_ns: When the caller was found to be gone.
    """
    return AttemptRecorded(
        attempt_id=call.attempt_id,
        request_id=call.request_id,
        attempt=call.attempt,
        traceparent=format_traceparent(child(span)),
        tenant=call.tenant,
        key_id=call.key_id,
        caller=caller,
        witness=call.router,
        router=call.router,
        provider=call.target.provider,
        credential=call.target.credential,
        model=call.target.model,
        asked_model=call.model,
        channel=call.channel,
        stream=call.stream,
        outcome="failed",
        code="provider_no_response",
        request_sent=True,
        usage=Usage(input_tokens, 0, estimated=True),
        received_ns=call.received_ns,
        admitted_ns=call.admitted_ns,
        routed_ns=call.routed_ns,
        began_ns=call.routed_ns,
        times=AttemptTimes(ended_us=max(0, ended_ns - call.routed_ns) // 1000),
    )
