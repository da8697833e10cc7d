"""What tokens cost, as integers, against decimals."""

from decimal import ROUND_CEILING, Decimal

from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts.config import LongPrice, Price
from droveway.contracts.prices import ModelPrice, Rates
from droveway.contracts.relay import Usage
from droveway.runtime.configured_prices import model_price, nano_usd

NANO = Decimal(10) ** 9
MILLION = Decimal(10) ** 6
DOLLARS = st.decimals(0, 1_000, places=6, allow_nan=False)
TOKENS = st.integers(0, 2_000_000)


@st.composite
def _usages(draw: st.DrawFn) -> Usage:
    total = draw(TOKENS)
    read = draw(st.integers(0, total))
    write = draw(st.integers(0, total - read))
    return Usage(total, draw(TOKENS), read, write, 0, False, draw(st.integers(0, write)))


@st.composite
def _prices(draw: st.DrawFn) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal]:
    return (draw(DOLLARS), draw(DOLLARS), draw(DOLLARS), draw(DOLLARS), draw(DOLLARS))


@given(_usages(), _prices(), st.integers(0, 1_000), st.booleans())
def test_the_cost_is_the_decimal_sum_rounded_up_once(
    used: Usage, usd: tuple[Decimal, ...], permille: int, batch: bool
) -> None:
    rates = Rates(0, *(nano_usd(one) for one in usd))
    price = ModelPrice(rates=(rates,), batch_permille=permille, source="config")
    plain = used.input_tokens - used.cache_read_tokens - used.cache_write_tokens
    kinds = (
        plain, used.output_tokens, used.cache_read_tokens,
        used.cache_write_tokens - used.cache_write_1h_tokens, used.cache_write_1h_tokens,
    )  # fmt: skip
    total = sum((count * one for count, one in zip(kinds, usd, strict=True)), Decimal(0)) / MILLION
    share = Decimal(permille) / 1_000 if batch else Decimal(1)
    expected = (total * share * NANO).to_integral_value(ROUND_CEILING)
    assert price.cost_nano_usd(used, batch=batch) == int(expected)


@given(_usages(), _prices())
def test_a_token_of_one_kind_is_not_counted_as_another_too(
    used: Usage, usd: tuple[Decimal, ...]
) -> None:
    """Prices in which only one kind costs anything add up to the whole."""
    rates = [nano_usd(one) for one in usd]
    alone = [
        ModelPrice(
            rates=(Rates(0, *(x if i == j else 0 for j, x in enumerate(rates))),), source="config"
        )
        for i in range(len(rates))
    ]
    whole = ModelPrice(rates=(Rates(0, *rates),), source="config").cost_nano_usd(used)
    parts = sum(price.cost_nano_usd(used) for price in alone)
    assert whole <= parts < whole + len(rates)


@given(st.tuples(TOKENS, TOKENS, TOKENS, TOKENS, TOKENS), _prices())
def test_no_usage_however_inconsistent_costs_less_than_nothing(
    counts: tuple[int, int, int, int, int], usd: tuple[Decimal, ...]
) -> None:
    total, output, read, write, write_1h = counts
    used = Usage(total, output, read, write, 0, False, write_1h)
    price = ModelPrice(rates=(Rates(0, *(nano_usd(one) for one in usd)),), source="config")
    assert price.cost_nano_usd(used) >= 0


@given(_usages(), _prices())
def test_a_cost_is_never_above_its_reservation(used: Usage, usd: tuple[Decimal, ...]) -> None:
    price = ModelPrice(rates=(Rates(0, *(nano_usd(one) for one in usd)),), source="config")
    if price.rates[0].cache_write_1h <= price.rates[0].cache_write:
        worst = price.worst_nano_usd(used.input_tokens, used.output_tokens)
        assert price.cost_nano_usd(used) <= worst


def test_a_configured_price_says_what_each_kind_costs() -> None:
    price = model_price(
        Price(
            input=3, output=15, cached_input=0.3, cache_write=3.75, cache_write_1h=6, batch=0.25,
            long=(LongPrice(above_input_tokens=1_000, input=6, output=22.5),),
        ),
        "config",
    )  # fmt: skip
    used = Usage(1_000, 500, 600, 100)
    assert price.cost_nano_usd(used) == 8_955_000
    assert price.cost_nano_usd(used, batch=True) == -(-8_955_000 // 4)
    assert price.cost_nano_usd(Usage(1_001, 1)) == 1_001 * 6_000 + 22_500


def test_kinds_that_are_left_out_cost_like_other_input() -> None:
    (rates,) = model_price(Price(input=1.1, output=0), "config").rates
    assert rates == Rates(0, 1_100_000_000, 0, *(1_100_000_000,) * 3)


def test_a_fraction_of_a_nano_dollar_is_rounded_up_once() -> None:
    price = model_price(Price(input=0.0001, output=0.0), "config")
    assert price.cost_nano_usd(Usage(1)) == 1
    assert price.cost_nano_usd(Usage(10_000)) == 1_000
