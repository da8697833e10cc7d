"""The price book: integers, one entry per provider and model, published by metrics to KV.

The bucket `prices` has one value per provider under its id, as msgpack. Money is nano-dollars
(10^-9 US dollars); rates are nano-dollars per million tokens, so one token of $2.50 per million is
2,500 exactly.
"""

from typing import Annotated, Literal

import msgspec

from droveway.contracts.envelope import Id, NanoUsd, Text, Tokens
from droveway.contracts.relay import Usage

Rate = Annotated[int, msgspec.Meta(ge=0, lt=2**60)]
"""Nano-dollars per million tokens."""
Source = Literal["config", "correction", "genai-prices", "seeds", "default"]
"""Where a price is from; a correction is ours, of what the list has wrong."""
_MILLION = 1_000_000
_PERMILLE = 1_000
_LONGEST_BEGINNING = 255
"""Characters before the `*`; a name of the configuration has at most 256."""


class Rates(msgspec.Struct, frozen=True, array_like=True):
    """What a million tokens of each kind cost, once the input is over so many tokens."""

    above_input_tokens: Tokens
    input: Rate
    output: Rate
    cache_read: Rate
    cache_write: Rate
    """Kept for five minutes."""
    cache_write_1h: Rate


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True):
    """One model of one provider; `rates` ascend, and the first is for any input."""

    rates: Annotated[tuple[Rates, ...], msgspec.Meta(min_length=1)]
    batch_permille: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 500
    """What a batch costs of the same: 500 is half."""
    source: Source

    def cost_nano_usd(self, usage: Usage, *, batch: bool = False) -> NanoUsd:
        """What these tokens cost, rounded up to a whole nano-dollar.

        `input_tokens` includes the cached and written ones.
        """
        rates = self.at(usage.input_tokens)
        written_1h = min(usage.cache_write_1h_tokens, usage.cache_write_tokens)
        plain = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
        total = (
            max(0, plain) * rates.input
            + usage.cache_read_tokens * rates.cache_read
            + (usage.cache_write_tokens - written_1h) * rates.cache_write
            + written_1h * rates.cache_write_1h
            + usage.output_tokens * rates.output
        )
        return (
            -(-total * self.batch_permille // (_MILLION * _PERMILLE))
            if batch
            else -(-total // _MILLION)
        )

    def worst_nano_usd(self, input_tokens: int, output_tokens: int) -> NanoUsd:
        """The most that so many tokens can cost: all input written to a cache, say."""
        rates = self.at(input_tokens)
        dearest = max(rates.input, rates.cache_read, rates.cache_write, rates.cache_write_1h)
        return -(-(input_tokens * dearest + output_tokens * rates.output) // _MILLION)

    def at(self, input_tokens: int) -> Rates:
        """The rates of a request with so much input."""
        found = self.rates[0]
        for rates in self.rates[1:]:
            if input_tokens > rates.above_input_tokens:
                found = rates
        return found


class ProviderPrices(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's value in the bucket."""

    provider: Id
    models: dict[Text, ModelPrice]
    """By the names that the provider knows them by; one that ends with `*` is for all that begin
    so: the name itself goes first, then the longest that fits."""
    default: ModelPrice
    """For a name that isn't there; never zero by itself."""

    def of(self, model: str) -> ModelPrice:
        """The price of the name itself, else of the longest beginning, else the default."""
        if (found := self.models.get(model)) is not None:
            return found
        for length in range(min(len(model), _LONGEST_BEGINNING), -1, -1):
            if (found := self.models.get(f"{model[:length]}*")) is not None:
                return found
        return self.default


prices_decoder = msgspec.msgpack.Decoder(ProviderPrices)
