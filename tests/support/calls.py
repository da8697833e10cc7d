"""Calls through the real transport to a scripted provider."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from droveway.caller.phases import Phases
from droveway.caller.transport import TransportSettings, TransportStatistics, UpstreamTransport
from tests.support.upstream import Script, ScriptedUpstream, echo

PHASES = Phases()
HEADERS = [(b"authorization", b"Bearer canary-7f3a"), (b"content-type", b"application/json")]


@asynccontextmanager
async def opened(
    script: Script = echo, **settings: Any
) -> AsyncIterator[tuple[UpstreamTransport, ScriptedUpstream]]:
    async with ScriptedUpstream(script) as upstream:
        chosen = TransportSettings(**{"base_url": upstream.url + "/v1", **settings})
        async with UpstreamTransport(chosen) as transport:
            yield transport, upstream


async def called(
    transport: UpstreamTransport, body: bytes = b"{}", phases: Phases = PHASES, method: str = "POST"
) -> bytes:
    async with transport.send(method, "/chat/completions", HEADERS, body, phases) as response:
        return await response.read_all(1 << 20)


def assert_at_rest(transport: UpstreamTransport, open_connections: int = 0) -> None:
    assert transport.statistics() == TransportStatistics(open_connections, 0, 0, 100)
