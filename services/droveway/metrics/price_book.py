"""The price book: what rows are priced by, and what is published of it for each provider."""

import logging
from collections.abc import Callable, Iterator

from droveway.contracts.config import Config
from droveway.contracts.envelope import encode
from droveway.contracts.patterns import best_match
from droveway.contracts.prices import ModelPrice, ProviderPrices
from droveway.otel.logs import log_event
from droveway.runtime.listed_prices import MAX_NAME_LENGTH
from droveway.runtime.price_resolver import PriceResolver

log = logging.getLogger(__name__)

MAX_SEEN_NAMES = 4_096
"""Per provider: names first seen in rows; clients choose names where a route takes any."""
MAX_VALUE_BYTES = 900 * 1024
"""One provider's value; what is over it is left out, names that clients chose first."""
_HEAD_BYTES = 1_024
"""Around the models: the provider's id, the default, the lengths."""


class PriceBook:
    """Prices names for the rows, and remembers those that the published values don't have."""

    def __init__(
        self,
        config: Config,
        max_seen_names: int = MAX_SEEN_NAMES,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        self._max_seen_names = max_seen_names
        self._max_value_bytes = max_value_bytes
        self.on_news: Callable[[], None] = lambda: None
        """Called in the loop: the next values have a name or a price that the last ones hadn't."""
        self._seen: dict[str, set[str]] = {}
        self._warned: dict[str, set[str]] = {}
        self._cut: set[str] = set()
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Another configuration is in force."""
        self._resolver = PriceResolver(config)
        self._warned.clear()
        self._published: dict[str, frozenset[str]] = {}
        self._cut.clear()
        self.on_news()

    def load(self) -> None:
        """Reads the bundled list: half a second, so it is called in a thread."""
        self._resolver.load()

    def price(self, provider: str, model: str, at_ns: int) -> ModelPrice:
        """What a row's tokens cost; a name that nobody knows costs the default, told once."""
        price = self._resolver.price(provider, model, at_ns)
        if price.source == "default":
            self._warn(provider, model)
        elif price.source != "config" and self._see(provider, model):
            self.on_news()
        return price

    def adopt(self, standing: ProviderPrices) -> None:
        """Names that another process, or this one before its restart, had seen in rows."""
        known = self._published.get(standing.provider, frozenset())
        for name in standing.models.keys() - known:
            if not name.endswith("*") and self._resolver.listed(standing.provider, name):
                self._see(standing.provider, name)

    @property
    def providers(self) -> tuple[str, ...]:
        """Those that are configured."""
        return self._resolver.providers

    def value(self, provider: str) -> ProviderPrices:
        """What is published: the operator's prices and names, the list's, then those of rows.

        Equal books give equal bytes.
        """
        configured = self._resolver.configured(provider)
        models = {name: configured[name] for name in sorted(configured)}
        for name in self._resolver.named(provider):
            if best_match(configured, name) is None and not self._add(provider, name, models):
                self._warn(provider, name)
        others = [*self._resolver.listed_names(provider), *sorted(self._seen.get(provider, ()))]
        for name in others:
            if best_match(configured, name.removesuffix("*")) is None:
                self._add(provider, name, models)
        fitting = dict(self._fitting(provider, models))
        self._published[provider] = frozenset(fitting)
        return ProviderPrices(provider=provider, models=fitting, default=self._resolver.default)

    def _add(self, provider: str, name: str, models: dict[str, ModelPrice]) -> bool:
        price = self._resolver.listed(provider, name.removesuffix("*"))
        if price is not None:
            models.setdefault(name, price)
        return price is not None

    def _fitting(
        self, provider: str, models: dict[str, ModelPrice]
    ) -> Iterator[tuple[str, ModelPrice]]:
        left = self._max_value_bytes - _HEAD_BYTES
        for number, (name, price) in enumerate(models.items()):
            left -= len(encode(name)) + len(encode(price))
            if left < 0:
                if provider not in self._cut:
                    self._cut.add(provider)
                    log_event(
                        log, "price_book_cut", level=logging.WARNING, provider=provider,
                        models=number, left_out=len(models) - number,
                        max_bytes=self._max_value_bytes,
                    )  # fmt: skip
                return
            yield name, price

    def _see(self, provider: str, model: str) -> bool:
        """Whether the next value of a configured provider has a name that the last one hadn't."""
        return (
            provider in self._resolver.providers
            and model not in self._published.get(provider, ())
            and len(model) <= MAX_NAME_LENGTH
            and self._remember(self._seen, provider, model)
        )

    def _warn(self, provider: str, model: str) -> None:
        if self._remember(self._warned, provider, model):
            rates = self._resolver.default.rates[0]
            log_event(
                log, "price_unknown", level=logging.WARNING, provider=provider,
                model=model[:MAX_NAME_LENGTH],
                default_input_usd_per_mtok=rates.input / 1e9,
                default_output_usd_per_mtok=rates.output / 1e9,
            )  # fmt: skip

    def _remember(self, names: dict[str, set[str]], provider: str, model: str) -> bool:
        """Whether it is new, and there was room for it."""
        known = names.setdefault(provider, set())
        if model in known or len(known) >= self._max_seen_names:
            return False
        known.add(model)
        return True
