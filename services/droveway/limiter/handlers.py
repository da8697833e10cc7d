"""What comes on admission, settlement and standing: decoded and done by the owner only.

A standby remembers it undecoded. Only inboxes of those who may ask are answered.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from droveway.contracts import admission, settlement
from droveway.contracts.envelope import MALFORMED, encode, is_inbox_of
from droveway.contracts.settlement import Released, Renewed
from droveway.limiter.owner import Owner
from droveway.limiter.partition import Partition
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)

T = TypeVar("T")

_ASKERS = frozenset({"router"})
_OPERATORS = frozenset({"gateway", "operator"})


class QuestionStatistics(NamedTuple):
    """A snapshot for gauges."""

    malformed: int
    refused: int
    """Questions whose reply subject is no inbox of those who may ask."""


class Questions:
    """One partition's subjects; each handler runs in the read loop."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._bad_reply = RareLog(log, "bad_reply_subject")
        self._bad_message = RareLog(log, "bad_message")
        self._malformed = 0
        self._refused = 0

    def on_admission(self, payload: bytes, reply: str) -> None:
        """Takes one `AdmissionRequested`."""
        if self._may_ask(reply, _ASKERS):
            self._partition.hand(lambda owner: self._decide(owner, payload, reply))

    def on_settlement(self, payload: bytes, _reply: str) -> None:
        """Takes what became of what was reserved."""
        self._partition.hand(lambda owner: self._settle(owner, payload), asks=False)

    def on_standing(self, payload: bytes, reply: str) -> None:
        """Takes an operator's question."""
        if self._may_ask(reply, _OPERATORS):
            self._partition.hand(lambda owner: self._report(owner, payload, reply))

    def statistics(self) -> QuestionStatistics:
        """A snapshot for gauges."""
        return QuestionStatistics(malformed=self._malformed, refused=self._refused)

    def _decide(self, owner: Owner, payload: bytes, reply: str) -> None:
        request = self._decoded(admission.request_decoder.decode, payload)
        if request is not None:
            answer, ops = owner.decisions.decide(request, owner.now_ms())
            owner.answer(reply, encode(answer), ops)

    def _settle(self, owner: Owner, payload: bytes) -> None:
        message = self._decoded(settlement.settlement_decoder.decode, payload)
        if message is None:
            return
        if isinstance(message, Renewed):
            owner.decisions.renewed(message, owner.now_ms())
            return
        if isinstance(message, Released):
            ops = owner.decisions.released(message, owner.now_ms())
        else:
            ops = owner.decisions.settled(message, owner.now_ms())
        if ops:
            owner.record(ops)

    def _report(self, owner: Owner, payload: bytes, reply: str) -> None:
        asked = self._decoded(admission.standing_decoder.decode, payload)
        if asked is not None:
            report = owner.decisions.standing(asked, owner.now_ms())
            owner.answer(reply, encode(report))

    def _may_ask(self, reply: str, services: frozenset[str]) -> bool:
        if is_inbox_of(reply, services):
            return True
        self._refused += 1
        self._bad_reply.warn()
        return False

    def _decoded(self, decode: Callable[[bytes], T], payload: bytes) -> T | None:
        try:
            return decode(payload)
        except MALFORMED as error:
            self._malformed += 1
            self._bad_message.warn(reason=str(error)[:200])
            return None
