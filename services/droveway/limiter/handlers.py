"""One question, one decision."""

import logging
import time
from typing import NamedTuple

from droveway.contracts import admission
from droveway.contracts.envelope import MALFORMED, encode, is_inbox_of
from droveway.limiter.decisions import Decisions
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.errors import BusError
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)

_ASKERS = frozenset({"router"})


class QuestionStatistics(NamedTuple):
    """A snapshot for gauges."""

    malformed: int
    refused: int
    """Questions whose reply subject is no router's inbox."""


class Questions:
    """What comes on the limiter's subject; only inboxes of routers are answered."""

    def __init__(self, bus: Bus, decisions: Decisions) -> None:
        self._bus = bus
        self._decisions = decisions
        self._bad_reply = RareLog(log, "bad_reply_subject")
        self._bad_message = RareLog(log, "bad_message")
        self._malformed = 0
        self._refused = 0

    def on_message(self, payload: bytes, reply: str) -> None:
        """Answers one `AdmissionRequested`."""
        if not is_inbox_of(reply, _ASKERS):
            self._refused += 1
            self._bad_reply.warn()
            return
        try:
            request = admission.request_decoder.decode(payload)
        except MALFORMED as error:
            self._malformed += 1
            self._bad_message.warn(reason=str(error)[:200])
            return
        answer = self._decisions.decide(request, time.monotonic())
        try:
            self._bus.publish(reply, encode(answer))
        except BusError as error:
            log_event(log, "decision_unsent", level=logging.WARNING, reason=str(error))

    def statistics(self) -> QuestionStatistics:
        """A snapshot for gauges."""
        return QuestionStatistics(malformed=self._malformed, refused=self._refused)
