"""One question, one decision."""

import logging
import time
from collections.abc import Callable

from droveway.contracts import admission
from droveway.contracts.envelope import MALFORMED, encode, is_inbox_of
from droveway.limiter.decisions import Decisions
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError

log = logging.getLogger(__name__)

_ASKERS = frozenset({"router"})


def decide(bus: Bus, decisions: Decisions) -> Callable[[bytes, str], None]:
    """The callback for `AdmissionRequested`; answers only inboxes of routers."""

    def on_message(payload: bytes, reply: str) -> None:
        if not is_inbox_of(reply, _ASKERS):
            log_event(log, "bad_reply_subject", level=logging.WARNING)
            return
        try:
            request = admission.request_decoder.decode(payload)
        except MALFORMED as error:
            log_event(log, "bad_message", level=logging.WARNING, reason=str(error)[:200])
            return
        answer = decisions.decide(request, time.monotonic())
        try:
            bus.publish(reply, encode(answer))
        except BusError as error:
            log_event(log, "decision_unsent", level=logging.WARNING, reason=str(error))

    return on_message
