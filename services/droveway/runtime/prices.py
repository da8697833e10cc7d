"""The published price book as a service follows it: a price for each name, without any list.

configuration's own price --- else ---> bucket `prices` --- else ---> the default
"""

import logging
from collections.abc import Callable

from droveway.contracts.config import Config
from droveway.contracts.envelope import MALFORMED
from droveway.contracts.jetstream import PRICES
from droveway.contracts.prices import ModelPrice, ProviderPrices, prices_decoder
from droveway.otel.logs import log_event
from droveway.runtime.bus import Bus, KvStatistics, KvWatch
from droveway.runtime.known_prices import KnownPrices

log = logging.getLogger(__name__)

OnPrices = Callable[[str, ProviderPrices | None], None]
"""(provider, its prices or None when there are none any more)."""


class LivePrices:
    """Follows the bucket; until it is read, and where it has nothing, the default holds."""

    def __init__(self, bus: Bus, on_change: OnPrices) -> None:
        self._watch = KvWatch(bus, PRICES, self._fold)
        self._on_change = on_change
        self._known = KnownPrices()

    def configure(self, config: Config) -> None:
        """The operator's prices hold at once, whatever the bucket says."""
        self._known.configure(config)

    async def run(self) -> None:
        """Follows until cancelled; `on_change` runs in the loop and must not raise."""
        await self._watch.run()

    async def loaded(self) -> None:
        """Returns once everything that stood in the bucket is known."""
        await self._watch.loaded.wait()

    def price_of(self, provider: str, model: str) -> ModelPrice:
        """The price of `model` at `provider`; the default for a name that nobody knows."""
        return self._known.find(provider, model) or self._known.default

    def statistics(self) -> KvStatistics:
        """A snapshot for gauges."""
        return self._watch.statistics()

    def _fold(self, provider: str, payload: bytes | None, revision: int) -> None:
        if payload is None:
            self._known.take(provider, None)
            self._on_change(provider, None)
            return
        try:
            value = prices_decoder.decode(payload)
        except MALFORMED as error:
            log_event(
                log, "bad_prices", level=logging.ERROR, provider=provider, revision=revision,
                reason=str(error)[:200],
            )  # fmt: skip
            return  # the prices before stay in force
        self._known.take(provider, value)
        self._on_change(provider, value)
