"""Processes that die: what a client sees, and how soon."""

import asyncio
import time
from pathlib import Path

import httpx

from tests.support.accounts import attempts_of, requests_of, settled, stored_rows
from tests.support.flows import (
    CHAT,
    Got,
    ask,
    entries,
    eventually,
    nothing_open,
    numbered,
    only_first,
    rows_of,
)
from tests.support.nats import NatsServer
from tests.support.pace import Pace
from tests.support.processes import ServiceProcess, processes
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

ERROR_WITHIN_S = 2.5
FREED_WITHIN_S = 6.0
IN_FLIGHT = "droveway_caller_in_flight"


async def _streams(client: httpx.AsyncClient, count: int, tokens: int) -> list[asyncio.Task[Got]]:
    body = chat_body(f"numbered-{tokens}", stream=True)
    return [asyncio.ensure_future(ask(client, body)) for _ in range(count)]


async def _all_open(stack: Stack, count: int) -> None:
    await eventually(
        lambda: len(entries(stack)) == count and all(one.tokens_sent for one in entries(stack))
    )


async def _busy(callers: list[ServiceProcess]) -> ServiceProcess:
    """The caller that runs the one attempt."""
    while True:
        for caller in callers:
            if await caller.value(IN_FLIGHT) == 1:
                return caller


async def test_a_caller_that_dies_before_the_first_token_is_replaced(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=only_first, replicas={"caller": 0}) as stack,
        processes(own_nats, stack, "caller", "caller") as callers,
        stack.client() as client,
    ):
        model = "fault-numbered-5+slow-first-token-60000+times-1"
        asked = asyncio.ensure_future(ask(client, chat_body(model, stream=True)))
        await eventually(lambda: len(entries(stack)) == 1)
        (await _busy(callers)).kill()
        with Pace() as pace:
            got = await asked
        assert got.status == 200
        assert got.said == numbered(5)
        assert got.headers["x-droveway-attempts"] == "2"
        assert len(entries(stack)) == 2
        assert pace.elapsed_s < ERROR_WITHIN_S + 0.5
        lost, answered = (await rows_of(own_nats, got.headers["x-request-id"])).attempts
        assert lost.witness == lost.router != ""
        assert (lost.outcome, lost.code) == ("failed", "provider_no_response")
        assert lost.usage.estimated
        assert lost.usage.input_tokens > 0
        assert (answered.witness, answered.outcome) == ("", "completed")
        await settled(own_nats, entries(stack))


async def test_a_caller_that_dies_in_mid_stream_is_told_and_the_others_go_on(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(
            own_nats,
            tmp_path,
            configure=only_first,
            replicas={"caller": 0},
            environment={"DROVEWAY_METRICS_MISSING_ROW_S": "1"},
            token_interval_ms=20,
        ) as stack,
        processes(own_nats, stack, "caller", "caller") as callers,
        stack.client() as client,
    ):
        streams = await _streams(client, 16, 200)
        await _all_open(stack, 16)
        victims = await callers[0].value(IN_FLIGHT)
        killed_s = callers[0].kill()
        ends: list[float] = []
        for stream in streams:
            stream.add_done_callback(lambda _task: ends.append(time.monotonic() - killed_s))
        got = await asyncio.gather(*streams)
        cut = [one for one in got if not one.done]
        assert 0 < len(cut) == victims < 16
        for one in cut:
            assert one.error["code"] == "stream_interrupted"
            assert "[DONE]" not in one.text
            assert not one.whole
            assert numbered(200).startswith(one.said)
        assert max(sorted(ends)[: len(cut)]) <= ERROR_WITHIN_S
        assert all(one.said == numbered(200) for one in got if one.done)
        await settled(own_nats, entries(stack))
        rows = await stored_rows(own_nats)
        told = [row for row in attempts_of(rows) if row.witness]
        assert {row.attempt_id for row in told} == {
            row.attempt_id for row in requests_of(rows) if row.outcome == "interrupted"
        }
        assert len(told) == victims, "each attempt whose caller died has a row all the same"
        assert all(row.usage.estimated and row.usage.output_tokens > 0 for row in told)


