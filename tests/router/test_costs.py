"""The cheapest target of a tier is tried first, by what the request at hand would cost there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from droveway.contracts.config import Config, LongPrice, Price, Provider, Route, RouteTarget, Tier
from droveway.contracts.dispatch import Target
from droveway.contracts.envelope import encode
from droveway.contracts.inference import InferenceRequested
from droveway.contracts.prices import ProviderPrices
from droveway.router.costs import Costs, expected_nano_usd
from droveway.router.order import Order
from droveway.router.routes import RoutingTable
from droveway.router.turn import UNBOUNDED_OUTPUT_TOKENS
from droveway.runtime.bus import Bus
from droveway.runtime.configured_prices import ConfiguredPrices, model_price
from tests.support.nats import NatsServer, nats
from tests.support.requested import by_chance, requested
from tests.support.waiting import until

__all__ = ["nats"]

LONG = LongPrice(above_input_tokens=200_000, input=4.0, output=18.0)
PRICES = {
    "flat": Price(input=3.0, output=9.0),
    "long": Price(input=2.0, output=12.0, long=(LONG,)),
    "dear": Price(input=5.0, output=6.0),
}


def _config(prices: dict[str, Price], weights: dict[str, int] | None = None) -> Config:
    providers = tuple(
        Provider(id=name, base_url="https://p.test", prices={"m": price})
        for name, price in prices.items()
    )
    targets = tuple(
        RouteTarget(provider=name, weight=(weights or {}).get(name, 1)) for name in prices
    )
    route = Route(model="m", tiers=(Tier(targets=targets),), strategy="cheapest")
    return Config(providers=providers, routes=(route,))


def _tried(config: Config, request: InferenceRequested, order: Order | None = None) -> list[str]:
    prices = ConfiguredPrices(config)

    def cost(asked: InferenceRequested, target: Target) -> int:
        found = prices.find(target.provider, target.model) or prices.default
        return expected_nano_usd(asked, found)

    order = (order or by_chance())._replace(cost=cost)
    table = RoutingTable(config)
    return [one.target.provider for one in table.candidates(config.routes[0], "m", request, order)]


@pytest.mark.parametrize(
    ("input_tokens", "output_tokens", "expected"),
    [
        (100_000, 1_000, ["long", "flat", "dear"]),
        (200_000, 1_000, ["long", "flat", "dear"]),
        (200_001, 1_000, ["flat", "long", "dear"]),
        (1_000, 10_000, ["dear", "flat", "long"]),
        (1_000, None, ["dear", "flat", "long"]),
        (100_000, None, ["long", "flat", "dear"]),
    ],
    ids=["input", "just-short", "long", "output", "unbounded-short", "unbounded"],
)
def test_input_output_and_a_long_input_count(
    input_tokens: int, output_tokens: int | None, expected: list[str]
) -> None:
    request = requested(input_estimate_tokens=input_tokens, max_output_tokens=output_tokens)
    assert _tried(_config(PRICES), request) == expected


def test_an_answer_without_a_bound_is_taken_for_so_many_tokens_each_choice() -> None:
    price = model_price(Price(input=1.0, output=2.0), "config")
    request = requested(input_estimate_tokens=10, max_output_tokens=None, choices=3)
    assert expected_nano_usd(request, price) == 10 * 1_000 + 3 * UNBOUNDED_OUTPUT_TOKENS * 2_000


def test_targets_that_cost_the_same_are_tried_as_their_weights_say() -> None:
    same = {name: Price(input=1.0, output=1.0) for name in ("a", "b")}
    order = by_chance()
    config = _config(same, {"a": 3})
    first = [_tried(config, requested(), order)[0] for _ in range(400)]
    assert 260 < first.count("a") < 340


@asynccontextmanager
async def _following(bus: Bus, config: Config) -> AsyncIterator[Costs]:
    costs = Costs(bus)
    costs.configure(config)
    task = asyncio.create_task(costs.run())
    try:
        await costs.until_loaded(5)
        yield costs
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_prices_of_the_book_hold_at_once_and_the_configurations_before_them(
    nats: NatsServer,
) -> None:
    request = requested(input_estimate_tokens=1_000_000, max_output_tokens=0)
    listed, own = (
        Target(provider=name, credential="main", model="m") for name in ("listed", "dear")
    )
    config = _config({"dear": PRICES["dear"]})
    async with nats.bus("router") as bus, nats.bus("metrics") as publisher:

        async def publish(usd: float) -> None:
            price = model_price(Price(input=usd, output=usd), "genai-prices")
            default = model_price(config.default_price, "default")
            book = ProviderPrices(provider="listed", models={"m": price}, default=default)
            await publisher.request("$KV.prices.listed", encode(book), 5)

        async with _following(bus, config) as costs:
            assert costs.expected(request, listed) == 8 * 10**9, "unknown: the default"
            await publish(1.0)
            await until(lambda: costs.expected(request, listed) == 10**9)
            assert costs.statistics().prices == 1
            await publish(2.0)
            await until(lambda: costs.expected(request, listed) == 2 * 10**9)
            assert costs.expected(request, own) == 5 * 10**9
            costs.configure(_config({"dear": Price(input=6.0, output=6.0)}))
            assert costs.expected(request, own) == 6 * 10**9
            assert costs.kv_statistics().keys >= 1
