"""Asking the limiter, again while it is silent: it counts a request once, however often asked."""

import asyncio
import logging
import time
from collections.abc import Callable

from droveway.contracts import admission
from droveway.contracts.envelope import MALFORMED, encode
from droveway.contracts.errors import failure
from droveway.contracts.inference import InferenceRequested
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)
_limiter_silent = RareLog(log, "limiter_silent")

decode: Callable[[bytes], admission.Decision] = admission.decision_decoder.decode
_LONGEST_WAIT_S = 0.8


async def admit(
    bus: Bus,
    request: InferenceRequested,
    model: str,
    remaining_ms: int,
    within_ms: int = admission.DECIDE_WITHIN_MS,
    on_silence: Callable[[], None] = lambda: None,
    *,
    places: tuple[admission.Place, ...] = (),
    attempt: int = 1,
) -> admission.Decision:
    """The limiter's decision; denied with `limiter_unavailable` when there is none in time.

    Args:
        bus: Where to ask.
        request: What wants to run.
        model: The name that is routed for it.
        remaining_ms: How long its client still waits.
        within_ms: How long to go on asking.
        on_silence: Called after each question that wasn't answered.
        places: The targets that would serve it, in order of preference.
        attempt: Above 1 for a further target of a request that was admitted.
    """
    until_s = time.monotonic() + min(within_ms, remaining_ms) / 1000
    wait_s = admission.DECIDE_WITHIN_MS / 1000
    question = encode(_question(bus, request, model, remaining_ms, places, attempt))
    subject = admission.admission_subject(admission.PARTITION)
    while True:
        asked_s = time.monotonic()
        try:
            return decode(await bus.request(subject, question, wait_s))
        except (BusError, *MALFORMED) as error:
            _limiter_silent.warn(reason=str(error)[:200])
        on_silence()
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return admission.Denied(
                request_id=request.request_id,
                failure=failure("limiter_unavailable", retry_after_ms=1_000),
            )
        # Nobody there, or garbage: known at once, and not to be asked again as fast.
        await asyncio.sleep(min(left_s, max(0.0, asked_s + wait_s - time.monotonic())))
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _question(
    bus: Bus,
    request: InferenceRequested,
    model: str,
    remaining_ms: int,
    places: tuple[admission.Place, ...],
    attempt: int,
) -> admission.AdmissionRequested:
    return admission.AdmissionRequested(
        request_id=request.request_id,
        router=bus.instance,
        ask=request.ask,
        instead_of=request.instead_of,
        key_id=request.key_id,
        tenant=request.tenant,
        model=model,
        input_tokens=request.input_estimate_tokens,
        max_output_tokens=request.max_output_tokens,
        choices=request.choices,
        remaining_ms=remaining_ms,
        places=places,
        attempt=attempt,
    )
