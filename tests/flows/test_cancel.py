"""Clients that leave: the provider's connection closes, the rows say so, nothing stays open."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from droveway.cli import ports
from droveway.runtime.listed_prices import price_list
from tests.support.flows import (
    CHAT,
    eventually,
    nothing_open,
    numbered,
    only_first,
    rows_of,
    samples,
)
from tests.support.nats import NatsServer
from tests.support.raw_http import RawConnection, raw_connection
from tests.support.simulator import chat_body, spoken
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENTS = 100
P99_MS = 250
SEED = 20261122
LEFT_OVER = [
    ("gateway", "droveway_door_open_requests"),
    ("gateway", "droveway_door_held_bytes"),
    ("gateway", "droveway_relay_sending"),
    ("gateway", "droveway_relay_receiving"),
    ("router", "droveway_router_in_flight"),
    ("caller", "droveway_caller_in_flight"),
    ("caller", "droveway_upstream_in_flight"),
    ("caller", "droveway_relay_sending"),
    ("caller", "droveway_relay_receiving"),
    ("caller", "droveway_spool_waiting"),
    ("caller", "droveway_spool_unacknowledged"),
]
MODES = {
    "mid-stream": ("numbered-100000", True),
    "before-the-first-token": ("fault-numbered-9+slow-first-token-20000", True),
    "whole": ("fault-numbered-9+slow-first-token-20000", False),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("cancel")
    async with running_stack(
        nats, folder, configure=only_first, token_interval_ms=200, book_entries=4000
    ) as world:
        # Metrics loads its price list in a thread: half a second of this shared loop.
        price_list()
        yield world


def _request(stack: Stack, model: str, *, stream: bool) -> bytes:
    body = json.dumps(chat_body(model, stream=stream)).encode()
    return _head(stack, len(body)) + body


def _head(stack: Stack, length: int) -> bytes:
    return (
        f"POST {CHAT} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {stack.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


def _p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


@pytest.mark.parametrize("mode", MODES)
async def test_the_provider_is_left_when_the_client_leaves(stack: Stack, mode: str) -> None:
    model, stream = MODES[mode]
    book = stack.simulator.book
    book.clear()
    closed_ms: list[float] = []
    async with AsyncExitStack() as clients:
        # One after the other, so that the book's order is the clients'.
        peers: list[RawConnection] = []
        for number in range(CLIENTS):
            peer = await clients.enter_async_context(raw_connection(stack.port))
            await peer.send(_request(stack, model, stream=stream))
            peers.append(peer)
            await eventually(lambda n=number: book.totals.requests == n + 1)  # type: ignore[misc]
        if mode == "mid-stream":
            await asyncio.gather(*(peer.read_until(b"t0 ") for peer in peers))
        for peer in peers:
            closed_ms.append(time.monotonic() * 1000)
            peer.close()
            await asyncio.sleep(0.005)  # apart from each other, as clients are
        await nothing_open(stack)
    entries = book.entries
    assert {entry.outcome for entry in entries} == {"client_closed"}
    delays = [
        (entry.client_closed_ms or 0) - closed
        for entry, closed in zip(entries, closed_ms, strict=True)
    ]
    assert _p99(delays) <= P99_MS, sorted(delays)[-5:]


async def test_rows_of_a_client_that_left_say_cancelled_and_499(
    nats: NatsServer, stack: Stack
) -> None:
    stack.simulator.book.clear()
    async with raw_connection(stack.port) as peer:
        await peer.send(_request(stack, "numbered-1000", stream=True))
        head = (await peer.read_until(b"t1 ")).decode()
    request_id = head.partition("x-request-id: ")[2].partition("\r\n")[0]
    trail = await rows_of(nats, request_id)
    assert trail.request is not None
    assert (trail.request.outcome, trail.request.status) == ("cancelled", 499)
    (attempt,) = trail.attempts
    assert (attempt.outcome, attempt.committed) == ("cancelled", True)
    assert attempt.usage.estimated
    assert attempt.usage.output_tokens > 0


async def test_a_half_closed_client_gets_its_whole_stream(stack: Stack) -> None:
    async with raw_connection(stack.port) as peer:
        await peer.send(_request(stack, "numbered-6", stream=True))
        await peer.read_until(b"\r\n\r\n")
        peer.half_close()
        rest = (await peer.read_until(b"[DONE]")).decode()
    lines = "\n".join(line for line in rest.splitlines() if line.startswith("data: {"))
    assert spoken(lines) == numbered(6)


async def test_a_client_that_leaves_while_its_body_is_pulled_stops_the_call(stack: Stack) -> None:
    book = stack.simulator.book
    book.clear()
    body = chat_body("fault-numbered-9+slow-first-token-20000", "x" * 8_000_000, stream=True)
    content = json.dumps(body).encode()
    async with raw_connection(stack.port) as peer:
        await peer.send(_head(stack, len(content)) + content)
    await asyncio.sleep(0.2)
    await nothing_open(stack, 2.0)
    assert all(entry.outcome != "answered" for entry in book.entries)


async def test_a_reader_that_stalls_holds_the_provider_back(stack: Stack) -> None:
    """A client that reads nothing costs windows, not the answer: the provider's TCP is held."""
    book = stack.simulator.book
    book.clear()
    async with raw_connection(stack.port, receive_buffer_bytes=4096) as peer:
        await peer.send(_request(stack, "fault-numbered-9+huge-line-700000", stream=True))
        await eventually(lambda: book.totals.requests == 1)
        await asyncio.sleep(0.3)
        answer = await peer.read_answer()
    assert numbered(9) == spoken(answer.body.decode())


async def test_clients_that_leave_at_any_moment_leave_nothing_behind(
    nats: NatsServer, tmp_path: Path
) -> None:
    admin = {name: ports.free() for name in ("gateway", "router", "caller")}
    environment = {f"DROVEWAY_{n.upper()}_ADMIN_PORT": str(port) for n, port in admin.items()}
    dice = random.Random(SEED)
    async with running_stack(
        nats, tmp_path, configure=only_first, environment=environment, token_interval_ms=5
    ) as stack:

        async def leave(number: int) -> None:
            await asyncio.sleep(number * 0.004)
            model = dice.choice(["numbered-50", "fault-numbered-9+slow-first-token-500"])
            content = "x" * dice.choice([10, 400_000])
            body = json.dumps(chat_body(model, content, stream=dice.random() < 0.5)).encode()
            async with raw_connection(stack.port) as peer:
                await peer.send(_head(stack, len(body)) + body[: dice.choice([100, 10**9])])
                await asyncio.sleep(dice.random() * 0.06)

        await asyncio.gather(*(leave(number) for number in range(150)))
        await nothing_open(stack, 3.0)
        for name, metric in LEFT_OVER:
            await _until_zero(admin[name], metric)


async def _until_zero(port: int, metric: str, within_s: float = 8.0) -> None:
    until_s = time.monotonic() + within_s
    while (left := (await samples(port))(metric)) != 0:
        assert time.monotonic() < until_s, (metric, left)
        await asyncio.sleep(0.1)
