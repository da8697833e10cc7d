"""genai-prices' bundled list as integers: tiers, cached tokens, batches, prices by date and hour.

The list is imported late, at the first look into it: its half second and 40 MB are for metrics and
the command line, while all services import `runtime`. Nothing is fetched; a newer list comes with a
newer package. Prices per request, per search, of sound and of images have no place here.
Source: genai-prices 0.2.3, types.py (`ModelInfo.get_prices`, `TieredPrices`, `Provider.find_model`)
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from droveway.contracts.config import Price
from droveway.contracts.prices import ModelPrice, Rates
from droveway.runtime.configured_prices import model_price, nano_usd

if TYPE_CHECKING:
    from genai_prices import types

MAX_NAME_LENGTH = 256
"""A longer name isn't looked up: clients choose names where a route takes any."""
MAX_REMEMBERED = 16_384
"""Names whose place in the list is remembered."""
LAST_MINUTE = 253_402_300_799 // 60
"""The end of the year 9999, in minutes since 1970."""
_BATCH = {"processing": "batch"}
_PERMILLE = 1_000

_V3_2 = model_price(Price(input=0.28, output=0.42, cached_input=0.028, batch=1), "correction")
CORRECTIONS: Mapping[tuple[str, str], ModelPrice] = MappingProxyType(
    {
        ("deepseek", name): _V3_2
        for name in ("deepseek-chat", "deepseek-reasoner", "deepseek-v3.2", "deepseek-v3.2-exp")
    }
)
"""What the list has wrong, by its provider and the model's name in lower case.

Its `deepseek-chat` is the V3 of before September 2025 with a discount at night, and its V3.2 is
another seller's, without a price for cached input.
Source: api-docs.deepseek.com, "Models & Pricing" (V3.2)
"""


class PriceList:
    """The list; `home` is its id of the provider that is asked, empty for a relay."""

    def __init__(self) -> None:
        from genai_prices.data_snapshot import get_snapshot

        self._providers = get_snapshot().providers
        self._by_id = {provider.id: provider for provider in self._providers}
        self._find = functools.lru_cache(MAX_REMEMBERED)(self._look_for)
        self._price = functools.lru_cache(MAX_REMEMBERED)(self._price_at)

    def price(self, home: str, model: str, minute: int) -> ModelPrice | None:
        """At `home`, else from the model's maker; None when neither lists it.

        Args:
            home: Whose price is wanted first.
            model: As the provider knows it; `vendor/model` is also looked for without its vendor.
            minute: Since 1970, UTC: prices have a first day, and some an hour.
        """
        if not 0 < len(model) <= MAX_NAME_LENGTH:
            return None
        return self._price(home, model, max(0, min(minute, LAST_MINUTE)))

    def at_address(self, base_url: str) -> str:
        """The id of the provider whose API is at `base_url`; empty if it is nobody's."""
        for provider in self._providers:
            if re.match(provider.api_pattern, base_url):
                return provider.id
        return ""

    def has(self, provider: str) -> bool:
        """Whether the list has a provider of that id."""
        return provider in self._by_id

    def names(self, home: str) -> list[str]:
        """Names and beginnings of names, with a `*`, that it lists at `home`; of makers if none."""
        own = self._by_id.get(home)
        sources = (
            [provider for provider in self._providers if provider.model_match is not None]
            if own is None
            else [own, *(self._by_id[one] for one in own.fallback_model_providers or ())]
        )
        found = {name for (provider, name) in CORRECTIONS if provider in {p.id for p in sources}}
        for provider in sources:
            for model in provider.models:
                found.update((model.id, *_spellings(model.match)))
        return sorted(found)

    def _price_at(self, home: str, model: str, minute: int) -> ModelPrice | None:
        found = self._find(home, model)
        if found is None or isinstance(found, ModelPrice):
            return found
        return _model_price(found, datetime.fromtimestamp(minute * 60, UTC))

    def _look_for(self, home: str, model: str) -> "types.ModelInfo | ModelPrice | None":
        names = list(dict.fromkeys((model, model.rpartition("/")[2])))
        own = self._by_id.get(home)
        for provider in (own,) if own is not None else ():
            for name in names:
                if found := self._at(provider, name):
                    return found
        for name in filter(None, names):
            for provider in self._providers:
                makes = provider.model_match is not None and provider.model_match.is_match(name)
                if makes and (found := self._at(provider, name)):
                    return found
        return None

    def _at(self, provider: "types.Provider", name: str) -> "types.ModelInfo | ModelPrice | None":
        return CORRECTIONS.get((provider.id, name.lower())) or provider.find_model(
            name, all_providers=self._providers
        )


@functools.cache
def price_list() -> PriceList:
    """The one list; the first call takes half a second."""
    return PriceList()


class _Kinds(NamedTuple):
    """Dollars per million tokens from some length of the input on."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal


def _model_price(model: "types.ModelInfo", at: datetime) -> ModelPrice | None:
    plain = model.get_prices(at)
    if plain.input_mtok is None:
        return None  # sold by the second, the page or the picture
    return ModelPrice(
        rates=tuple(_rates(start, _kinds(plain, start)) for start in _starts(plain)),
        batch_permille=_batch_permille(_kinds(plain, 0), _kinds(model.get_prices(at, _BATCH), 0)),
        source="genai-prices",
    )


def _starts(prices: "types.ModelPrice") -> list[int]:
    """The lengths of input above which some price changes."""
    found = {0}
    for value in vars(prices).values():
        found.update(tier.start for tier in getattr(value, "tiers", ()))
    return sorted(found)


def _kinds(prices: "types.ModelPrice", start: int) -> _Kinds:
    """What isn't listed costs what its wider kind costs; output that isn't, as of an embedding, 0.

    Source: genai-prices, decompose.py: tokens of an unpriced unit are priced by its ancestor.
    """
    plain = _from(prices.input_mtok, start) or Decimal(0)
    read, write = _from(prices.cache_read_mtok, start), _from(prices.cache_write_mtok, start)
    write = plain if write is None else write
    write_1h = _from(prices.cache_write_1h_mtok, start)
    return _Kinds(
        input=plain,
        output=_from(prices.output_mtok, start) or Decimal(0),
        cache_read=plain if read is None else read,
        cache_write=write,
        cache_write_1h=write if write_1h is None else write_1h,
    )


def _from(price: "Decimal | types.TieredPrices | None", start: int) -> Decimal | None:
    if price is None or isinstance(price, Decimal):
        return price
    found = price.base
    for tier in price.tiers:
        if start and start >= tier.start:
            found = tier.price
    return found


def _rates(start: int, kinds: _Kinds) -> Rates:
    return Rates(start, *map(nano_usd, kinds))


def _batch_permille(plain: _Kinds, batch: _Kinds) -> int:
    """The dearer of input and output, so that a batch never costs more than told."""
    shares = [
        -(-later * _PERMILLE // sooner)
        for sooner, later in ((plain.input, batch.input), (plain.output, batch.output))
        if sooner
    ]
    return min(_PERMILLE, max(map(int, shares), default=_PERMILLE))


def _spellings(match: object) -> Iterator[str]:
    """The names that a rule of the list takes, and with a `*` the beginnings of names."""
    from genai_prices import types

    if isinstance(match, types.ClauseEquals):
        yield match.equals
    elif isinstance(match, types.ClauseStartsWith):
        yield f"{match.starts_with}*"
    elif isinstance(match, types.ClauseOr | types.ClauseAnd):
        inner: Iterable[object] = match.or_ if isinstance(match, types.ClauseOr) else match.and_
        for clause in inner:
            yield from _spellings(clause)
