"""Which price a name has: the operator's, the list's, or the default."""

from typing import Any

import msgspec
import pytest

from droveway.contracts.config import Config, Price, Provider, Route, RouteTarget, Tier
from droveway.contracts.prices import ModelPrice
from droveway.contracts.relay import Usage
from droveway.runtime.listed_prices import price_list
from droveway.runtime.price_resolver import PriceResolver

USED = Usage(10_000, 2_000, 6_000)
HALF = Price(input=0.5, output=0.5)


def config(prices: dict[str, Price] | None = None, **fields: Any) -> Config:
    provider = Provider(
        id=fields.pop("id", "p"),
        base_url=fields.pop("base_url", "https://p.test/v1"),
        kind=fields.pop("kind", ""),
        prices=prices or {},
    )
    tier = Tier(targets=(RouteTarget(provider=provider.id),))
    routes = (Route(model="*", tiers=(tier,)),)
    return Config(providers=(provider,), routes=routes, **fields)


def _input_usd(price: ModelPrice) -> float:
    return price.rates[0].input / 1e9


def test_a_configured_price_goes_before_the_list_at_its_provider_only() -> None:
    prices = PriceResolver(config({"gpt-4.1": HALF}))
    assert prices.price("p", "gpt-4.1").source == "config"
    assert prices.price("p", "gpt-4.1").cost_nano_usd(USED) == 12_000 * 500
    assert prices.price("other", "gpt-4.1").source == "genai-prices"


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("gpt-4o", 3),
        ("gpt-4o-mini", 2),
        ("gpt-4.1", 1),
        ("claude-sonnet-4-5", 0),
        ("unheard-of", 0),
    ],
)
def test_the_name_itself_goes_first_and_then_the_longest_pattern(model: str, usd: float) -> None:
    written = {"*": 0, "gpt-4*": 1, "gpt-4o*": 2, "gpt-4o": 3}
    prices = {name: Price(input=one, output=one) for name, one in written.items()}
    assert _input_usd(PriceResolver(config(prices)).price("p", model)) == usd


def test_a_machine_of_ones_own_has_the_default_price_unless_told_otherwise() -> None:
    free = {"*": Price(input=0, output=0)}
    for kind in ("llama-cpp", "vllm"):
        assert PriceResolver(config(kind=kind)).price("p", "gpt-4.1").source == "default"
        assert PriceResolver(config(free, kind=kind)).price("p", "gpt-4.1").cost_nano_usd(USED) == 0


def test_an_unknown_model_costs_eight_dollars_or_the_operators_default() -> None:
    assert PriceResolver().price("p", "unheard-of").cost_nano_usd(Usage(1, 1)) == 16_000
    told = PriceResolver(config(default_price=Price(input=1, output=2)))
    price = told.price("p", "unheard-of")
    assert (price.source, price.cost_nano_usd(Usage(1, 1))) == ("default", 3_000)


@pytest.mark.parametrize(
    ("fields", "model", "home"),
    [
        ({"kind": "gemini"}, "gemini-2.5-flash", "google"),
        ({"kind": "azure"}, "gpt-4.1", "openai"),
        ({"kind": "one-api"}, "gpt-4.1", "openai"),
        ({"kind": "siliconflow"}, "Pro/moonshotai/kimi-k2-thinking", "moonshotai"),
        ({"kind": "openrouter"}, "qwen/qwen3-max", "openrouter"),
        ({"base_url": "https://api.groq.com/openai/v1"}, "openai/gpt-oss-120b", "groq"),
        ({"id": "groq"}, "openai/gpt-oss-120b", "groq"),
        ({"kind": "deepseek", "id": "groq"}, "deepseek-chat", "deepseek"),
    ],
    ids=str,
)
def test_a_provider_is_found_by_kind_address_or_id(
    fields: dict[str, Any], model: str, home: str
) -> None:
    found = PriceResolver(config(**fields)).price(fields.get("id", "p"), model, 0)
    name = model if home in ("openrouter", "groq") else model.rpartition("/")[2]
    assert found == price_list().price(home, name, 0)


@pytest.mark.parametrize("kind", ["dashscope", "ark"])
def test_what_no_list_has_gets_the_default(kind: str) -> None:
    assert PriceResolver(config(kind=kind)).price("p", "qwen-max").source == "default"


def test_the_seeds_book_has_one_price_for_input_and_output() -> None:
    prices = PriceResolver(config({"mine": HALF}, price_book="seeds"))
    for model, usd in (
        ("gpt-4.1", 8.0), ("claude-sonnet-4.5", 15.0), ("claude-sonnet-4-5-20250929", 15.0),
        ("gemini-2.5-flash", 2.5), ("deepseek-v3.2", 0.42), ("deepseek/deepseek-v3.2", 0.42),
    ):  # fmt: skip
        price = prices.price("p", model)
        assert price.source == "seeds"
        assert price.cost_nano_usd(Usage(600, 400)) == round(usd * 1_000_000)
        assert price.cost_nano_usd(Usage(600, 0, 600)) == round(usd * 300_000)
    assert prices.price("p", "mine").source == "config"
    assert prices.price("p", "gpt-5").source == "default"


def test_the_configuration_names_listed_routed_and_aliased_models() -> None:
    one = config(aliases={"fast": "gpt-4o-mini"})
    named = msgspec.structs.replace(one.providers[0], models=("listed",))
    tiers = (Tier(targets=(RouteTarget(provider="p", model="asked"),)),)
    whole = msgspec.structs.replace(
        one,
        providers=(named,),
        routes=(
            *one.routes,
            Route(model="mine", tiers=tiers),
            Route(model="as-is", tiers=one.routes[0].tiers),
        ),
    )
    assert PriceResolver(whole).named("p") == ["as-is", "asked", "gpt-4o-mini", "listed"]
