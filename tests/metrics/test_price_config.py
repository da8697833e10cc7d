"""What is refused of the configuration's prices, and in which words."""

import pytest

from droveway.contracts.config import Config, Price
from droveway.runtime.config.file import parse
from droveway.runtime.errors import SettingsError

GOOD = """
providers:
  - id: p
    base_url: https://p.test/v1
    prices: {PRICES}
routes: [{model: "*", tiers: [{targets: [{provider: p}]}]}]
"""
MINE = "providers[0].prices.mine"


def _parsed(prices: str = "{}", rest: str = "") -> Config:
    return parse((GOOD.replace("{PRICES}", prices) + rest).encode(), "f")


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ("{mine: {input: -1, output: 1}}", ("prices[...].input", ">= 0")),
        ("{mine: {input: 1}}", ("output",)),
        ("{mine: {input: 1, output: 1, cached: 1}}", ("unknown field `cached`",)),
        ("{mine: {input: .inf, output: 1}}", ("<= 1000000",)),
        ("{mine: {input: .nan, output: 1}}", ("$.providers[0].prices[...].input",)),
        ("{mine: {input: 1, output: 1, batch: 2}}", ("batch", "<= 1")),
        ("{'a*b': {input: 1, output: 1}}", ("providers[0].prices.a*b", "at the end")),
        ("{'': {input: 1, output: 1}}", ("length",)),
        (
            "{mine: {input: 1, output: 1, long: [{above_input_tokens: 9, input: 1, output: 1}, "
            "{above_input_tokens: 9, input: 1, output: 1}]}}",
            (f"{MINE}.long[1].above_input_tokens", "9 isn't more than the 9", "shortest first"),
        ),
    ],
)
def test_a_wrong_price_is_refused_with_place_and_advice(prices: str, said: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError) as caught:
        _parsed(prices)
    for part in said:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("default_price: {input: 0, output: 0}", ("default_price: 0 would", '{"*": {input: 0')),
        ("default_price: {input: -1, output: 0}", ("$.default_price.input",)),
        ("price_book: flat", ("flat", "$.price_book")),
    ],
)
def test_a_wrong_default_or_book_is_refused(rest: str, said: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError) as caught:
        _parsed(rest=rest)
    for part in said:
        assert part in str(caught.value)


def test_what_is_right_is_taken() -> None:
    told = _parsed(
        "{'*': {input: 0, output: 0}, 'gpt-4*': {input: 1, output: 2, cached_input: 0.1, "
        "cache_write: 1.25, cache_write_1h: 2, batch: 1, "
        "long: [{above_input_tokens: 200000, input: 2, output: 3}]}}",
        "price_book: seeds\ndefault_price: {input: 1, output: 1}",
    )
    assert told.providers[0].prices["*"] == Price(input=0, output=0)
    assert (told.price_book, told.default_price) == ("seeds", Price(input=1, output=1))
    assert _parsed().default_price == Price(input=8, output=8)
    assert _parsed().price_book == "real"
