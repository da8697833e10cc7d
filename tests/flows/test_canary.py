"""A canary through the whole system: who gets it, its fallback, orders, guard, comparison."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from droveway.contracts.canary import channel_of
from droveway.contracts.config import Canary, CanaryGuard, Config, RetryBudget, RouteTarget
from droveway.contracts.events import ANY, CanaryRolledBack, event_decoder
from droveway.contracts.inference import user_hash
from droveway.runtime.audit_trail import read_trail
from tests.contracts.samples import SHORT
from tests.support.commands import Commands
from tests.support.flows import (
    Got,
    ask,
    each_once,
    entries,
    eventually,
    models,
    only_first,
    route,
    rows_of,
)
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import UNSPARED, Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="function")

OLD, NEW, BAD = "numbered-3", "numbered-4", "fault-503"
LIVE_WITHIN_S = 1.0
REQUEST = next(one for one in SHORT if type(one).__name__ == "InferenceRequested")


def _target(model: str) -> RouteTarget:
    return RouteTarget(provider="upstream-1", model=model)


def _configure(config: Config) -> Config:
    def with_canary(name: str, canary: Canary) -> Any:
        return msgspec.structs.replace(route(name, ("upstream-1", OLD)), canary=canary)

    guard = CanaryGuard(min_requests=20, success_points=5)
    unbounded = msgspec.structs.replace(each_once(config), retry_budget=RetryBudget(ratio=1))
    return only_first(
        unbounded,
        with_canary("app", Canary(targets=(_target(NEW),), percent=20, regions=("cn-north",))),
        with_canary("bad", Canary(targets=(_target(BAD),), percent=50, guard=guard)),
        with_canary("sick", Canary(targets=(_target(BAD),), percent=100, guard=None)),
        route("plain", ("upstream-1", OLD)),
    )


@pytest_asyncio.fixture
async def stack(
    own_nats: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stack]:
    async with running_stack(
        own_nats, tmp_path, configure=_configure, environment=UNSPARED, replicas={"router": 2}
    ) as world:
        monkeypatch.setenv("DROVEWAY_CONFIG", str(world.config_path))
        yield world


@pytest.fixture
def type_(own_nats: NatsServer, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(own_nats.folder.path, capsys)


def _is_in(user: str, percent: float) -> bool:
    """Whether a user of the stack's tenant is among a canary's."""
    named = user_hash("default", user=user, key_id="")
    request: Any = msgspec.structs.replace(REQUEST, user=named)
    return channel_of(Canary(targets=(_target(NEW),), percent=percent), request) == "canary"


async def _ask(client: httpx.AsyncClient, model: str, **fields: Any) -> Got:
    return await ask(client, chat_body(model, stream=True, **fields))


async def _used(stack: Stack, model: str, user: str) -> list[str]:
    """The upstream models that one request of a user was tried with."""
    stack.simulator.book.clear()
    async with stack.client() as client:
        assert (await _ask(client, model, user=user)).status == 200
    return models(entries(stack))


async def _eventually_used(stack: Stack, model: str, user: str, expected: list[str]) -> None:
    until_s = time.monotonic() + LIVE_WITHIN_S
    while (found := await _used(stack, model, user)) != expected:
        assert time.monotonic() < until_s, found


async def test_users_are_always_in_the_same_channel_however_they_are_named(stack: Stack) -> None:
    users = [f"user-{number}" for number in range(40)]
    for user in users:
        expected = [NEW if _is_in(user, 20) else OLD]
        assert await _used(stack, "app", user) == expected
        stack.simulator.book.clear()
        async with stack.client() as client:
            got = await ask(client, chat_body("app"), headers={"x-droveway-user": user})
            assert got.status == 200
            await ask(client, chat_body("app", safety_identifier=user))
            body = chat_body("app", max_tokens=100, metadata={"user_id": user})
            answer = await client.post("/v1/messages", json=body)
            assert answer.status_code == 200
        assert models(entries(stack)) == expected * 3
    assert any(_is_in(user, 20) for user in users)


async def test_a_region_gets_the_canary_and_its_rows_say_so(
    stack: Stack, own_nats: NatsServer
) -> None:
    async with stack.client() as client:
        found = [
            await ask(client, chat_body(model, user="u"), headers={"x-droveway-region": region})
            for model, region in (("app", "cn-north"), ("sick", ""), ("plain", "cn-north"))
        ]
    app, sick, plain = [await rows_of(own_nats, got.headers["x-request-id"]) for got in found]
    assert [got.status for got in found] == [200] * 3
    assert [one.channel for one in app.attempts] == ["canary"]
    assert [one.channel for one in sick.attempts] == ["canary", "stable"], "its failure is served"
    assert [one.channel for one in plain.attempts] == [""]
    told = [one.request.channel for one in (app, sick, plain) if one.request is not None]
    assert told == ["canary", "stable", ""]


async def test_orders_are_live_in_a_second_in_every_router_and_audited(
    stack: Stack, type_: Commands, own_nats: NatsServer
) -> None:
    late = next(name for name in map(str, range(1_000)) if not _is_in(name, 50))
    assert await _used(stack, "app", late) == [OLD]
    for expected in ("50%", "100%"):
        moved = await type_("canary", "advance", "app")
        assert (moved.code, expected in moved.stderr) == (0, True)
    await _eventually_used(stack, "app", late, [NEW])
    for _ in range(8):  # whichever router has it
        assert await _used(stack, "app", late) == [NEW]
    refused = await type_("canary", "advance", "app")
    assert (refused.code, "has 100% of its users already" in refused.stderr) == (78, True)
    await type_("canary", "rollback", "app", "--reason", "wrong answers")
    await _eventually_used(stack, "app", late, [OLD])
    refused = await type_("canary", "advance", "app")
    assert (refused.code, "was rolled back" in refused.stderr) == (78, True)
    shown = await type_("canary", "show", "app", "--json")
    assert (shown.json[0]["state"], shown.json[0]["reason"]) == ("rolled_back", "wrong answers")
    async with own_nats.bus("operator") as bus:
        trail = [event for _, event in await read_trail(bus, 10)]
    assert [event.action for event in trail] == [
        "canary.rolled_back", "canary.advanced", "canary.advanced",
    ]  # fmt: skip
    assert {event.target for event in trail} == {"canary.app"}


async def test_a_route_gets_a_canary_by_a_command_alone(stack: Stack, type_: Commands) -> None:
    missing = await type_("canary", "set", "plain", "--percent", "5")
    assert (missing.code, "has no canary" in missing.stderr) == (78, True)
    wrong = await type_("canary", "set", "plain", "--target", "provider=nobody")
    assert (wrong.code, "isn't configured" in wrong.stderr) == (78, True)
    target = f"provider=upstream-1,model={NEW}"
    made = await type_("canary", "set", "plain", "--percent", "100", "--target", target)
    assert made.code == 0, made.stderr
    await _eventually_used(stack, "plain", "anybody", [NEW])
    table = await type_("canary", "show")
    assert all(word in table.stdout for word in ("plain", "100%", f"upstream-1/{NEW}"))


async def test_an_order_outlives_restarts_until_the_file_says_something_newer(
    own_nats: NatsServer, tmp_path: Path, type_: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = next(name for name in map(str, range(1_000)) if not _is_in(name, 50))
    async with running_stack(own_nats, tmp_path, configure=_configure) as world:
        monkeypatch.setenv("DROVEWAY_CONFIG", str(world.config_path))
        assert (await type_("canary", "set", "app", "--percent", "100")).code == 0
        await _eventually_used(world, "app", late, [NEW])
    async with running_stack(own_nats, tmp_path, configure=_configure) as world:
        assert await _used(world, "app", late) == [NEW], "at once, before any news"
        text = world.config_path.read_text()
        line = next(one for one in text.splitlines() if one.strip() == "percent: 20")
        world.config_path.write_text(text.replace(line, line.replace("20", "19")))
        await asyncio.sleep(0)
        until_s = time.monotonic() + 3
        while await _used(world, "app", late) != [OLD]:
            assert time.monotonic() < until_s


async def test_a_canary_that_fails_is_rolled_back_by_itself_once(
    stack: Stack, own_nats: NatsServer, type_: Commands
) -> None:
    heard: list[CanaryRolledBack] = []

    def on_event(payload: bytes, *_: Any) -> None:
        event = event_decoder.decode(payload)
        if isinstance(event, CanaryRolledBack):
            heard.append(event)

    async with own_nats.bus("operator") as bus, stack.client() as client:
        await bus.subscribe_raw(ANY, on_event)
        answers = await asyncio.gather(
            *(_ask(client, "bad", user=f"user-{number}") for number in range(100))
        )
        await eventually(lambda: bool(heard), 10)
        trail = [event for _, event in await read_trail(bus, 10)]
    assert [got.status for got in answers] == [200] * 100, "each was served by the stable channel"
    (event,) = heard
    assert event.route == "bad"
    assert "points worse" in event.reason
    assert [(one.action, one.by.via) for one in trail] == [("canary.rolled_back", "metrics")]
    inside = next(name for name in map(str, range(100)) if _is_in(name, 50))
    await _eventually_used(stack, "bad", inside, [OLD])
    shown = await type_("canary", "show", "bad", "--json")
    assert shown.json[0]["by"] == "metrics canary-guard"


async def test_the_comparison_tells_what_clients_saw(stack: Stack, type_: Commands) -> None:
    users = [f"user-{number}" for number in range(60)]
    async with stack.client() as client:
        tasks = [_ask(client, model, user=user) for user in users for model in ("app", "sick")]
        answers = await asyncio.gather(*tasks)
    assert [got.status for got in answers] == [200] * 120
    inside = sum(_is_in(user, 20) for user in users)
    app = await _compared(type_, "app", 60)
    sick = await _compared(type_, "sick", 120)
    expected = {"stable": 60 - inside, "canary": inside}
    for name, line in app.items():
        assert (line["requests"], line["completed"]) == (expected[name],) * 2
        assert (line["success_rate"], line["errors"]) == (1.0, {})
        assert line["output_tokens"] == expected[name] * (3 if name == "stable" else 4)
        ranks = [line[f"total_p{rank}_us"] for rank in (50, 95, 99)]
        assert sorted(ranks) == ranks
        assert 0 < line["first_token_p50_us"] <= line["total_p99_us"]
    assert Counter(sick["canary"]["errors"]) == {"provider_unavailable": 60}
    assert (sick["canary"]["success_rate"], sick["canary"]["requests"]) == (0.0, 0)
    assert (sick["stable"]["success_rate"], sick["stable"]["requests"]) == (1.0, 60)
    table = await type_("canary", "compare", "sick")
    assert all(word in table.stdout for word in ("stable", "canary", "provider_unavailable"))
    lines = (await type_("canary", "compare", "sick", "--format", "csv")).stdout.splitlines()
    assert [line.split(",")[0] for line in lines] == ["channel", "stable", "canary"]


async def _compared(type_: Commands, name: str, attempts: int) -> dict[str, Any]:
    until_s = time.monotonic() + 10
    while True:
        told = await type_("canary", "compare", name, "--format", "json")
        assert told.code == 0, told.stderr
        lines = {line["channel"]: line for line in told.json["channels"]}
        if sum(line["attempts"] for line in lines.values()) >= attempts:
            return lines
        assert time.monotonic() < until_s, told.stdout
