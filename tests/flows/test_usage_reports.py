"""Requests through the whole system, and what is told of them: by HTTP, by report, by bill."""

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.cli import ports
from droveway.contracts.access import Admin, Tenant
from droveway.contracts.config import Config, Price
from droveway.contracts.jetstream import USAGE
from droveway.contracts.reports import BillAsked, ReportAsked
from droveway.metrics.ledger.database import Database
from droveway.metrics.upkeep.check import Checking
from droveway.otel.names import METRIC_COST, METRIC_COST_CNY
from droveway.runtime.access_store import tenants_store
from droveway.runtime.api_key import hash_key, make_key, parse_key
from droveway.runtime.audit_trail import local_author
from droveway.runtime.bus.direct_get import reading
from droveway.runtime.config.file import load
from droveway.runtime.reports import ask_bill, ask_report
from tests.support.flows import CHAT, samples
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

ADMIN = make_key("admin")
WITHIN_S = 10.0


def configured(config: Config) -> Config:
    admin = Admin(id="vera", sha256=hash_key(ADMIN))
    prices = {"*": Price(input=1, output=2)}
    providers = tuple(msgspec.structs.replace(one, prices=prices) for one in config.providers)
    return msgspec.structs.replace(config, admins=(admin,), providers=providers)


async def told(stack: Stack, path: str, key: str = "", requests: int = 0) -> Any:
    """An answer, once it tells of so many requests."""
    until_s = time.monotonic() + WITHIN_S
    async with stack.client(headers={"authorization": f"Bearer {key or stack.key}"}) as client:
        while True:
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
            if answer.json()["total_requests"] >= requests:
                return answer.json()
            assert time.monotonic() < until_s, answer.text
            await asyncio.sleep(0.1)


async def test_what_was_used_is_told_alike_everywhere(own_nats: NatsServer, tmp_path: Path) -> None:
    async with running_stack(own_nats, tmp_path, configure=configured) as stack:
        async with stack.client() as client:
            whole = await client.post(CHAT, json=chat_body())
            streamed = await client.post(
                CHAT, json=chat_body(stream=True, stream_options={"include_usage": True})
            )
        assert (whole.status_code, streamed.status_code) == (200, 200)
        usage = whole.json()["usage"]
        cost = await told(stack, "/api/cost", requests=2)
        stats = await told(stack, "/api/stats", requests=2)
        every = await told(stack, "/api/cost", ADMIN, requests=2)
        now_ms = time.time_ns() // 1_000_000
        asked = ReportAsked(by=("mode",), since_ms=now_ms - 1_000, until_ms=now_ms)
        async with own_nats.bus("operator") as bus:
            report = await ask_report(bus, asked, 5)
            bill = await ask_bill(bus, BillAsked(request_id=whole.headers["x-request-id"]), 5)
            async with reading(bus, USAGE, 5) as reader:
                ledger = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
                checked = await Checking(ledger, reader, now_ms, 86_400_000).run()
                await ledger.close()
    nano = usage["prompt_tokens"] * 1_000 + usage["completion_tokens"] * 2_000
    assert bill.cost_nano_usd == nano
    assert [line.kind for line in bill.attempts[0].lines] == ["input", "output"]
    assert cost["key_id"] == parse_key(stack.key).id
    assert cost["total_tokens"] == 2 * usage["total_tokens"]
    assert cost["estimated_cost_usd"] == 2 * nano / 1e9
    (line,) = every["data"]
    assert line["estimated_cost_usd"] == cost["estimated_cost_usd"]
    assert stats["success_count"] == 2
    assert stats["cost"]["total_usd"] == 2 * nano / 1e9
    assert {line.group for line in report.lines} == {("streaming",), ("whole",)}
    assert report.total.cost_nano_usd == 2 * nano
    assert all(line.measures.p50_us for line in report.lines)
    assert (checked.wrong, checked.rows) == ({}, 4)


async def test_a_stored_tenants_own_rate_is_what_its_costs_are_shown_at(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with running_stack(own_nats, tmp_path, configure=configured) as stack:
        (key,) = load(str(stack.config_path)).keys
        tenant = Tenant(id=key.tenant, usd_cny=2.0)
        async with own_nats.bus("operator") as bus, stack.client() as client:
            await tenants_store(bus).create(tenant, local_author())
            await client.post(CHAT, json=chat_body())
            until_s = time.monotonic() + WITHIN_S
            while (seen := (await told(stack, "/api/cost", requests=1)))[
                "estimated_cost_cny"
            ] != pytest.approx(2 * seen["estimated_cost_usd"]):
                assert time.monotonic() < until_s, seen
                await asyncio.sleep(0.1)
    port = ports.free()
    environment = {"DROVEWAY_METRICS_ADMIN_PORT": str(port)}
    async with running_stack(own_nats, tmp_path, environment=environment):
        async with asyncio.timeout(WITHIN_S):
            while not (total := await samples(port))(METRIC_COST):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert total(METRIC_COST_CNY) == pytest.approx(2 * total(METRIC_COST)), "from the start"
