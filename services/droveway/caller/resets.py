"""An operator resets a provider: this caller uses its credentials again at once."""

import logging

from droveway.caller.credential_limits import CredentialLimits
from droveway.contracts.envelope import MALFORMED, encode, is_inbox_of
from droveway.contracts.providers import ProvidersReset, ResetDone, question_decoder
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.news import publish_news
from droveway.runtime.rare_log import RareLog

log = logging.getLogger(__name__)
_bad_question = RareLog(log, "bad_question")

_ASKERS = frozenset({"gateway", "operator"})


class Resets:
    """One caller's part in it."""

    def __init__(self, bus: Bus, limits: CredentialLimits) -> None:
        self._bus = bus
        self._limits = limits

    def on_question(self, payload: bytes, reply: str) -> None:
        """Ends cooldowns; a single model has none, and how targets fare is told by routers."""
        try:
            question = question_decoder.decode(payload)
        except MALFORMED as error:
            _bad_question.warn(reason=str(error)[:200])
            return
        if not isinstance(question, ProvidersReset) or not is_inbox_of(reply, _ASKERS):
            return
        if not question.model:
            self._limits.reset(question.provider)
            log_event(log, "cooldowns_reset", provider=question.provider or "all")
        publish_news(self._bus, reply, encode(ResetDone(instance=self._bus.instance)))
