"""What the metrics service prices rows by, and what it publishes."""

import logging
from typing import Any

import msgspec
import pytest

from droveway.contracts.config import Config, Price, Provider, Route, RouteTarget, Tier
from droveway.contracts.envelope import encode
from droveway.contracts.prices import ProviderPrices, prices_decoder
from droveway.contracts.relay import Usage
from droveway.metrics.price_book import MAX_SEEN_NAMES, MAX_VALUE_BYTES, PriceBook
from droveway.runtime.listed_prices import MAX_NAME_LENGTH

NOW_NS = 1_795_000_000 * 10**9


def config(prices: dict[str, Price] | None = None, model: str = "*", **fields: Any) -> Config:
    provider = Provider(id="p", base_url="https://p.test/v1", prices=prices or {}, **fields)
    tier = Tier(targets=(RouteTarget(provider="p"),))
    return Config(providers=(provider,), routes=(Route(model=model, tiers=(tier,)),))


class News:
    """A book whose news are counted from its first value on."""

    def __init__(self, told: Config, max_seen_names: int = MAX_SEEN_NAMES) -> None:
        self.count = 0
        self.book = PriceBook(told, max_seen_names)
        self.book.value("p")
        self.book.on_news = self._heard

    def _heard(self) -> None:
        self.count += 1


def _warnings(caplog: pytest.LogCaptureFixture, event: str = "price_unknown") -> list[Any]:
    return [record for record in caplog.records if record.message == event]


def test_a_name_nobody_knows_costs_the_default_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    book = PriceBook(config())
    for _ in range(3):
        price = book.price("p", "unheard-of", NOW_NS)
        assert (price.source, price.cost_nano_usd(Usage(1))) == ("default", 8_000)
    assert len(_warnings(caplog)) == 1
    assert _warnings(caplog)[0].levelno == logging.WARNING


def test_a_configured_name_without_a_price_is_told_before_any_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    book = PriceBook(config(model="mine", kind="vllm"))
    assert book.value("p").models == {}
    book.value("p")
    assert len(_warnings(caplog)) == 1


def test_names_of_clients_cant_flood_the_log_or_the_book(
    caplog: pytest.LogCaptureFixture,
) -> None:
    news = News(config(), max_seen_names=10)
    for number in range(100):
        news.book.price("p", f"unheard-{number}", NOW_NS)
        news.book.price("p", f"vendor-{number}/gpt-4o", NOW_NS)
    assert len(_warnings(caplog)) == 10
    assert news.count == 10
    news.book.price("p", "claude-sonnet-4-5" + "x" * MAX_NAME_LENGTH, NOW_NS)
    assert news.count == 10


def test_a_name_first_seen_in_a_row_is_in_the_next_value() -> None:
    news = News(config())
    name = "vendor/claude-sonnet-4-5"
    assert name not in news.book.value("p").models
    for _ in range(2):
        news.book.price("p", name, NOW_NS)
    assert news.count == 1
    assert news.book.value("p").models[name].rates[0].input == 3_000_000_000
    news.book.price("p", name, NOW_NS)
    assert news.count == 1


def test_rows_of_a_provider_that_is_gone_are_priced_and_not_published() -> None:
    news = News(config())
    assert news.book.price("openai", "gpt-4o", NOW_NS).source == "genai-prices"
    assert news.count == 0


def test_the_value_has_the_operators_prices_and_none_of_the_list_beneath_them() -> None:
    models = PriceBook(config({"gpt-*": Price(input=1, output=1)})).value("p").models
    assert [name for name in models if name.startswith("gpt-")] == ["gpt-*"]
    assert "claude-sonnet-4-5*" in models
    everything = PriceBook(config({"*": Price(input=0, output=0)})).value("p").models
    assert [*everything] == ["*"]


def test_equal_books_give_equal_bytes_that_decode_to_the_same() -> None:
    first, second = (PriceBook(config(kind="openrouter")).value("p") for _ in range(2))
    assert encode(first) == encode(second)
    assert prices_decoder.decode(encode(first)) == first
    assert len(first.models) > 500
    assert len(encode(first)) < MAX_VALUE_BYTES


def test_a_value_that_is_too_big_keeps_what_the_operator_wrote_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    book = PriceBook(config({"mine": Price(input=1, output=1)}), max_value_bytes=4_096)
    for _ in range(2):
        value = book.value("p")
        assert "mine" in value.models
        assert len(encode(value)) <= 4_096
    assert len(_warnings(caplog, "price_book_cut")) == 1


def test_what_another_process_had_seen_is_adopted() -> None:
    news = News(config())
    value = news.book.value("p")
    known = value.models["gpt-4o"]
    others = dict.fromkeys(("vendor/gpt-4o", "vendor/unheard-of", "vendor*", "gpt-4.1"), known)
    news.book.adopt(msgspec.structs.replace(value, models=others))
    adopted = news.book.value("p").models
    assert adopted.keys() - value.models.keys() == {"vendor/gpt-4o"}


def test_a_published_value_prices_by_name_then_longest_beginning_then_default() -> None:
    written = {"*": 0, "gpt-4*": 1, "gpt-4o*": 2, "gpt-4o": 3}
    told = {name: Price(input=usd, output=usd) for name, usd in written.items()}
    value = PriceBook(config(told)).value("p")
    asked = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "other", "gpt-4" + "x" * 4_000, "")
    assert [value.of(name).rates[0].input // 10**9 for name in asked] == [3, 2, 1, 0, 1, 0]
    del told["*"]
    assert PriceBook(config(told, kind="vllm")).value("p").of("other").source == "default"


def test_a_new_configuration_is_news_and_holds_at_once() -> None:
    news = News(config())
    news.book.configure(config({"gpt-4o": Price(input=1, output=1)}))
    assert news.count == 1
    assert news.book.price("p", "gpt-4o", NOW_NS).source == "config"


def test_the_default_is_published_beside_the_models() -> None:
    told = msgspec.structs.replace(config(), default_price=Price(input=1, output=2))
    value = PriceBook(told).value("p")
    assert isinstance(value, ProviderPrices)
    assert (value.default.rates[0].output, value.default.source) == (2_000_000_000, "default")