async def test_a_router_that_dies_after_commit_is_not_missed(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(
            own_nats, tmp_path, configure=only_first, replicas={"router": 0}, token_interval_ms=10
        ) as stack,
        processes(own_nats, stack, "router") as (router,),
        stack.client() as client,
    ):
        streams = await _streams(client, 20, 250)
        await _all_open(stack, 20)
        router.kill()
        got = await asyncio.gather(*streams)
        assert [one.said for one in got] == [numbered(250)] * 20
        assert all(one.done for one in got)
        await settled(own_nats, entries(stack))


async def test_a_router_that_dies_before_it_accepts_is_replaced(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=only_first) as stack,
        processes(own_nats, stack, "router") as (router,),
        stack.client() as client,
    ):
        router.pause()
        asked = await _streams(client, 20, 3)
        await eventually(lambda: len(entries(stack)) >= 1)  # at the other one: well within 250 ms
        router.kill()
        got = await asyncio.gather(*asked)
        assert [one.status for one in got] == [200] * 20
        assert {one.said for one in got} == {numbered(3)}
        assert len(entries(stack)) == 20, "no request went upstream twice"
        waits_ms = [int(one.headers["openai-processing-ms"]) for one in got]
        assert sum(wait_ms >= 250 for wait_ms in waits_ms) > 0, "some had been sent to it"
        await settled(own_nats, entries(stack))


async def test_a_gateway_that_dies_frees_the_providers(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=only_first, token_interval_ms=20) as stack,
        processes(own_nats, stack, "gateway") as (gateway,),
        stack.client() as client,
    ):
        client.base_url = httpx.URL(f"http://127.0.0.1:{gateway.port}")
        streams = await _streams(client, 20, 5000)
        waiting = asyncio.ensure_future(
            ask(client, chat_body("fault-numbered-5+slow-first-token-60000", stream=False))
        )
        await eventually(lambda: stack.simulator.book.totals.requests == 21)
        await eventually(lambda: sum(one.tokens_sent > 0 for one in entries(stack)) == 20)
        gateway.kill()
        results = await asyncio.gather(*streams, waiting, return_exceptions=True)
        assert not any(isinstance(one, Got) and one.whole for one in results)
        await nothing_open(stack, FREED_WITHIN_S)
        assert stack.simulator.book.totals.client_closed == 21
        await settled(own_nats, entries(stack))


async def test_streams_survive_a_broker_that_is_killed_and_comes_back(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=only_first, token_interval_ms=10) as stack,
        stack.client() as client,
    ):
        streams = await _streams(client, 20, 300)
        await _all_open(stack, 20)
        own_nats.kill()
        with Pace() as pace:
            refused = await ask(client, chat_body())
        assert (refused.status, refused.error["code"]) == (503, "service_unavailable")
        assert refused.headers["retry-after"] == "1"
        assert pace.elapsed_s < 0.5
        await asyncio.to_thread(own_nats.start)
        got = await asyncio.gather(*streams)
        assert all(numbered(300).startswith(one.said) for one in got), "no gap, no repeat"
        assert all(one.done or "error" in one.text for one in got)
        assert sum(one.said == numbered(300) and one.done for one in got) >= 19
        until_s = time.monotonic() + 5
        while (await client.post(CHAT, json=chat_body())).status_code != 200:
            assert time.monotonic() < until_s
            await asyncio.sleep(0.05)
        await settled(own_nats, entries(stack))


async def test_metrics_that_die_are_not_missed(own_nats: NatsServer, tmp_path: Path) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=only_first, replicas={"metrics": 0}) as stack,
        processes(own_nats, stack, "metrics") as (metrics,),
        stack.client() as client,
    ):
        running = await _streams(client, 5, 50)
        metrics.kill()
        got = await asyncio.gather(*running, *await _streams(client, 5, 50))
        assert {one.said for one in got} == {numbered(50)}
