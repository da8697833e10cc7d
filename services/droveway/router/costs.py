"""What a request would cost at a target, for the strategy `cheapest`: an estimate to compare by."""

import asyncio
import functools
import logging
from typing import NamedTuple

from droveway.contracts.config import Config
from droveway.contracts.dispatch import Target
from droveway.contracts.envelope import NanoUsd
from droveway.contracts.inference import InferenceRequested
from droveway.contracts.jetstream import PRICES
from droveway.contracts.prices import ModelPrice, ProviderPrices
from droveway.contracts.relay import Usage
from droveway.otel.logs import log_event
from droveway.router.turn import expected_output_tokens
from droveway.runtime.bus import Bus, KvStatistics
from droveway.runtime.prices import LivePrices

log = logging.getLogger(__name__)

MAX_PRICES = 4_096
"""Where a route takes any model, clients choose the names; the one asked for longest ago goes."""


class CostStatistics(NamedTuple):
    """A snapshot for gauges."""

    prices: int
    """Those that were looked up since one of them last changed."""
    limit: int


class Costs:
    """The price book as it is now; a price is looked up once until one changes."""

    def __init__(self, bus: Bus) -> None:
        self._prices = LivePrices(bus, self._changed)
        self._price_of = functools.lru_cache(MAX_PRICES)(self._prices.price_of)

    def configure(self, config: Config) -> None:
        """The operator's prices hold at once, whatever the price book says."""
        self._prices.configure(config)
        self._price_of.cache_clear()

    async def run(self) -> None:
        """Follows the price book until cancelled."""
        await self._prices.run()

    async def until_loaded(self, within_s: float) -> None:
        """Waits until the price book is read; else the configuration's prices hold alone."""
        try:
            async with asyncio.timeout(within_s):
                await self._prices.loaded()
        except TimeoutError:
            log_event(
                log, "prices_not_loaded", level=logging.WARNING, bucket=PRICES, within_s=within_s
            )

    def expected(self, request: InferenceRequested, target: Target) -> NanoUsd:
        """What the request would cost there."""
        return expected_nano_usd(request, self._price_of(target.provider, target.model))

    def statistics(self) -> CostStatistics:
        """A snapshot for gauges."""
        return CostStatistics(prices=self._price_of.cache_info().currsize, limit=MAX_PRICES)

    def kv_statistics(self) -> KvStatistics:
        """How the bucket is followed."""
        return self._prices.statistics()

    def _changed(self, _provider: str, _prices: ProviderPrices | None) -> None:
        self._price_of.cache_clear()


def expected_nano_usd(request: InferenceRequested, price: ModelPrice) -> NanoUsd:
    """What it costs at this price with nothing cached; a long input has its own rates."""
    return price.cost_nano_usd(
        Usage(request.input_estimate_tokens, expected_output_tokens(request))
    )
