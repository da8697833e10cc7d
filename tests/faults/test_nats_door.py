"""Clients on the bus when a gateway or the broker dies, is replaced, or a reader stands still."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from droveway import client
from droveway.contracts.config import Config
from tests.support.bus_client import bus_client, key_id_of, plain_tenant, read, with_bus_users
from tests.support.flows import (
    ask,
    entries,
    eventually,
    lines_until,
    nothing_open,
    numbered,
    only_first,
    rows_of,
)
from tests.support.nats import NatsServer
from tests.support.pace import Pace
from tests.support.processes import processes
from tests.support.simulator import chat_body
from tests.support.stack import running_stack

TOLD_WITHIN_S = 2.0


async def test_a_gateway_that_is_killed_is_told_within_two_seconds(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(
            own_nats,
            tmp_path,
            configure=lambda config: with_bus_users(own_nats, only_first(config)),
            replicas={"gateway": 0},
            token_interval_ms=20,
        ) as stack,
        processes(own_nats, stack, "gateway") as (gateway,),
        bus_client(own_nats, stack) as bus,
    ):
        streams = [bus.stream(chat_body("numbered-5000")) for _ in range(10)]
        reading = [asyncio.ensure_future(read(stream)) for stream in streams]
        await eventually(lambda: sum(one.tokens_sent > 0 for one in entries(stack)) == 10)
        gateway.kill()
        with Pace() as pace:
            results = await asyncio.gather(*reading, return_exceptions=True)
        assert pace.elapsed_s < TOLD_WITHIN_S
        for stream, result in zip(streams, results, strict=True):
            assert isinstance(result, client.Interrupted)
            assert result.code == "stream_interrupted"
            assert result.text == stream.said
            assert numbered(5000).startswith(stream.said)
        with pytest.raises(client.NoGateway):
            await bus.call(chat_body())


async def test_streams_of_our_client_survive_a_broker_that_is_killed_and_comes_back(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(
            own_nats,
            tmp_path,
            configure=lambda config: with_bus_users(own_nats, only_first(config)),
            token_interval_ms=10,
        ) as stack,
        bus_client(own_nats, stack) as bus,
    ):
        streams = [bus.stream(chat_body("numbered-300")) for _ in range(20)]
        reading = [asyncio.ensure_future(read(stream)) for stream in streams]
        await eventually(lambda: sum(one.tokens_sent > 0 for one in entries(stack)) == 20)
        own_nats.kill()
        await asyncio.to_thread(own_nats.start)
        results = await asyncio.gather(*reading, return_exceptions=True)
        assert all(numbered(300).startswith(stream.said) for stream in streams)
        whole = [stream for stream in streams if stream.said == numbered(300)]
        assert len(whole) >= 19, results


async def test_a_gateway_that_is_replaced_lets_its_answers_end_and_takes_no_more(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(
            own_nats,
            tmp_path,
            configure=lambda config: with_bus_users(own_nats, only_first(config)),
            token_interval_ms=10,
        ) as stack,
        bus_client(own_nats, stack) as bus,
    ):
        running = asyncio.ensure_future(read(stream := bus.stream(chat_body("numbered-60"))))
        await eventually(lambda: len(entries(stack)) == 1 and entries(stack)[0].tokens_sent > 0)
        gateway = stack.services["gateway"][0]
        gateway.stop.set()
        await asyncio.sleep(0.1)
        with pytest.raises(client.NoGateway):
            await bus.call(chat_body())
        await running
        assert stream.said == numbered(60)


async def test_what_does_not_end_in_time_is_told_that_the_server_shuts_down(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(
            own_nats,
            tmp_path,
            configure=lambda config: with_bus_users(own_nats, only_first(config)),
            environment={"DROVEWAY_GATEWAY_DRAIN_S": "0.3"},
            token_interval_ms=10,
        ) as stack,
        plain_tenant(own_nats, key_id_of(stack)) as tenant,
        tenant.asking(chat_body("numbered-5000", stream=True)) as begun,
        tenant.asking(chat_body("fault-numbered-5+slow-first-token-60000", stream=True)) as waiting,
        tenant.asking(chat_body("fault-numbered-5+slow-first-token-60000")) as whole,
    ):
        await begun.until(lambda it: len(it.of("chunk")) > 2)
        await eventually(lambda: len(entries(stack)) == 3)
        await stack.services["gateway"][0].end()
        for answer, kind in ((begun, "interrupted"), (waiting, "failed"), (whole, "failed")):
            await answer.until(lambda it: it.ended)
            assert answer.terminal["t"] == kind
            assert answer.terminal["error"]["code"] == "server_shutting_down"
        assert whole.terminal["status"] == 503
        assert whole.terminal["should_retry"]
        assert begun.is_gap_free
        await nothing_open(stack, 2.0)
        trail = await rows_of(own_nats, begun.frames[0]["request_id"])
        assert trail.request is not None
        assert (trail.request.outcome, trail.request.status) == ("interrupted", 200)


async def test_a_reader_that_grants_no_credit_is_cut(own_nats: NatsServer, tmp_path: Path) -> None:
    def configure(config: Config) -> Config:
        return with_bus_users(own_nats, only_first(config))

    async with (
        running_stack(
            own_nats,
            tmp_path,
            configure=configure,
            environment={"DROVEWAY_GATEWAY_CLIENT_STALL_S": "0.5"},
        ) as stack,
        plain_tenant(own_nats, key_id_of(stack)) as tenant,
    ):
        body = chat_body("fault-numbered-2000+huge-line-200000", stream=True)
        async with tenant.asking(body, droveway_flow="credit") as answer:
            await answer.until(lambda it: it.ended, 4.0)
            assert answer.terminal["t"] == "interrupted"
            await nothing_open(stack, 2.0)
        trail = await rows_of(own_nats, answer.frames[0]["request_id"])
        assert trail.request is not None
        assert (trail.request.outcome, trail.request.status) == ("cancelled", 499)


async def test_both_doors_share_the_bound_on_open_requests(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(
            own_nats,
            tmp_path,
            configure=lambda config: with_bus_users(own_nats, only_first(config)),
            environment={"DROVEWAY_GATEWAY_MAX_OPEN_REQUESTS": "2"},
            token_interval_ms=10,
        ) as stack,
        plain_tenant(own_nats, key_id_of(stack)) as tenant,
        stack.client() as http,
    ):
        async with tenant.asking(chat_body("numbered-5000", stream=True)) as first:
            await first.until(lambda it: it.of("chunk"))
            async with lines_until(http, chat_body("numbered-5000", stream=True), "t0 "):
                refused = await tenant.request(chat_body())
                over_http = await ask(http, chat_body())
        for status, error in (
            (refused["status"], refused["error"]),
            (over_http.status, over_http.error),
        ):
            assert (status, error["code"]) == (503, "overloaded")
        assert refused["should_retry"]
        await nothing_open(stack)
        assert (await tenant.request(chat_body()))["t"] == "completed"
        async with AsyncExitStack() as running:
            for _ in range(2):  # as many as there may be tasks: the next isn't even looked at
                entered = tenant.asking(chat_body("numbered-5000", stream=True))
                answer = await running.enter_async_context(entered)
                await answer.until(lambda it: it.of("chunk"))
            refused = await tenant.request(chat_body())
        assert refused["error"]["code"] == "overloaded"
