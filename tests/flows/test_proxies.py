"""Whole requests to a provider behind a proxy, with an authority of its own; and when it fails."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import pytest_asyncio

from droveway.contracts.config import Config, Provider, Route
from tests.support.certificates import Authority
from tests.support.flows import (
    Got,
    ask,
    each_once,
    entries,
    lines_until,
    nothing_open,
    numbered,
    route,
    rows_of,
    stored_rows,
)
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import PROVIDER_KEY, UNSPARED, Stack, running_stack
from tests.support.tunnels import ConnectProxy, TlsFront

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
LOGIN = "caller:s3cret-canary"
PLACE = "provider.test:443"


class World(NamedTuple):
    """A stack whose first provider is behind a proxy."""

    stack: Stack
    proxy: ConnectProxy
    reference: Path


def _far(own: Provider, name: str, proxy: str, ca_file: str) -> Provider:
    return msgspec.structs.replace(
        own, id=name, base_url="https://provider.test/v1", proxy=proxy, ca_file=ca_file
    )


def _routes() -> tuple[Route, ...]:
    served = ("upstream-2", "numbered-3")
    return (
        route("far", ("far", "numbered-8")),
        route("stalls", ("far", "fault-numbered-8+stall-after-3")),
        route("locked-out", ("locked-out", "numbered-8"), served),
        route("untrusted", ("untrusted", "numbered-8"), served),
        route("only-locked-out", ("locked-out", "numbered-8")),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("proxies")
    authority = Authority(folder / "own")
    strange = Authority(folder / "strange")
    front = TlsFront(0, authority.server())
    async with front, ConnectProxy({PLACE: front.port}, LOGIN) as proxy:
        file = folder / "proxy"
        file.write_text(f"http://{LOGIN}@127.0.0.1:{proxy.port}\n")

        def configure(config: Config) -> Config:
            first = config.providers[0]
            reference = f"file:{file}"
            providers = (
                *config.providers,
                _far(first, "far", reference, str(authority.file)),
                _far(first, "locked-out", proxy.url, str(authority.file)),
                _far(first, "untrusted", reference, str(strange.file)),
            )
            changed = msgspec.structs.replace(config, providers=providers, routes=_routes())
            return each_once(changed)

        async with running_stack(
            nats, folder, simulators=2, configure=configure, environment=UNSPARED
        ) as stack:
            front.target = stack.simulator.port
            yield World(stack, proxy, file)


async def _ask(world: World, model: str, *, stream: bool) -> Got:
    for simulator in world.stack.simulators:
        simulator.book.clear()
    async with world.stack.client() as client:
        return await ask(client, chat_body(model, stream=stream))


@BOTH
async def test_a_provider_behind_a_proxy_answers_as_any_other(world: World, stream: bool) -> None:
    got = await _ask(world, "far", stream=stream)
    assert (got.status, got.said, got.whole) == (200, numbered(8), True)
    assert got.headers["x-droveway-attempts"] == "1"
    (entry,) = entries(world.stack)
    assert entry.model == "numbered-8"
    assert world.proxy.heads[-1].startswith(f"CONNECT {PLACE} HTTP/1.1\r\n")


async def test_a_tunnel_is_kept_for_the_next_request(world: World) -> None:
    await _ask(world, "far", stream=True)
    before = world.proxy.tunnels
    for _ in range(3):
        assert (await _ask(world, "far", stream=True)).done
    assert world.proxy.tunnels == before


async def test_tokens_come_through_a_tunnel_one_by_one_and_a_client_that_leaves_ends_it(
    world: World,
) -> None:
    body = chat_body("stalls", stream=True)
    async with world.stack.client() as client, lines_until(client, body, "t1"):
        assert world.stack.simulator.book.totals.open_requests == 1
    await nothing_open(world.stack)


@BOTH
@pytest.mark.parametrize("model", ["locked-out", "untrusted"])
async def test_a_proxy_that_refuses_is_left_for_the_next_target(
    world: World, model: str, stream: bool
) -> None:
    got = await _ask(world, model, stream=stream)
    assert (got.status, got.said) == (200, numbered(3))
    assert got.headers["x-droveway-attempts"] == "2"
    assert [entry.model for entry in entries(world.stack)] == ["numbered-3"]


async def test_the_client_is_told_of_the_proxy_and_of_no_secret(
    world: World, nats: NatsServer
) -> None:
    got = await _ask(world, "only-locked-out", stream=False)
    assert got.status == 503
    assert "proxy_refused, status 407" in got.text
    trail = await rows_of(nats, got.headers["x-request-id"], attempts=1)
    (row,) = trail.attempts
    assert (row.outcome, row.code, row.request_sent) == (
        "failed", "provider_unavailable", False,
    )  # fmt: skip
    told = f"{got.text} {got.headers} {await stored_rows(nats)}"
    assert not [secret for secret in ("s3cret", "Y2FsbGVy", PROVIDER_KEY) if secret in told]


async def test_no_proxy_has_seen_a_key(world: World) -> None:
    before = len(world.proxy.heads)
    assert (await _ask(world, "locked-out", stream=False)).status == 200
    assert len(world.proxy.heads) > before
    seen = "".join(world.proxy.heads)
    assert "CONNECT" in seen
    assert PROVIDER_KEY not in seen


async def test_a_new_login_in_its_file_is_used_by_the_next_tunnels(world: World) -> None:
    try:
        _log_in(world, "caller:rotated")
        before = world.proxy.tunnels
        async with asyncio.timeout(10):
            while world.proxy.tunnels == before:  # a tunnel of the old login may be kept as yet
                await _ask(world, "far", stream=False)
        got = await _ask(world, "far", stream=False)
        assert (got.status, got.said) == (200, numbered(8))
    finally:
        _log_in(world, LOGIN)


def _log_in(world: World, login: str) -> None:
    """The proxy wants another login, and its reference names that."""
    world.proxy.login = login
    fresh = world.reference.with_name("fresh")
    fresh.write_text(f"http://{login}@127.0.0.1:{world.proxy.port}\n")
    fresh.replace(world.reference)
