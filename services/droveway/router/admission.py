"""Asking the limiter: once, and once more when it doesn't answer."""

import logging
from collections.abc import Callable

from droveway.contracts import admission
from droveway.contracts.envelope import encode
from droveway.contracts.errors import failure
from droveway.contracts.inference import InferenceRequested
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError

log = logging.getLogger(__name__)

decode: Callable[[bytes], admission.Admitted | admission.Denied] = admission.decision_decoder.decode
PARTITION = 0
_TRIES = 2


async def admit(
    bus: Bus, request: InferenceRequested, remaining_ms: int
) -> admission.Admitted | admission.Denied:
    """The limiter's decision; denied with `limiter_unavailable` when there is none."""
    question = encode(
        admission.AdmissionRequested(
            request_id=request.request_id,
            key_id=request.key_id,
            tenant=request.tenant,
            model=request.model,
            input_tokens=request.input_estimate_tokens,
            max_output_tokens=request.max_output_tokens,
            remaining_ms=remaining_ms,
        )
    )
    for _ in range(_TRIES):
        try:
            answer = await bus.request(
                admission.admission_subject(PARTITION), question, admission.DECIDE_WITHIN_MS / 1000
            )
            return decode(answer)
        except BusError as error:
            log_event(log, "limiter_silent", level=logging.WARNING, reason=str(error))
    return admission.Denied(
        request_id=request.request_id,
        failure=failure("limiter_unavailable", retry_after_ms=1_000),
    )
