"""Limits and budgets of tenants, models and providers' keys, beside those of a client's key."""

import asyncio
import time
from pathlib import Path

import httpx
import msgspec
import pytest

from droveway.contracts.access import Budget, Key, Limit, Tenant
from droveway.contracts.config import Config, Price
from droveway.runtime.api_key import hash_key, make_key, parse_key
from tests.support.flows import ask, only_first
from tests.support.nats import NatsServer
from tests.support.simulator import MESSAGES, chat_body, message_body
from tests.support.stack import Stack, running_stack

PER_MINUTE_2 = (Limit(requests=2, window_s=60),)


def _entry(key: str, tenant: str = "default", **more: object) -> Key:
    return Key(id=parse_key(key).id, sha256=hash_key(key), tenant=tenant, **more)  # type: ignore[arg-type]


def _client(stack: Stack, key: str) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30)


async def test_keys_of_a_tenant_share_its_limit(own_nats: NatsServer, tmp_path: Path) -> None:
    one, two, stranger = (make_key("test") for _ in range(3))

    def configure(config: Config) -> Config:
        keys = (_entry(one, "team"), _entry(two, "team"), _entry(stranger, "other"))
        tenants = (Tenant(id="team", limits=PER_MINUTE_2), Tenant(id="other"))
        return only_first(msgspec.structs.replace(config, keys=keys, tenants=tenants))

    async with (
        running_stack(own_nats, tmp_path, configure=configure) as stack,
        _client(stack, one) as first,
        _client(stack, two) as second,
        _client(stack, stranger) as third,
    ):
        assert [(await ask(each, chat_body())).status for each in (first, second)] == [200, 200]
        for each in (first, second):
            denied = await ask(each, chat_body())
            assert denied.status == 429
            assert "(tenant: 2 used, 1 asked for)" in denied.error["message"]
        assert (await ask(third, chat_body())).status == 200


async def test_an_alias_is_no_way_round_a_models_limit(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    def configure(config: Config) -> Config:
        limits = (Limit(requests=2, window_s=60, model="numbered-7"),)
        aliases = {"seven": "numbered-7"}
        return only_first(msgspec.structs.replace(config, limits=limits, aliases=aliases))

    async with (
        running_stack(own_nats, tmp_path, configure=configure) as stack,
        stack.client() as client,
    ):
        for model, status in (("numbered-7", 200), ("seven", 200), ("seven", 429)):
            assert (await ask(client, chat_body(model))).status == status
        denied = await ask(client, chat_body("numbered-7"))
        assert "(model: 2 used" in denied.error["message"]
        assert (await ask(client, chat_body("numbered-8"))).status == 200


@pytest.mark.parametrize("providers", [1, 2])
async def test_a_providers_key_takes_no_more_than_it_grants(
    own_nats: NatsServer, tmp_path: Path, providers: int
) -> None:
    def configure(config: Config) -> Config:
        first, *others = config.providers
        credential = msgspec.structs.replace(first.credentials[0], limits=PER_MINUTE_2)
        first = msgspec.structs.replace(first, credentials=(credential,))
        return msgspec.structs.replace(config, providers=(first, *others))

    async with (
        running_stack(own_nats, tmp_path, simulators=providers, configure=configure) as stack,
        stack.client() as client,
    ):
        got = [await ask(client, chat_body()) for _ in range(4)]
        assert stack.simulators[0].book.totals.requests == 2
        if providers == 2:
            assert [one.status for one in got] == [200] * 4
            assert stack.simulators[1].book.totals.requests == 2
        else:
            assert [one.status for one in got] == [200, 200, 503, 503]
            assert got[2].error["code"] == "provider_busy"
            assert int(got[2].headers["retry-after"]) >= 55


async def test_a_budget_that_is_spent_says_so_in_either_api(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    rich, poor = make_key("test"), make_key("test")

    def configure(config: Config) -> Config:
        prices = {"*": Price(input=0.0, output=1_000.0)}
        providers = tuple(msgspec.structs.replace(one, prices=prices) for one in config.providers)
        keys = (
            _entry(rich, budgets=(Budget(usd=5.0),)),
            _entry(poor, budgets=(Budget(usd=0.012, period="day"),)),
        )
        return only_first(msgspec.structs.replace(config, keys=keys, providers=providers))

    async with (
        running_stack(own_nats, tmp_path, configure=configure) as stack,
        _client(stack, rich) as wealthy,
        _client(stack, poor) as client,
    ):
        await _until_priced(wealthy)
        served = stack.simulator.book.totals.requests
        got = [await ask(client, chat_body(max_tokens=5)) for _ in range(3)]  # $0.005 each
        assert [one.status for one in got] == [200, 200, 429]
        assert got[2].error["type"] == "insufficient_quota"
        assert got[2].error["code"] == "insufficient_quota"
        assert "$0.012 (day)" in got[2].error["message"]
        assert got[2].headers["x-should-retry"] == "false"
        assert "retry-after" not in got[2].headers
        anthropic = await client.post(MESSAGES, json=message_body(max_tokens=5))
        assert (anthropic.status_code, anthropic.json()["error"]["type"]) == (402, "billing_error")
        assert (await ask(wealthy, chat_body(max_tokens=5))).status == 200
        assert stack.simulator.book.totals.requests == served + 3


async def _until_priced(client: httpx.AsyncClient) -> None:
    """A budget lets nothing pass while prices aren't known."""
    until_s = time.monotonic() + 5
    while (got := await ask(client, chat_body())).status != 200:
        assert (got.status, got.error["code"]) == (503, "limiter_unavailable")
        assert time.monotonic() < until_s, got
        await asyncio.sleep(0.05)
