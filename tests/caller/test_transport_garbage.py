"""A call that was cut is freed at once: what waits for a full collection looks like a leak."""

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from droveway.caller.transport import UpstreamTransport
from droveway.caller.upstream_errors import UpstreamError
from tests.support.calls import HEADERS, PHASES, opened
from tests.support.upstream import CHUNKED, Script, answer, chunk, replies, resets

CUT: dict[str, Script] = {
    "reset in the body": resets(CHUNKED, chunk(b"1")),
    "chunks cut": replies(CHUNKED + chunk(b"abc")),
    "length not met": replies(answer(b"abc")[:-1]),
    "whole": replies(answer(b"abc")),
}


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


async def _read(transport: UpstreamTransport) -> "weakref.ref[Any]":
    seen: weakref.ref[Any] | None = None
    try:
        async with transport.send("POST", "/x", HEADERS, b"{}", PHASES) as response:
            seen = weakref.ref(response)
            await response.read_all(1 << 20)
    except UpstreamError:
        pass
    assert seen is not None
    return seen


@pytest.mark.parametrize("script", CUT.values(), ids=CUT.keys())
async def test_an_answer_is_freed_with_its_call(script: Script) -> None:
    async with opened(script) as (transport, _):
        seen = await _read(transport)
        assert seen() is None
