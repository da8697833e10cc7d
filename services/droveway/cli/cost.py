"""What an attempt has cost: as its row says, else by the same prices as the metrics service's."""

from decimal import Decimal

from droveway.contracts.config import Config
from droveway.contracts.usage import AttemptRecorded
from droveway.metrics.prices import PriceList

_NANO = Decimal(10) ** 9


class Costs:
    """The prices of one configuration; without one, those of the public list."""

    def __init__(self, config: Config | None) -> None:
        self._prices = PriceList(config or Config(providers=(), routes=()))

    def usd(self, attempt: AttemptRecorded) -> Decimal | None:
        """US dollars; None when nobody knows a price."""
        nano_usd = attempt.cost_nano_usd
        if nano_usd is None:
            rates = self._prices.rates(attempt.provider, attempt.model)
            nano_usd = None if rates is None else rates.cost_nano_usd(attempt.usage)
        return None if nano_usd is None else Decimal(nano_usd) / _NANO
