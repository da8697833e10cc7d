"""Tells operators how targets fare as this router sees it, and starts anew when they say so."""

import logging

import msgspec

from droveway.contracts.envelope import encode
from droveway.contracts.providers import ProvidersAsked, ProvidersReset, ResetDone
from droveway.otel.logs import log_event
from droveway.router.providers import Providers
from droveway.runtime.bus import Bus
from droveway.runtime.news import publish_news
from droveway.runtime.provider_questions import question_of

log = logging.getLogger(__name__)


class ProviderDesk:
    """One router's answers."""

    def __init__(self, bus: Bus, providers: Providers) -> None:
        self._bus = bus
        self._providers = providers

    def on_question(self, payload: bytes, reply: str) -> None:
        """Answers, where it is a gateway or an operator that asks."""
        question = question_of(payload, reply)
        match question:
            case ProvidersAsked():
                self._answer(reply, self._providers.seen(question.provider))
            case ProvidersReset(provider=provider, model=model):
                self._providers.reset(question)
                log_event(log, "targets_reset", provider=provider or "all", model=model or "all")
                self._answer(reply, ResetDone(instance=self._bus.instance))

    def _answer(self, reply: str, answer: msgspec.Struct) -> None:
        publish_news(self._bus, reply, encode(answer))
