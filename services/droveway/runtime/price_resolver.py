"""One price for each name: the configuration's, else the list's, else the default; never none.

Metrics and the command line price by it, so that both come to the same cost; they may not import
each other, therefore it is here. All others read what metrics publishes (`runtime.prices`).
"""

import functools
import time
from collections.abc import Mapping
from types import MappingProxyType

from droveway.contracts.config import Config, Price
from droveway.contracts.patterns import best_match, covers
from droveway.contracts.prices import ModelPrice
from droveway.runtime.configured_prices import ConfiguredPrices, model_price
from droveway.runtime.listed_prices import price_list

LISTED_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "openai": "openai",
        "anthropic": "anthropic",
        "deepseek": "deepseek",
        "gemini": "google",
        "moonshot": "moonshotai",
        "zhipu": "zhipuai",
        "minimax": "minimax",
        "azure": "azure",
        "openrouter": "openrouter",
    }
)
"""Our kinds of providers by their ids in the list; the others are relays, or aren't listed."""
OWN_MACHINES = frozenset({"llama-cpp", "vllm"})
"""What a model costs on a machine of one's own no list knows, whoever made it."""
_MINUTE_NS = 60 * 10**9


def _flat(usd: float) -> ModelPrice:
    return model_price(Price(input=usd, output=usd, cached_input=usd / 2), "seeds")


SEEDS: Mapping[str, ModelPrice] = MappingProxyType(
    {
        "gpt-4.1": _flat(8.0),
        "claude-sonnet-4.5*": _flat(15.0),
        "claude-sonnet-4-5*": _flat(15.0),
        "gemini-2.5-flash": _flat(2.5),
        "deepseek-v3.2*": _flat(0.42),
        "deepseek-chat": _flat(0.42),
        "gpt-4o": model_price(Price(input=2.5, output=10.0, cached_input=1.25), "seeds"),
    }
)
"""Per token whichever kind it is, half of it if cached: what `price_book: seeds` counts.

They are the output prices of their models, so this costs four to five times what the makers ask.
"""


class PriceResolver:
    """The prices of one configuration; without one, those of the list."""

    def __init__(self, config: Config | None = None) -> None:
        self._configured = ConfiguredPrices(config)
        self._seeds = config is not None and config.price_book == "seeds"
        self._providers = {one.id: one for one in config.providers} if config is not None else {}
        self._home = functools.lru_cache(1_024)(self._find_home)
        self._names = _named(config) if config is not None else {}

    @property
    def default(self) -> ModelPrice:
        """Of names that nobody knows."""
        return self._configured.default

    @property
    def providers(self) -> tuple[str, ...]:
        """Those of the configuration."""
        return (*self._providers,)

    def price(self, provider: str, model: str, at_ns: int | None = None) -> ModelPrice:
        """What `model` costs at `provider`, at a time (Unix nanoseconds; None: now)."""
        found = self._configured.find(provider, model) or self.listed(provider, model, at_ns)
        return found or self.default

    def configured(self, provider: str) -> Mapping[str, ModelPrice]:
        """The operator's prices, by name or pattern."""
        return self._configured.of_provider.get(provider, {})

    def listed(self, provider: str, model: str, at_ns: int | None = None) -> ModelPrice | None:
        """The price of the book that the configuration has chosen; None if it isn't there."""
        if self._seeds:
            pattern = best_match(SEEDS, model.lower().rpartition("/")[2])
            return None if pattern is None else SEEDS[pattern]
        home = self._home(provider)
        if home is None:
            return None
        minute = (time.time_ns() if at_ns is None else at_ns) // _MINUTE_NS
        return price_list().price(home, model, minute)

    def named(self, provider: str) -> list[str]:
        """The models that the configuration names at a provider."""
        return sorted(self._names.get(provider, ()))

    def listed_names(self, provider: str) -> list[str]:
        """Names and patterns that the chosen book has for a provider."""
        if self._seeds:
            return sorted(SEEDS)
        home = self._home(provider)
        return [] if home is None else price_list().names(home)

    def load(self) -> None:
        """Reads the list now: half a second that the first question would wait for."""
        if not self._seeds:
            price_list()

    def _find_home(self, provider_id: str) -> str | None:
        """The provider's id in the list; empty for a relay, None where no list can know."""
        provider = self._providers.get(provider_id)
        if provider is not None:
            if provider.kind in OWN_MACHINES:
                return None
            if provider.kind:
                return LISTED_KINDS.get(provider.kind, "")
            if at := price_list().at_address(provider.base_url):
                return at
        return provider_id if price_list().has(provider_id) else ""


def _named(config: Config) -> dict[str, set[str]]:
    """Names by provider: listed there, targets of routes, or what an alias leads to."""
    found = {provider.id: {*provider.models} for provider in config.providers}
    for route in config.routes:
        asked = {name for name in config.aliases.values() if covers(route.model, name)}
        if not route.model.endswith("*"):
            asked.add(route.model)
        for tier in route.tiers:
            for target in tier.targets:
                found.setdefault(target.provider, set()).update(
                    {target.model} if target.model else asked
                )
    return found
