"""Callers that are killed in the middle of a stream which its route lets somebody go on with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from droveway.contracts.config import Config
from tests.support.bus_client import bus_client, key_id_of, plain_tenant, read, with_bus_users
from tests.support.flows import ask, entries, eventually, numbered, only_first, route, rows_of
from tests.support.nats import NatsServer
from tests.support.pace import Pace
from tests.support.processes import ServiceProcess, processes
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

TOKENS = 200
STREAMS = 12
MODEL = "goes-on"
LATE_S = 2.5
"""A killed caller is noticed within that time, and another one asked."""
IN_FLIGHT = "droveway_caller_in_flight"
INTERRUPTED = "stream_interrupted"


def _configure(nats: NatsServer, config: Config) -> Config:
    """The second target is for when the first one breaks off, which it doesn't."""
    good = f"numbered-{TOKENS}"
    one = route(MODEL, ("upstream-1", good), ("upstream-2", good))
    continued = msgspec.structs.replace(one, midstream="continue")
    return with_bus_users(nats, only_first(config, continued))


@asynccontextmanager
async def _two_callers(
    nats: NatsServer, folder: Path
) -> AsyncIterator[tuple[Stack, list[ServiceProcess]]]:
    async with (
        running_stack(
            nats,
            folder,
            simulators=2,
            configure=lambda config: _configure(nats, config),
            replicas={"caller": 0},
            environment={"DROVEWAY_METRICS_MISSING_ROW_S": "1"},
            token_interval_ms=10,
        ) as stack,
        processes(nats, stack, "caller", "caller") as callers,
    ):
        yield stack, callers


async def _killed(stack: Stack, callers: list[ServiceProcess], streams: int) -> int:
    """Kills one of two callers once all streams have begun; how many answers it had."""
    await eventually(
        lambda: len(entries(stack)) == streams and all(one.tokens_sent for one in entries(stack))
    )
    victims = int(await callers[0].value(IN_FLIGHT))
    callers[0].kill()
    return victims


async def test_http_clients_have_each_token_once_and_one_end(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        _two_callers(own_nats, tmp_path) as (stack, callers),
        stack.client() as client,
    ):
        body = chat_body(MODEL, stream=True, stream_options={"include_usage": True})
        asked = [asyncio.ensure_future(ask(client, body)) for _ in range(STREAMS)]
        victims = await _killed(stack, callers, STREAMS)
        with Pace() as pace:
            got = await asyncio.gather(*asked)
        assert 0 < victims < STREAMS
        assert [one.said for one in got] == [numbered(TOKENS)] * STREAMS
        assert all(one.whole and one.text.count("[DONE]") == 1 for one in got)
        assert len(stack.simulators[0].book.entries) == STREAMS + victims
        assert not stack.simulators[1].book.entries, "the provider was not to blame"
        assert pace.elapsed_s < LATE_S + 2 * TOKENS * 0.01 + 1
        continued = 0
        for one in got:
            trail = await rows_of(own_nats, one.headers["x-request-id"])
            assert trail.request is not None
            assert trail.request.outcome == "completed"
            told = one.chunks[-1]["usage"]
            assert told["completion_tokens"] == trail.request.usage.output_tokens
            if len(trail.attempts) == 1:
                continue
            continued += 1
            lost, last = sorted(trail.attempts, key=lambda row: row.attempt)
            assert (lost.attempt, lost.outcome, lost.code) == (1, "interrupted", INTERRUPTED)
            assert lost.witness == trail.request.door
            assert lost.usage.estimated
            assert (last.attempt, last.outcome, last.witness) == (2, "completed", "")
            assert last.attempt_id == trail.request.attempt_id
            sums = lost.usage.output_tokens + last.usage.output_tokens
            assert sums == trail.request.usage.output_tokens > 0
        assert continued == victims


async def test_clients_on_the_bus_have_them_too(own_nats: NatsServer, tmp_path: Path) -> None:
    async with (
        _two_callers(own_nats, tmp_path) as (stack, callers),
        bus_client(own_nats, stack) as bus,
        plain_tenant(own_nats, key_id_of(stack)) as plain,
    ):
        body = chat_body(MODEL, stream=True)
        streams = [bus.stream(chat_body(MODEL)) for _ in range(STREAMS // 2)]
        reading = [asyncio.ensure_future(read(one)) for one in streams]
        asked = [
            asyncio.ensure_future(plain.ask(body, packed=bool(number % 2), droveway_flow="none"))
            for number in range(STREAMS // 2)
        ]
        victims = await _killed(stack, callers, STREAMS)
        await asyncio.gather(*reading)
        answers = await asyncio.gather(*asked)
        assert 0 < victims < STREAMS
        assert [one.said for one in streams] == [numbered(TOKENS)] * len(streams)
        assert [one.said for one in answers] == [numbered(TOKENS)] * len(answers)
        assert all(one.is_gap_free and one.terminal["t"] == "completed" for one in answers)
        assert len(entries(stack)) == STREAMS + victims
