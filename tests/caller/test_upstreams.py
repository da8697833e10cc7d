"""A call goes by the configuration that it was routed by, also while others come and go."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.caller.arrivals import Arrivals
from droveway.caller.upstreams import KEPT_VERSIONS, Found, Upstreams
from droveway.contracts.config import Config, Credential, Model, Provider, Route, RouteTarget, Tier
from droveway.contracts.dispatch import Target
from droveway.runtime.errors import SettingsError
from tests.support.waiting import until

OLD, NEW = "000000000001", "000000000002"
TARGET = Target(provider="p", credential="main", model="m")


def provider(port: int = 1, **fields: Any) -> Provider:
    return Provider(id="p", base_url=f"http://127.0.0.1:{port}/v1", **fields)


def config(*providers: Provider) -> Config:
    route = Route(model="*", tiers=(Tier(targets=(RouteTarget(provider="p"),)),))
    return Config(providers=providers, routes=(route,))


def version(number: int) -> str:
    return f"{number:012x}"


@pytest.fixture
async def upstreams() -> AsyncIterator[Upstreams]:
    async with Upstreams("default", "") as opened:
        yield opened


@pytest.fixture
async def hasty() -> AsyncIterator[Upstreams]:
    """Waits for nothing long."""
    async with Upstreams("default", "", Arrivals(0.05), retired_s=0.0) as opened:
        yield opened


async def found(upstreams: Upstreams, called: str) -> Found:
    place = await upstreams.find(TARGET, called)
    assert place is not None
    return place


async def test_a_call_finds_its_provider_as_its_own_configuration_has_it(
    upstreams: Upstreams,
) -> None:
    upstreams.configure(config(provider(1)), OLD)
    upstreams.configure(config(provider(2)), NEW)
    old, new = await found(upstreams, OLD), await found(upstreams, NEW)
    assert (old.upstream.address[1], old.version) == (1, OLD)
    assert (new.upstream.address[1], new.version) == (2, NEW)


async def test_a_call_of_a_router_that_says_no_version_goes_by_the_present_one(
    upstreams: Upstreams,
) -> None:
    upstreams.configure(config(provider(1)), OLD)
    upstreams.configure(config(provider(2)), NEW)
    assert (await found(upstreams, "")).version == NEW


async def test_a_removed_provider_and_credential_serve_the_calls_routed_before(
    upstreams: Upstreams,
) -> None:
    upstreams.configure(config(provider()), OLD)
    upstreams.configure(config(provider(credentials=(Credential(id="other"),))), NEW)
    assert await upstreams.find(TARGET, OLD) is not None
    assert await upstreams.find(TARGET, NEW) is None
    upstreams.configure(config(), version(3))
    assert await upstreams.find(TARGET, OLD) is not None
    assert await upstreams.find(TARGET, version(3)) is None


async def test_only_the_last_few_are_kept_and_what_isnt_is_served_by_the_present_one(
    hasty: Upstreams,
) -> None:
    for number in range(1, 21):
        hasty.configure(config(provider(number)), version(number))
    assert hasty.statistics().versions == KEPT_VERSIONS
    kept = 21 - KEPT_VERSIONS
    assert (await found(hasty, version(kept))).version == version(kept)
    assert (await found(hasty, version(kept - 1))).version == version(20)


async def test_a_configuration_that_is_brought_back_is_waited_for_as_any_other(
    upstreams: Upstreams,
) -> None:
    for number in range(1, KEPT_VERSIONS + 2):
        upstreams.configure(config(provider(number)), version(number))
    waiting = asyncio.ensure_future(found(upstreams, version(1)))
    await until(lambda: upstreams.statistics().waiting)
    upstreams.configure(config(provider(1)), version(1))
    assert (await waiting).version == version(1)


async def test_a_provider_that_stays_as_it_is_keeps_its_connections(upstreams: Upstreams) -> None:
    other = Provider(id="q", base_url="http://127.0.0.1:9/v1")
    upstreams.configure(config(provider()), OLD)
    first = (await found(upstreams, OLD)).upstream
    for number in range(2, 12):
        upstreams.configure(config(provider(), *[other] * (number % 2)), version(number))
    assert (await found(upstreams, version(11))).upstream is first


async def test_a_replaced_provider_is_closed_only_when_its_calls_have_ended(
    hasty: Upstreams,
) -> None:
    hasty.configure(config(provider(1)), OLD)
    upstream = (await found(hasty, OLD)).upstream
    upstream.begin()
    for number in range(2, 12):
        hasty.configure(config(provider(number)), version(number))
    await hasty.close_retired()
    assert hasty.statistics().retired == 1
    upstream.end()
    await hasty.close_retired()
    assert hasty.statistics().retired == 0


async def test_a_call_waits_for_the_configuration_that_its_router_has_already(
    upstreams: Upstreams,
) -> None:
    upstreams.configure(config(provider(1)), OLD)
    waiting = asyncio.ensure_future(found(upstreams, NEW))
    await until(lambda: upstreams.statistics().waiting)
    upstreams.configure(config(provider(2)), NEW)
    assert (await waiting).upstream.address[1] == 2
    assert upstreams.statistics().expired == 0


async def test_what_doesnt_come_is_waited_for_once(
    hasty: Upstreams,
) -> None:
    hasty.configure(config(provider(1)), OLD)
    assert (await found(hasty, NEW)).version == OLD
    assert hasty.statistics().expired == 1
    assert (await found(hasty, NEW)).version == OLD
    assert hasty.statistics().expired == 1
    hasty.configure(config(provider(2)), NEW)
    assert (await found(hasty, NEW)).version == NEW


async def test_only_so_many_wait() -> None:
    async with Upstreams("default", "", Arrivals(limit=2)) as upstreams:
        upstreams.configure(config(provider(1)), OLD)
        waiting = [asyncio.ensure_future(found(upstreams, NEW)) for _ in range(3)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert [one.result().version for one in done] == [OLD]
        assert upstreams.statistics()[-4:] == (2, 2, 0, 1)
        upstreams.configure(config(provider(2)), NEW)
        assert {(await one).version for one in waiting} == {OLD, NEW}


@pytest.mark.parametrize(
    "bad",
    [
        provider(credentials=(Credential(api_key="${NOWHERE_AT_ALL}"),)),
        provider(credentials=(Credential(api_key="file:/nowhere/at/all"),)),
        provider(ca_file="/nowhere/at/all"),
        provider(proxy="file:/nowhere/at/all"),
    ],
    ids=["variable", "file", "ca_file", "proxy"],
)
async def test_what_cant_be_resolved_changes_nothing(
    upstreams: Upstreams, bad: Provider, tmp_path: Path
) -> None:
    upstreams.configure(config(provider()), OLD)
    with pytest.raises(SettingsError, match=r"^providers 'p', .*") as caught:
        upstreams.configure(config(bad), NEW)
    assert str(caught.value).count("providers") == 1
    assert upstreams.version == OLD
    assert (await found(upstreams, OLD)).upstream.provider == provider()


async def test_calls_by_earlier_configurations_take_the_providers_places_too(
    upstreams: Upstreams,
) -> None:
    upstreams.configure(config(provider(1, max_in_flight=2)), OLD)
    before = (await found(upstreams, OLD)).upstream
    before.begin()
    upstreams.configure(config(provider(2, max_in_flight=2)), NEW)
    present = (await found(upstreams, NEW)).upstream
    assert (present.free, present.statistics().in_flight) == (1, 1)
    present.begin()
    assert before.full
    before.end()
    assert upstreams.present("p") is present
    assert present.free == 1


async def test_what_is_known_of_models_is_each_configurations_own(upstreams: Upstreams) -> None:
    def told(tokens: int) -> Config:
        models = (Model(name="m", max_output_tokens=tokens),)
        return msgspec.structs.replace(config(provider()), models=models)

    upstreams.configure(told(111), OLD)
    upstreams.configure(told(222), NEW)
    seen = [(await found(upstreams, one)).models.facts("m").max_output_tokens for one in (OLD, NEW)]
    assert seen == [111, 222]


@pytest.mark.parametrize(
    "fields",
    [
        {"ca_file": "/a\0b"},
        {"credentials": (Credential(api_key="file:/a\0b"),)},
        {"proxy": "file:/a\0b"},
    ],
    ids=["ca_file", "api_key", "proxy"],
)
async def test_a_path_that_is_none_is_refused(upstreams: Upstreams, fields: Any) -> None:
    with pytest.raises(SettingsError, match="p"):
        upstreams.configure(config(provider(**fields)), OLD)


async def test_a_host_that_is_none_is_refused(upstreams: Upstreams) -> None:
    bad = Provider(id="p", base_url="https://xn--a.b/v1")
    with pytest.raises(SettingsError, match="base_url"):
        upstreams.configure(config(bad), OLD)
