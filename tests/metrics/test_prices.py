"""Prices as integers, against the list that they come from."""

from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage as Tokens
from genai_prices import calc_price

from droveway.contracts.config import Config, Price, Provider, Route, RouteTarget, Tier
from droveway.contracts.relay import Usage
from droveway.metrics.prices import PriceList

NANO = Decimal(1_000_000_000)
USED = Usage(input_tokens=10_000, output_tokens=2_000, cache_read_tokens=6_000)


def _prices(**prices: Price) -> PriceList:
    provider = Provider(id="openai", base_url="https://p.test", prices=prices)
    tier = Tier(targets=(RouteTarget(provider="openai"),))
    return PriceList(Config(providers=(provider,), routes=(Route(model="*", tiers=(tier,)),)))


def _cost(prices: PriceList, provider: str, model: str, used: Usage = USED) -> int | None:
    rates = prices.rates(provider, model)
    return None if rates is None else rates.cost_nano_usd(used)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4.1"),
        ("openai", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5"),
        ("our-own-name", "gpt-4.1"),
        ("our-own-name", "claude-sonnet-4-5"),
    ],
)
def test_known_models_cost_what_the_list_says_to_the_nano_dollar(provider: str, model: str) -> None:
    tokens = Tokens(input_tokens=10_000, output_tokens=2_000, cache_read_tokens=6_000)
    listed: Any = calc_price(tokens, model, provider_id=None if "own" in provider else provider)
    cost = _cost(_prices(), provider, model)
    assert isinstance(cost, int)
    assert cost == int(listed.total_price * NANO)


def test_a_configured_price_goes_before_the_list() -> None:
    prices = _prices(**{"gpt-4.1": Price(input=1.0, output=2.0, cached_input=0.1)})
    expected = 4_000 * 1_000 + 6_000 * 100 + 2_000 * 2_000
    assert _cost(prices, "openai", "gpt-4.1") == expected
    assert _cost(prices, "other", "gpt-4.1") != expected


def test_without_a_price_for_cached_tokens_they_cost_like_others() -> None:
    prices = _prices(mine=Price(input=1.0, output=0.0))
    assert _cost(prices, "openai", "mine") == 10_000 * 1_000


def test_a_free_model_costs_nothing_and_an_unknown_one_is_unknown() -> None:
    prices = _prices(free=Price(input=0.0, output=0.0))
    assert _cost(prices, "openai", "free") == 0
    assert _cost(prices, "openai", "no-such-model-9") is None


def test_a_fraction_of_a_nano_dollar_is_rounded_up_once() -> None:
    prices = _prices(mine=Price(input=0.0001, output=0.0))
    assert _cost(prices, "openai", "mine", Usage(input_tokens=1)) == 1
    assert _cost(prices, "openai", "mine", Usage(input_tokens=10_000)) == 1_000


def test_more_cached_than_input_tokens_cost_nothing_below_zero() -> None:
    prices = _prices(mine=Price(input=1.0, output=0.0, cached_input=0.0))
    used = Usage(input_tokens=1, cache_read_tokens=5)
    assert _cost(prices, "openai", "mine", used) == 0
