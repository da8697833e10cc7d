"""The bundled list as integers, against the list's own arithmetic in decimals."""

from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal

import pytest
from genai_prices import Usage as Tokens
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, Provider
from hypothesis import given
from hypothesis import strategies as st

from droveway.contracts.prices import Rates
from droveway.contracts.relay import Usage
from droveway.runtime.listed_prices import LAST_MINUTE, MAX_NAME_LENGTH, price_list

NANO = Decimal(10) ** 9
NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()) // 60
MAKERS = ("openai", "anthropic", "google", "deepseek", "moonshotai", "zhipuai", "x-ai", "mistral")
TOKEN_UNITS = {
    *("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok"),
}


def _dollars(above: int, *usd: str) -> Rates:
    """Input, output, read, written for 5 minutes, written for an hour."""
    return Rates(above, *(int(Decimal(one) * NANO) for one in usd))


@pytest.mark.parametrize(
    ("home", "model", "rates", "batch_permille"),
    [
        ("openai", "gpt-4o", [_dollars(0, "2.5", "10", "1.25", "2.5", "2.5")], 500),
        ("openai", "gpt-4.1", [_dollars(0, "2", "8", "0.5", "2", "2")], 500),
        (
            "anthropic",
            "claude-sonnet-4-5",
            [
                _dollars(0, "3", "15", "0.3", "3.75", "6"),
                _dollars(200_000, "6", "22.5", "0.6", "7.5", "12"),
            ],
            500,
        ),
        ("google", "gemini-2.5-flash", [_dollars(0, "0.3", "2.5", "0.03", "0.3", "0.3")], 500),
        ("deepseek", "deepseek-chat", [_dollars(0, "0.28", "0.42", "0.028", "0.28", "0.28")], 1000),
        (
            "openai",
            "text-embedding-3-small",
            [_dollars(0, "0.02", "0", "0.02", "0.02", "0.02")],
            1000,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_costs_what_its_maker_asks(
    home: str, model: str, rates: list[Rates], batch_permille: int
) -> None:
    price = price_list().price(home, model, NOON)
    assert price is not None
    assert list(price.rates) == rates
    assert price.batch_permille == batch_permille


def test_the_long_price_begins_above_its_limit_and_holds_for_all_tokens() -> None:
    price = price_list().price("anthropic", "claude-sonnet-4-5", NOON)
    assert price is not None
    at, above = Usage(200_000, 10), Usage(200_001, 10)
    assert price.cost_nano_usd(at) == 200_000 * 3_000 + 10 * 15_000
    assert price.cost_nano_usd(above) == 200_001 * 6_000 + 10 * 22_500


def _models() -> list[tuple[Provider, ModelInfo]]:
    at = datetime.fromtimestamp(NOON * 60, UTC)
    return [
        (provider, model)
        for provider in get_snapshot().providers
        if provider.id in MAKERS
        for model in provider.models
        if model.get_prices(at).input_mtok is not None
        and not any("reasoning" in key for key in vars(model.get_prices(at)))
    ]


MODELS = _models()
COUNTS = st.integers(0, 300_000)


@given(st.integers(0, len(MODELS) - 1), st.tuples(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS))
def test_any_usage_of_any_makers_model_costs_the_lists_sum_rounded_up(
    number: int, counts: tuple[int, int, int, int, int]
) -> None:
    provider, model = MODELS[number]
    plain, read, write_5m, write_1h, output = counts
    at = datetime.fromtimestamp(NOON * 60, UTC)
    prices = model.get_prices(at)
    used = Usage(
        plain + read + write_5m + write_1h, output, read, write_5m + write_1h, 0, False, write_1h
    )
    kinds = {
        "input_tokens": used.input_tokens,
        "output_tokens": output,
        "cache_read_tokens": read,
        "cache_write_tokens": used.cache_write_tokens,
        "cache_write_1h_tokens": write_1h,
    }
    own = price_list().price(provider.id, model.id, NOON)
    if price_list()._find(provider.id, model.id) is not model:
        return  # no rule of the list takes this name, or another one takes it first
    assert own is not None
    if own.source == "correction":
        return
    tokens_only = type(prices)(**{k: v for k, v in vars(prices).items() if k in TOKEN_UNITS})
    expected = tokens_only.calc_price(Tokens(**kinds))["total_price"] * NANO
    assert own.cost_nano_usd(used) == int(expected.to_integral_value(ROUND_CEILING))


def test_no_listed_price_loses_a_digit_at_the_makers() -> None:
    for _, model in MODELS:
        for value in vars(model.get_prices(datetime.now(UTC))).values():
            for price in (value, *(tier.price for tier in getattr(value, "tiers", ()))):
                usd = getattr(price, "base", price)
                assert usd * NANO == int(usd * NANO), model.id


def test_a_discount_by_the_hour_holds_in_its_hours_only() -> None:
    def input_rate(hour: int) -> int:
        minute = int(datetime(2026, 11, 23, hour, 30, tzinfo=UTC).timestamp()) // 60
        price = price_list().price("deepseek", "deepseek-v4-pro", minute)
        assert price is not None
        return price.rates[0].input

    assert input_rate(8) == 2 * input_rate(12)


def test_a_price_with_a_first_day_holds_from_that_day_on() -> None:
    def output_rate(month: int) -> int:
        minute = int(datetime(2026, month, 1, 12, tzinfo=UTC).timestamp()) // 60
        price = price_list().price("deepseek", "deepseek-v4-flash", minute)
        assert price is not None
        return price.rates[0].output

    assert (output_rate(8), output_rate(9), output_rate(10)) == (
        280_000_000, 660_000_000, 600_000_000,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("home", "model", "maker"),
    [
        ("", "gpt-4.1", "openai"),
        ("", "claude-sonnet-4-5-20250929", "anthropic"),
        ("", "openai/gpt-4.1", "openai"),
        ("", "deepseek-ai/DeepSeek-V3.2", "deepseek"),
        ("openrouter", "deepseek/no-such-one/deepseek-chat", "deepseek"),
        ("openai", "claude-sonnet-4-5", "anthropic"),
        ("azure", "gpt-4.1", "openai"),
    ],
)
def test_a_relay_asks_what_the_maker_asks(home: str, model: str, maker: str) -> None:
    name = model.rpartition("/")[2]
    assert price_list().price(home, model, NOON) == price_list().price(maker, name, NOON)


@pytest.mark.parametrize("model", ["", "qwen-unheard-of", "x" * (MAX_NAME_LENGTH + 1), "whisper-1"])
def test_what_is_not_listed_or_not_sold_by_the_token_has_no_price(model: str) -> None:
    assert price_list().price("openai", model, NOON) is None


@pytest.mark.parametrize("minute", [-5, 0, LAST_MINUTE, 2**70])
def test_any_time_that_a_row_may_tell_has_a_price(minute: int) -> None:
    assert price_list().price("deepseek", "deepseek-v4-pro", minute) is not None


def test_a_provider_is_known_by_its_address() -> None:
    assert price_list().at_address("https://api.groq.com/openai/v1") == "groq"
    assert price_list().at_address("https://relay.example.com/v1") == ""


def test_the_names_of_a_provider_are_those_that_its_rules_take() -> None:
    names = price_list().names("openai")
    assert {"gpt-4o", "gpt-4o-2024-08-06", "gpt-4.1", "text-embedding-3-small"} <= {*names}
    assert "claude-sonnet-4-5*" in price_list().names("anthropic")
    assert {"gpt-4o", "claude-sonnet-4-5*", "deepseek-v3.2"} <= {*price_list().names("")}
