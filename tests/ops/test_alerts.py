"""The whole way of an alert: provider, counters, Prometheus, Alertmanager, webhook, and back.

The files are the repository's own; only their durations are divided, 5 minutes become 5 seconds,
and the targets and the webhook's address are written in.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import yaml

from droveway.cli import ports
from droveway.contracts.config import Config, Price
from tests.support.monitoring import (
    PROMETHEUS,
    Webhook,
    alertmanager,
    hastened,
    prometheus,
    webhook,
    write_alertmanager,
    write_prometheus,
)
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

pytestmark = [pytest.mark.ops, pytest.mark.timeout(120)]

TIMES = 60
PER_S = 20
HEARD_WITHIN_S = 40
SERVICES = ("gateway", "router", "limiter", "caller", "metrics")
GOOD, BAD = "numbered-5", "fault-503"


class Watched:
    """A running stack with somebody who asks all the time, and those who look on."""

    def __init__(self, stack: Stack, url: str, heard: Webhook) -> None:
        self.stack = stack
        self.url = url
        self.heard = heard
        self.model = GOOD
        self.statuses: list[int] = []

    async def keep_asking(self) -> None:
        """Sends `PER_S` requests per second for the model that is wanted at the time."""
        async with self.stack.client() as client, asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._ask(client))
                await asyncio.sleep(1 / PER_S)

    async def _ask(self, client: httpx.AsyncClient) -> None:
        body = chat_body(self.model, stream=True)
        answer = await client.post("/v1/chat/completions", json=body)
        self.statuses.append(answer.status_code)

    async def api(self, path: str, **query: str) -> Any:
        """An answer of Prometheus's API."""
        async with httpx.AsyncClient(base_url=self.url) as client:
            answer = await client.get(f"/api/v1/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def until_true(self, expr: str) -> None:
        """Waits until an expression has an answer."""
        async with asyncio.timeout(HEARD_WITHIN_S):
            while not (await self.api("query", query=expr))["result"]:  # noqa: ASYNC110
                await asyncio.sleep(0.2)

    async def firing(self) -> set[str]:
        """Names of the alerts that fire now."""
        found = (await self.api("alerts"))["alerts"]
        return {one["labels"]["alertname"] for one in found if one["state"] == "firing"}


@asynccontextmanager
async def watched(nats: NatsServer, folder: Path) -> AsyncIterator[Watched]:
    admin = {name: ports.free() for name in SERVICES}
    told = {f"DROVEWAY_{name.upper()}_ADMIN_PORT": str(port) for name, port in admin.items()}
    told["DROVEWAY_METRICS_DATABASE"] = f"sqlite:///{folder}/ledger.db"
    jobs = {
        "droveway-gateway": [admin["gateway"]],
        "droveway": [port for name, port in admin.items() if name != "gateway"],
    }
    async with (
        running_stack(nats, folder, configure=_priced, environment=told) as stack,
        webhook() as heard,
    ):
        with ExitStack() as programs:
            manager = write_alertmanager(folder / "alertmanager", heard.url, TIMES)
            to = await asyncio.to_thread(programs.enter_context, alertmanager(manager))
            config = write_prometheus(folder / "prometheus", jobs, to, TIMES)
            url = await asyncio.to_thread(programs.enter_context, prometheus(config))
            world = Watched(stack, url, heard)
            asking = asyncio.create_task(world.keep_asking())
            try:
                yield world
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)


def _priced(config: Config) -> Config:
    prices = {name: Price(input=1, output=2) for name in (GOOD, BAD)}
    return msgspec.structs.replace(
        config,
        providers=tuple(msgspec.structs.replace(one, prices=prices) for one in config.providers),
    )


async def test_a_failing_provider_wakes_somebody_up_and_its_recovery_is_told(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with watched(nats, tmp_path) as world:
        world.model = BAD
        down = await world.heard.until("ProviderUnavailable", "firing", HEARD_WITHIN_S)
        failing = await world.heard.until("APIErrorRateCritical", "firing", HEARD_WITHIN_S)
        assert world.statuses.count(503) > PER_S
        assert down["receiver"] == failing["receiver"] == "pager"
        assert down["commonLabels"]["destination"] == "upstream-1"
        (told, *_) = down["alerts"]
        assert told["annotations"]["summary"].startswith("Nothing from upstream-1 has succeeded")
        assert told["annotations"]["runbook_url"].endswith("/ProviderUnavailable.md")
        # The warning about the same holds, too, and nobody is told.
        await world.until_true('ALERTS{alertname="APIErrorRateHigh",alertstate="firing"}')
        assert world.heard.told("tickets") == set()

        world.model = GOOD
        await world.heard.until("ProviderUnavailable", "resolved", HEARD_WITHIN_S)
        await world.heard.until("APIErrorRateCritical", "resolved", HEARD_WITHIN_S)


async def test_a_stack_that_is_well_raises_no_alert_and_every_rule_can_be_evaluated(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with watched(nats, tmp_path) as world:
        # Ten minutes of the rules, by what the slowest group has recorded.
        await world.until_true("count_over_time(service:droveway_up:count[10s]) > 8")
        rules = [rule for group in (await world.api("rules"))["groups"] for rule in group["rules"]]
        assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] != "ok"} == {}
        targets = (await world.api("targets"))["activeTargets"]
        assert {one["scrapeUrl"]: one["lastError"] for one in targets if one["lastError"]} == {}
        assert len(targets) == len(SERVICES)
        assert await world.firing() == set()
        assert world.heard.posted == []


async def test_the_second_prometheus_keeps_what_the_first_one_recorded(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with watched(nats, tmp_path) as world:
        config = yaml.safe_load(hastened((PROMETHEUS / "history.yaml").read_text(), TIMES))
        (job,) = config["scrape_configs"]
        job["static_configs"] = [{"targets": [world.url.removeprefix("http://")]}]
        file = tmp_path / "history/history.yaml"
        file.parent.mkdir()
        file.write_text(yaml.safe_dump(config))
        with ExitStack() as programs:
            url = await asyncio.to_thread(programs.enter_context, prometheus(file))
            kept = Watched(world.stack, url, world.heard)
            await kept.until_true("destination_model:ai_api_cost_usd:rate5m > 0")
            await kept.until_true("slo:droveway_bad:ratio_rate1h >= 0")
            await kept.until_true("destination_model_status:ai_api_requests:rate5m >= 0")
            names = set(await kept.api("label/__name__/values"))
    assert "slo:droveway_bad:ratio_rate1h" in names
    raw = {name for name in names if ":" not in name and not name.startswith("scrape_")}
    assert raw - {"up"} == set()
    assert {name for name in names if name.startswith("droveway:threshold:")} == set()
