"""Orders about canaries: which fit the configuration, which can't be read, how one is stored."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.contracts.audit import Author
from droveway.contracts.canary import CanaryOrder, digest_of, encode_order, entry_of
from droveway.contracts.config import Canary, Config, RouteTarget
from droveway.contracts.jetstream import ROUTING
from droveway.runtime.access_errors import EntryInvalid, RevisionChanged, StoreUnavailable
from droveway.runtime.audit_trail import read_trail
from droveway.runtime.bus import store
from droveway.runtime.canary_orders import CanaryOrders, applied
from droveway.runtime.canary_store import CanaryStore
from droveway.runtime.config.file import parse
from droveway.runtime.errors import SettingsError
from droveway.runtime.routing_orders import RoutingOrders
from tests.support.nats import NatsServer, droveway_config, serving

TESTER = Author(via="operator", id="tester")
CANARY = Canary(targets=(RouteTarget(provider="upstream-1", model="new"),), percent=5)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[NatsServer]:
    with serving(tmp_path) as server:
        yield server


def _config(canary: Canary | None = None) -> Config:
    config = droveway_config("https://p.test/v1")
    return msgspec.structs.replace(
        config, routes=(msgspec.structs.replace(config.routes[0], canary=canary),)
    )


def _order(canary: Canary = CANARY, **fields: Any) -> CanaryOrder:
    told = {"route": "*", "state": "running", "file": "", "at": "", "by": ""} | fields
    return CanaryOrder(canary=canary, **told)


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        (
            "targets: [{provider: other}]",
            "routes[0].canary.targets[0].provider: 'other' isn't configured; known: one",
        ),
        (
            "targets: [{provider: one}]",
            "routes[0].canary.targets[0]: stands in the route's tiers; a canary's targets are "
            "others",
        ),
        (
            "targets: [{provider: one, model: new}], percent: 0.125",
            "routes[0].canary.percent: 0.125; expected at most two decimals, like 12.25",
        ),
    ],
)
def test_what_a_canary_cant_be_is_found(line: str, finding: str) -> None:
    text = f"""
providers: [{{id: one, base_url: "https://p.test/v1"}}]
routes: [{{model: "*", tiers: [{{targets: [{{provider: one}}]}}], canary: {{{line}}}}}]
"""
    with pytest.raises(SettingsError) as caught:
        parse(text.encode(), "f")
    assert str(caught.value) == f"f: {finding}"


def test_an_order_whose_target_isnt_configured_any_more_is_left_out() -> None:
    gone = Canary(targets=(RouteTarget(provider="gone"),), percent=100)
    assert applied(_config(), {"*": _order(gone)}).routes[0].canary is None


def test_a_canary_that_was_rolled_back_stays_so_whatever_became_of_its_target() -> None:
    gone = Canary(targets=(RouteTarget(provider="upstream-1", model="old"),), percent=100)
    order = _order(gone, state="rolled_back", file=digest_of(CANARY))
    assert applied(_config(CANARY), {"*": order}).routes[0].canary is None


async def test_orders_are_followed_and_what_cant_be_read_changes_nothing(
    broker: NatsServer,
) -> None:
    changed = asyncio.Event()
    async with broker.bus("router") as bus, broker.bus("operator") as operator:
        routing = RoutingOrders(bus)
        orders = CanaryOrders(routing, changed.set)
        follow = asyncio.ensure_future(routing.run())
        assert await routing.until_loaded(5)
        canaries = CanaryStore(operator)
        await canaries.set(await canaries.get("*"), _order(), TESTER, "set")
        await asyncio.wait_for(changed.wait(), 1)
        assert orders.applied(_config()).routes[0].canary == CANARY
        for entry, value in (
            (entry_of("*"), b"{"),
            (entry_of("elsewhere"), encode_order(_order(state="rolled_back"))),
            ("provider.other-kind", b"{}"),
        ):
            await store(operator, f"$KV.{ROUTING}.{entry}", value, 2)
        changed.clear()
        last = _order(route="last")
        await canaries.set(await canaries.get("last"), last, TESTER, "set")
        await asyncio.wait_for(changed.wait(), 1)
        assert orders.applied(_config()).routes[0].canary == CANARY
        with pytest.raises(StoreUnavailable, match="can't be read, so it can't be changed"):
            await canaries.get("*")
        follow.cancel()


async def test_of_two_orders_for_one_revision_the_second_is_refused_and_both_are_recorded(
    broker: NatsServer,
) -> None:
    async with broker.bus("operator") as bus:
        canaries = CanaryStore(bus)
        present = await canaries.get("*")
        first = await canaries.set(present, _order(), TESTER, "set")
        with pytest.raises(RevisionChanged):
            await canaries.set(present, _order(state="rolled_back"), TESTER, "rolled_back")
        assert (await canaries.get("*")).order == first
        assert (first.by, first.at[-1]) == ("operator tester", "Z")
        trail = [event for _, event in await read_trail(bus, 10)]
    assert [(one.action, one.outcome) for one in reversed(trail)] == [
        ("canary.set", "begun"),
        ("canary.rolled_back", "begun"),
        ("canary.rolled_back", "failed"),
    ]


async def test_an_order_that_is_too_large_is_refused(broker: NatsServer) -> None:
    many = msgspec.structs.replace(CANARY, tenants=tuple(f"tenant-{n}" for n in range(2_000)))
    async with broker.bus("operator") as bus:
        canaries = CanaryStore(bus)
        with pytest.raises(EntryInvalid, match="at most 16384 are kept"):
            await canaries.set(await canaries.get("*"), _order(many), TESTER, "set")


async def test_without_the_bucket_the_file_holds_alone(tmp_path: Path) -> None:
    with serving(tmp_path, set_up=False) as server:
        async with server.bus("router") as bus:
            routing = RoutingOrders(bus)
            orders = CanaryOrders(routing, lambda: None)
            follow = asyncio.ensure_future(routing.run())
            assert not await routing.until_loaded(0.2)
            assert orders.applied(_config(CANARY)).routes[0].canary == CANARY
            follow.cancel()
