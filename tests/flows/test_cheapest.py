"""`strategy: cheapest`: who charges least for the request at hand gets it, else the next one."""

from pathlib import Path

import msgspec

from droveway.contracts.config import Config, LongPrice, Price, Route, RouteTarget, Tier
from tests.support.flows import ask, each_once
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

LONG = LongPrice(above_input_tokens=2_000, input=4.0, output=18.0)
PRICES = {
    "upstream-1": Price(input=3.0, output=9.0),
    "upstream-2": Price(input=2.0, output=12.0, long=(LONG,)),
    "upstream-3": Price(input=5.0, output=6.0),
}
FAILS = "fault-503"


def _configure(config: Config) -> Config:
    prices = {name: {"*": price} for name, price in PRICES.items()}
    providers = (msgspec.structs.replace(one, prices=prices[one.id]) for one in config.providers)
    everyone = tuple(RouteTarget(provider=name) for name in PRICES)
    failing = msgspec.structs.replace(everyone[2], model=FAILS)
    routes = (
        Route(
            model="failing", tiers=(Tier(targets=(*everyone[:2], failing)),), strategy="cheapest"
        ),
        Route(model="*", tiers=(Tier(targets=everyone),), strategy="cheapest"),
    )
    return each_once(msgspec.structs.replace(config, providers=tuple(providers), routes=routes))


async def _served(stack: Stack, words: int, model: str = "numbered-5", **fields: int) -> str:
    async with stack.client() as client:
        got = await ask(client, chat_body(model, "word " * words, **fields))
    assert got.status == 200, got.text
    return got.headers["x-droveway-provider"]


async def test_the_price_of_the_request_at_hand_decides(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with running_stack(own_nats, tmp_path, simulators=3, configure=_configure) as stack:
        assert await _served(stack, 1_500, max_tokens=50) == "upstream-2", "input counts most"
        assert await _served(stack, 1_700, max_tokens=50) == "upstream-1", "a long input costs more"
        assert await _served(stack, 10, max_tokens=2_000) == "upstream-3", "output counts most"
        assert await _served(stack, 10) == "upstream-3", "without a bound it is expected to, too"
        assert await _served(stack, 10, "failing") == "upstream-1", "then the next cheapest"
