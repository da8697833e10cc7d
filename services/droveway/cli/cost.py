"""What an attempt has cost: as its row says, else by the same prices as the metrics service's."""

from decimal import Decimal
from typing import NamedTuple

from droveway.contracts.config import Config
from droveway.contracts.usage import AttemptRecorded
from droveway.runtime.price_resolver import PriceResolver

_NANO = Decimal(10) ** 9


class Cost(NamedTuple):
    """What was paid, and who says so."""

    usd: Decimal
    source: str
    """`row`, or where the price is from: `config`, `genai-prices` and so on."""


class Costs:
    """The prices of one configuration; without one, those of the public list."""

    def __init__(self, config: Config | None) -> None:
        self._prices = PriceResolver(config)

    def of(self, attempt: AttemptRecorded) -> Cost:
        """At the prices of the hour in which it began; `default` when nobody knows one."""
        if attempt.cost_nano_usd is not None:
            return Cost(Decimal(attempt.cost_nano_usd) / _NANO, "row")
        price = self._prices.price(attempt.provider, attempt.model, attempt.began_ns)
        return Cost(Decimal(price.cost_nano_usd(attempt.usage)) / _NANO, price.source)
