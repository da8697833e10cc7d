"""Limits short enough for tests of the HTTP edge, and the questions that they all ask."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from droveway.gateway.http_limits import HttpLimits
from droveway.gateway.server import HttpServer
from tests.support.raw_http import RawConnection

CALM = HttpLimits(max_body_bytes=100_000, drain_s=1.0)
SHORT = HttpLimits(
    connect_idle_s=0.1,
    header_timeout_s=0.2,
    keep_alive_idle_s=0.1,
    max_body_bytes=100_000,
    body_base_s=0.2,
    body_min_bytes_per_s=1_000_000,
    write_stall_s=0.3,
    linger_s=0.3,
    drain_s=0.5,
)
GET = b"GET /%b HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nhost: a\r\n%b\r\n\r\n"


def on_each_loop(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[Any], None]:
    """Run a test of socket states on asyncio's loop and on uvloop, which production uses."""

    def on_loop(run: Any) -> None:
        run(test())

    on_loop.__name__ = test.__name__
    runs = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
    return cast("Callable[[Any], None]", runs(on_loop))


async def closed_without_a_word(client: RawConnection) -> bool:
    return await client.read_to_end(2.0) == b""


async def wait_until(holds: Callable[[], bool], within_s: float = 5.0) -> None:
    until_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until_s
        await asyncio.sleep(0.01)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def refused(server: HttpServer) -> dict[str, int]:
    return dict(server.statistics().refused_total)
