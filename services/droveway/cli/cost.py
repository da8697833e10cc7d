"""What an attempt has cost: as its row says, else by the same prices as the metrics service's."""

from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from droveway.cli.config import own_file
from droveway.cli.data_folder import DataFolder
from droveway.contracts.config import Config
from droveway.contracts.usage import AttemptRecorded
from droveway.runtime.config.file import load
from droveway.runtime.errors import SettingsError
from droveway.runtime.price_resolver import PriceResolver

_NANO = Decimal(10) ** 9


def own_config(data: Path) -> Config | None:
    """The configuration at hand, for its prices; rows are readable without."""
    try:
        return load(str(own_file() or DataFolder(data).config))
    except SettingsError:
        return None


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
