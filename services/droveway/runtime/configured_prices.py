"""The configuration's own prices as integers: those of its providers, and the default."""

from decimal import ROUND_HALF_EVEN, Decimal

from droveway.contracts.config import Config, LongPrice, Price
from droveway.contracts.patterns import best_match
from droveway.contracts.prices import ModelPrice, Rates, Source

_NANO = Decimal(10) ** 9
_PERMILLE = 1_000
BUILT_IN_DEFAULT = Price(input=8.0, output=8.0)
"""Until a configuration says another."""


class ConfiguredPrices:
    """What the operator has written goes before any list."""

    def __init__(self, config: Config | None = None) -> None:
        providers = config.providers if config is not None else ()
        self.of_provider: dict[str, dict[str, ModelPrice]] = {
            provider.id: {
                model: model_price(price, "config") for model, price in provider.prices.items()
            }
            for provider in providers
        }
        """By provider, then by model or pattern."""
        default = config.default_price if config is not None else BUILT_IN_DEFAULT
        self.default = model_price(default, "default")

    def find(self, provider: str, model: str) -> ModelPrice | None:
        """The price of the name itself, else of the longest pattern; None without any."""
        prices = self.of_provider.get(provider)
        pattern = best_match(prices, model) if prices else None
        return None if prices is None or pattern is None else prices[pattern]


def model_price(price: Price, source: Source) -> ModelPrice:
    """Dollars as the configuration has them, in nano-dollars per million tokens."""
    return ModelPrice(
        rates=(_rates(0, price), *(_rates(one.above_input_tokens, one) for one in price.long)),
        batch_permille=round(price.batch * _PERMILLE),
        source=source,
    )


def nano_usd(usd: float | Decimal) -> int:
    """Dollars in nano-dollars; a float means the decimal number that it is written as."""
    exact = usd if isinstance(usd, Decimal) else Decimal(repr(usd))
    return int((exact * _NANO).to_integral_value(ROUND_HALF_EVEN))


def _rates(above_input_tokens: int, price: Price | LongPrice) -> Rates:
    write = price.input if price.cache_write is None else price.cache_write
    return Rates(
        above_input_tokens=above_input_tokens,
        input=nano_usd(price.input),
        output=nano_usd(price.output),
        cache_read=nano_usd(price.input if price.cached_input is None else price.cached_input),
        cache_write=nano_usd(write),
        cache_write_1h=nano_usd(write if price.cache_write_1h is None else price.cache_write_1h),
    )
