"""What types can't say of the configuration's prices."""

from collections.abc import Iterator

from droveway.contracts.config import Config, Price


def price_findings(config: Config) -> Iterator[str]:
    """Stars inside names, long prices out of order, and a default that costs nothing."""
    for index, provider in enumerate(config.providers):
        for model, price in provider.prices.items():
            place = f"providers[{index}].prices.{model}"
            if "*" in model[:-1]:
                yield f"{place}: * may only stand at the end of a name"
            yield from _order_findings(place, price)
    yield from _order_findings("default_price", config.default_price)
    if not (config.default_price.input or config.default_price.output):
        yield (
            "default_price: 0 would make every model free that isn't known, and its budgets "
            'endless; write prices: {"*": {input: 0, output: 0}} at the providers that are free'
        )


def _order_findings(place: str, price: Price) -> Iterator[str]:
    last = 0
    for index, one in enumerate(price.long):
        if one.above_input_tokens <= last:
            yield (
                f"{place}.long[{index}].above_input_tokens: {one.above_input_tokens} isn't more "
                f"than the {last} before it; write the shortest first"
            )
        last = one.above_input_tokens
