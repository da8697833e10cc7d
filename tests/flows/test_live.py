"""Whoever watches a running system sees its requests and services, and nothing of their content."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from droveway.cli import tail, top
from droveway.cli.cost import Costs
from droveway.cli.tail_lines import Filter
from droveway.cli.tail_output import Output
from droveway.contracts import events
from droveway.contracts.envelope import service_of
from droveway.runtime.bus import Bus
from tests.support.flows import ask
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import PROVIDER_KEY, running_stack
from tests.support.waiting import until

COSTS = Costs(None)
CANARY = "canary-4711 in a prompt"


async def test_a_running_system_is_seen_live_without_content(
    nats: NatsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Requests through all services: their lines, a refusal, and the picture."""
    wish = tail.Wish(Filter(), json=True)
    said: list[dict[str, Any]] = []

    def lines() -> list[dict[str, Any]]:
        said.extend(map(json.loads, capsys.readouterr().out.splitlines()))
        return said

    async with (
        running_stack(nats, tmp_path) as stack,
        stack.client() as client,
        stack.client(headers={"authorization": "Bearer no-key-at-all"}) as stranger,
        nats.bus("operator") as bus,
    ):
        watching = asyncio.create_task(tail.follow(bus, wish, tail.Tail(wish, COSTS, Output(None))))
        await until(lambda: len(bus.subscriptions()) >= 3)
        got = await ask(client, chat_body(content=CANARY, stream=True))
        lost = await ask(client, chat_body("fault-400", content=CANARY))
        await ask(stranger, chat_body(content=CANARY))
        await until(lambda: len(lines()) >= 3)
        watching.cancel()
        await asyncio.wait([watching])
        async with asyncio.timeout(10):  # metrics is ready once it has read its stream
            shown = await _picture(bus, capsys)
            while any(one["unready"] for one in shown["services"]):
                shown = await _picture(bus, capsys)
    by_id = {line["request_id"]: line for line in said}
    assert len(by_id) == 3
    whole, failed = by_id[got.headers["x-request-id"]], by_id[lost.headers["x-request-id"]]
    assert (whole["outcome"], whole["output_tokens"], whole["provider"]) == (
        "completed", 5, "upstream-1",
    )  # fmt: skip
    assert whole["complete"]
    assert whole["first_token_ms"] <= whole["total_ms"]
    assert (failed["outcome"], failed["status"]) == ("failed", 400)
    (refused,) = [line for line in said if line["kind"] == "event"]
    assert (refused["t"], refused["status"], refused["code"]) == (
        "request.refused.v1", 401, "invalid_api_key",
    )  # fmt: skip
    assert shown["all"]["requests"] >= 2
    assert shown["in_flight"] == 0
    kinds = sorted(one["service"] for one in shown["services"])
    assert kinds == ["caller", "gateway", "limiter", "metrics", "router"]
    assert [one["service"] for one in shown["services"] if one["owner"]] == ["limiter"]
    assert any(line["name"] == "upstream-1" for line in shown["providers"])
    everything = json.dumps([said, shown])
    for secret in (CANARY, stack.key, PROVIDER_KEY, "no-key-at-all"):
        assert secret not in everything


async def _picture(bus: Bus, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    await top.show(bus, top.Wish(once=True, json=True), COSTS, Console())
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    return shown


async def test_services_tell_what_happens_to_them(nats: NatsServer, tmp_path: Path) -> None:
    told: list[events.Event] = []

    def named(kind: type[events.Event]) -> set[str]:
        return {service_of(event.instance) for event in told if isinstance(event, kind)}

    async with nats.bus("operator") as bus:
        await bus.subscribe(
            events.ANY, lambda payload, _reply: told.append(events.event_decoder.decode(payload))
        )
        async with running_stack(nats, tmp_path) as stack, stack.client() as client:
            await until(lambda: named(events.OwnerChanged))
            for _ in range(3):
                await ask(client, chat_body("fault-503"))
            await until(lambda: named(events.TargetOpened))
            await ask(client, chat_body("fault-429"))
            await until(lambda: named(events.CooldownBegan))
            with stack.config_path.open("a") as file:
                file.write("usd_cny: 7.25\n")
            await until(lambda: {"caller", "gateway", "limiter"} <= named(events.ConfigAdopted))
            with stack.config_path.open("a") as file:
                file.write("usd_cny: 7.26\n")
            await until(lambda: {"caller", "gateway", "router"} <= named(events.ConfigRefused))
            await until(lambda: named(events.CooldownEnded))
    assert named(events.OwnerChanged) == {"limiter"}
    assert named(events.TargetOpened) == {"router"}
    assert named(events.CooldownBegan) == named(events.CooldownEnded) == {"caller"}
