"""An operator resets a provider: this caller uses its credentials again at once."""

import logging

from droveway.caller.credential_limits import CredentialLimits
from droveway.contracts.envelope import encode
from droveway.contracts.providers import ProvidersReset, ResetDone
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus
from droveway.runtime.news import publish_news
from droveway.runtime.provider_questions import question_of

log = logging.getLogger(__name__)


class Resets:
    """One caller's part in it."""

    def __init__(self, bus: Bus, limits: CredentialLimits) -> None:
        self._bus = bus
        self._limits = limits

    def on_question(self, payload: bytes, reply: str) -> None:
        """Ends cooldowns; a single model has none, and how targets fare is told by routers."""
        question = question_of(payload, reply)
        if not isinstance(question, ProvidersReset):
            return
        if not question.model:
            self._limits.reset(question.provider)
            log_event(log, "cooldowns_reset", provider=question.provider or "all")
        publish_news(self._bus, reply, encode(ResetDone(instance=self._bus.instance)))
