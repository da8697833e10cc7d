"""What the guard counts, and how it rolls back: once, and again when the bucket didn't answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.contracts.audit import Author
from droveway.contracts.canary import CanaryOrder, digest_of
from droveway.contracts.config import Canary, CanaryGuard, Config, RouteTarget
from droveway.contracts.usage import AttemptRecorded, AttemptTimes
from droveway.metrics import canary_guard
from droveway.runtime.canary_store import CanaryStore
from droveway.runtime.events import Events
from tests.contracts.samples import SHORT
from tests.support.flows import eventually
from tests.support.nats import NatsServer, droveway_config, serving

ROW = next(one for one in SHORT if isinstance(one, AttemptRecorded))
TESTER = Author(via="operator", id="tester")
RULES = CanaryGuard(min_requests=10, success_points=5, first_token_floor_s=0.1)
CANARY = Canary(targets=(RouteTarget(provider="upstream-1", model="new"),), guard=RULES)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[NatsServer]:
    with serving(tmp_path) as server:
        yield server


def _config(canary: Canary | None = CANARY) -> Config:
    config = droveway_config("https://p.test/v1")
    return msgspec.structs.replace(
        config,
        routes=(msgspec.structs.replace(config.routes[0], canary=canary),),
        aliases={"fast": "gpt-5"},
    )


def _rows(channel: str, number: int = 10, first_s: float = 0.01, **fields: Any) -> list[Any]:
    told = {
        "channel": channel,
        "asked_model": "fast",
        "began_ns": time.time_ns(),
        "times": AttemptTimes(first_token_us=int(first_s * 1e6)),
    }
    return [msgspec.structs.replace(ROW, **(told | fields)) for _ in range(number)]


@asynccontextmanager
async def guarding(
    broker: NatsServer, config: Config
) -> AsyncIterator[tuple[canary_guard.CanaryGuard, CanaryStore]]:
    async with broker.bus("metrics") as bus:
        store = CanaryStore(bus)
        guard = canary_guard.CanaryGuard(store, Events(bus, 10), config)
        yield guard, store


async def _judged(guard: canary_guard.CanaryGuard) -> int:
    """Rollbacks, once all that was counted is judged."""
    assert await guard.judge()
    return guard.statistics().rolled_back


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"outcome": "failed", "code": "overloaded"}, "success 0.0%"),
        ({"outcome": "interrupted"}, "success 0.0%"),
        ({"first_s": 0.5}, "P95 first token"),
    ],
)
async def test_a_canary_that_does_worse_is_rolled_back(
    broker: NatsServer, bad: dict[str, Any], reason: str
) -> None:
    async with guarding(broker, _config()) as (guard, store):
        guard.count([*_rows("stable"), *_rows("canary", **bad)])
        assert await _judged(guard) == 1
        order = (await store.get("*")).order
        guard.count(_rows("canary", **bad))
        assert await _judged(guard) == 1, "once is enough"
    assert order is not None
    assert (order.state, order.by) == ("rolled_back", "metrics canary-guard")
    assert order.canary == CANARY, "so that it can be set anew"
    assert order.reason.startswith(reason)


@pytest.mark.parametrize(
    "rows",
    [
        _rows("canary", outcome="failed"),
        [*_rows("stable"), *_rows("canary", outcome="cancelled")],
        [*_rows("stable"), *_rows("canary", 9, outcome="failed")],
        [*_rows("stable", outcome="failed"), *_rows("canary", outcome="failed")],
        [*_rows("stable"), *_rows("canary", first_s=0.5, stream=False)],
    ],
    ids=["alone", "cancelled", "too few", "both", "not streamed"],
)
async def test_what_says_nothing_against_it_leaves_it(broker: NatsServer, rows: Any) -> None:
    async with guarding(broker, _config()) as (guard, _):
        guard.count(rows)
        assert await _judged(guard) == 0


async def test_without_a_guard_it_is_left_to_its_operators(broker: NatsServer) -> None:
    config = _config(msgspec.structs.replace(CANARY, guard=None))
    async with guarding(broker, config) as (guard, _):
        guard.count([*_rows("stable"), *_rows("canary", outcome="failed")])
        assert await _judged(guard) == 0
        assert guard.statistics().watched == 0


async def test_one_that_was_set_anew_is_judged_by_what_begins_later(broker: NatsServer) -> None:
    config = _config()
    async with guarding(broker, config) as (guard, store):
        old = [*_rows("stable"), *_rows("canary", outcome="failed")]
        order = CanaryOrder(
            route="*", state="running", canary=CANARY, file=digest_of(CANARY), at="", by=""
        )
        async with broker.bus("operator") as bus:
            operator = CanaryStore(bus)
            order = await operator.set(await store.get("*"), order, TESTER, "set")
        guard.configure(config, {"*": order})
        guard.count(old)
        assert await _judged(guard) == 0
        guard.count([*_rows("stable"), *_rows("canary", outcome="failed")])
        assert await _judged(guard) == 1


async def test_an_operator_who_was_faster_is_not_overruled(broker: NatsServer) -> None:
    async with guarding(broker, _config()) as (guard, store):
        order = CanaryOrder(
            route="*", state="rolled_back", canary=CANARY, file=digest_of(CANARY), at="", by=""
        )
        async with broker.bus("operator") as bus:
            operator = CanaryStore(bus)
            stored = await operator.set(await store.get("*"), order, TESTER, "rolled_back")
        guard.count([*_rows("stable"), *_rows("canary", outcome="failed")])
        assert await _judged(guard) == 0
        assert (await store.get("*")).order == stored


async def test_a_rollback_that_wasnt_stored_is_tried_again(
    broker: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary_guard, "RETRY_S", 0.01)
    async with guarding(broker, _config()) as (guard, _):
        running = asyncio.ensure_future(guard.run())
        broker.kill()
        guard.count([*_rows("stable"), *_rows("canary", outcome="failed")])
        await eventually(lambda: guard.statistics().failed > 0, 10)
        broker.start()
        await eventually(lambda: guard.statistics().rolled_back == 1, 10)
        running.cancel()
