"""Prices as integers: nano-dollars per million tokens, resolved once per provider and model."""

import logging
from collections import OrderedDict
from decimal import Decimal
from typing import Any, NamedTuple

from droveway.contracts.config import Config, Price
from droveway.contracts.relay import Usage
from droveway.otel.logs import log_event

log = logging.getLogger(__name__)

_NANO = 1_000_000_000
_MILLION = 1_000_000


MAX_RESOLVED = 4_096
"""Models whose price is remembered; clients choose names where a route takes any."""


class Rates(NamedTuple):
    """Nano-dollars per million tokens."""

    input: int
    output: int
    cache_read: int
    cache_write: int

    def cost_nano_usd(self, usage: Usage) -> int:
        """What these tokens cost; `input_tokens` includes the cached and written ones."""
        plain = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
        total = (
            max(0, plain) * self.input
            + usage.cache_read_tokens * self.cache_read
            + usage.cache_write_tokens * self.cache_write
            + usage.output_tokens * self.output
        )
        return -(-total // _MILLION)


class PriceList:
    """The configuration's prices, else genai-prices' bundled ones; None for an unknown model."""

    def __init__(self, config: Config) -> None:
        self._overrides = {
            (provider.id, model): _from_config(price)
            for provider in config.providers
            for model, price in provider.prices.items()
        }
        self._resolved: OrderedDict[tuple[str, str], Rates | None] = OrderedDict()

    def rates(self, provider: str, model: str) -> Rates | None:
        """The rates of a provider's model."""
        key = (provider, model)
        if key not in self._resolved:
            self._resolved[key] = self._overrides.get(key) or _bundled(provider, model)
            if self._resolved[key] is None:
                log_event(
                    log, "price_unknown", level=logging.WARNING, provider=provider, model=model
                )
            if len(self._resolved) > MAX_RESOLVED:
                self._resolved.popitem(last=False)
        return self._resolved[key]


def _from_config(price: Price) -> Rates:
    cached = price.input if price.cached_input is None else price.cached_input
    return Rates(_nano(price.input), _nano(price.output), _nano(cached), _nano(price.input))


def _bundled(provider: str, model: str) -> Rates | None:
    """Rates found by pricing a million tokens of each kind.

    genai-prices knows context tiers and dates; the exact book comes with budgets.
    """
    # 120 ms of imports that only a model without an own price pays.
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    for provider_id in (provider, None):
        try:
            base: Any = calc_price(
                Tokens(input_tokens=1000, output_tokens=1000), model, provider_id=provider_id
            )
            cached: Any = calc_price(
                Tokens(input_tokens=1000, cache_read_tokens=1000), model, provider_id=provider_id
            )
            written: Any = calc_price(
                Tokens(input_tokens=1000, cache_write_tokens=1000), model, provider_id=provider_id
            )
        except LookupError:
            continue
        thousandfold = Decimal(1000)
        return Rates(
            _nano(base.input_price * thousandfold),
            _nano(base.output_price * thousandfold),
            _nano(cached.input_price * thousandfold),
            _nano(written.input_price * thousandfold),
        )
    return None


def _nano(usd_per_million: float | Decimal) -> int:
    return round(Decimal(str(usd_per_million)) * _NANO)
