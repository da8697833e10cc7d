"""Authorities in a file are renewed while the caller runs: new calls are checked against them."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from droveway.caller.secret_files import SecretFiles
from droveway.caller.upstream import Upstream
from droveway.caller.upstream_errors import ConnectFailed
from droveway.caller.upstreams import Upstreams
from droveway.contracts.config import Config, Credential, Provider, Route, RouteTarget, Tier
from tests.support.calls import HEADERS, PHASES, called
from tests.support.certificates import Authority
from tests.support.tunnels import TlsFront
from tests.support.upstream import ScriptedUpstream
from tests.support.waiting import beside, until


class World:
    """A provider behind TLS, and a caller that trusts what `file` holds."""

    def __init__(self, folder: Path, upstreams: Upstreams) -> None:
        self.file = folder / "ca.pem"
        self.upstreams = upstreams
        self.files = SecretFiles(upstreams, lambda: None)
        self.own, self.other = Authority(folder / "own"), Authority(folder / "other")

    def configure(self, port: int) -> None:
        provider = Provider(
            id="p",
            base_url=f"https://127.0.0.1:{port}",
            ca_file=str(self.file),
            credentials=(Credential(id="none"),),
        )
        route = Route(model="*", tiers=(Tier(targets=(RouteTarget(provider="p"),)),))
        self.upstreams.configure(Config(providers=(provider,), routes=(route,)), "000000000001")
        self.files.configure()

    async def upstream(self) -> Upstream:
        """As the next call finds it."""
        (present,) = self.upstreams.all()
        await present.open()
        return present

    async def call(self) -> bytes:
        return await called((await self.upstream()).transport)

    def hold(self, authority: Authority) -> bool:
        """In one piece; again and again, since a watch begins in a thread."""
        shutil.copy(authority.file, self.file.with_name("fresh"))
        self.file.with_name("fresh").replace(self.file)
        return True


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with Upstreams("default", "", retired_s=0) as upstreams:
        world = World(tmp_path, upstreams)
        world.hold(world.own)
        async with beside(world.files.run()):
            yield world


async def test_a_changed_file_is_what_the_next_call_is_checked_against(world: World) -> None:
    async with (
        ScriptedUpstream() as upstream,
        TlsFront(upstream.port, world.own.server()) as front,
    ):
        world.configure(front.port)
        first = await world.upstream()
        assert await world.call() == b"{}"
        async with first.transport.send(
            "POST", "/chat/completions", HEADERS, b"{}", PHASES
        ) as running:
            await until(lambda: world.hold(world.other) and world.upstreams.all() != [first])
            with pytest.raises(ConnectFailed) as failed:
                await world.call()
            assert failed.value.cause == "tls"
            assert await running.read_all(1 << 20) == b"{}"
        assert world.files.statistics()[1:] == (1, 0, 0)
        await until(lambda: world.hold(world.own) and world.files.statistics().changes > 1)
        assert await world.call() == b"{}"
        assert world.upstreams.statistics().retired == 2
        await world.upstreams.close_retired()
        assert world.upstreams.statistics().retired == 0


@pytest.mark.parametrize("text", ["", "no certificate", None])
async def test_a_file_without_certificates_leaves_what_was_good_last(
    world: World, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        ScriptedUpstream() as upstream,
        TlsFront(upstream.port, world.own.server()) as front,
    ):
        world.configure(front.port)
        present = await world.upstream()
        await until(lambda: world.files.statistics().files == 1)
        if text is None:
            world.file.unlink()
        else:
            world.file.write_text(text)
        await until(lambda: world.files.statistics().bad == 1)
        assert world.upstreams.all() == [present]
        assert await world.call() == b"{}"
        assert caplog.messages.count("secret_unreadable") == 1
        world.hold(world.own)
        await until(lambda: world.files.statistics().bad == 0)
        assert await world.call() == b"{}"
