"""Providers and models that operators have switched off: they get nothing."""

import logging
from collections.abc import Iterable

from droveway.contracts.envelope import MALFORMED
from droveway.contracts.providers import ENTRIES, ProviderSwitch, switch_decoder, switched_off
from droveway.otel.logs import log_event
from droveway.router.routes import Candidate
from droveway.runtime.routing_orders import RoutingOrders

log = logging.getLogger(__name__)


class Switches:
    """Those in force; the bucket `routing` has them, so they outlive every process."""

    def __init__(self) -> None:
        self._present: dict[str, ProviderSwitch] = {}

    def follow(self, orders: RoutingOrders) -> None:
        """Takes what the bucket has, and each change."""
        orders.listen(ENTRIES, self.take)

    def take(self, provider: str, value: bytes | None) -> None:
        """An entry as it is now; of one that can't be read the one before stays."""
        try:
            switch = None if value is None else switch_decoder.decode(value)
        except MALFORMED as error:
            log_event(
                log, "provider_switch_unreadable", level=logging.ERROR,
                provider=provider[:80], reason=str(error)[:200],
            )  # fmt: skip
            return
        if switch is None or not switched_off(switch):
            self._present.pop(provider, None)
        else:
            self._present[provider] = switch

    def off(self, provider: str, model: str) -> bool:
        """Whether the target gets nothing."""
        switch = self._present.get(provider)
        return switch is not None and switch.disables(model)

    def all_off(self, provider: str) -> bool:
        """Whether the provider is off as a whole."""
        switch = self._present.get(provider)
        return switch is not None and switch.state == "disabled"

    def allowed(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """The candidates that may get requests, in their order."""
        return [one for one in candidates if not self.off(one.target.provider, one.target.model)]
