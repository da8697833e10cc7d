"""What models cost by all that a process has heard: the operator's prices go before the book's."""

from droveway.contracts.config import Config
from droveway.contracts.prices import ModelPrice, ProviderPrices
from droveway.runtime.configured_prices import ConfiguredPrices


class KnownPrices:
    """One configuration's prices, and those of each provider that the price book has."""

    def __init__(self) -> None:
        self._configured = ConfiguredPrices()
        self._books: dict[str, ProviderPrices] = {}

    def __bool__(self) -> bool:
        """Whether the price book has come."""
        return bool(self._books)

    @property
    def default(self) -> ModelPrice:
        """The price of what nobody knows."""
        return self._configured.default

    def configure(self, config: Config) -> None:
        """The operator's prices hold at once, whatever the book says."""
        self._configured = ConfiguredPrices(config)

    def take(self, provider: str, prices: ProviderPrices | None) -> None:
        """Takes a provider's prices; None: there are none any more."""
        if prices is None:
            self._books.pop(provider, None)
        else:
            self._books[provider] = prices

    def find(self, provider: str, model: str) -> ModelPrice | None:
        """What a model costs at a provider; None: its prices haven't come."""
        if (own := self._configured.find(provider, model)) is not None:
            return own
        book = self._books.get(provider)
        return None if book is None else book.of(model)
