"""What a caller says once may be lost with a connection; nobody waits for it in vain."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from droveway.contracts import dispatch, inference, relay
from droveway.contracts.config import Config
from droveway.contracts.envelope import MALFORMED
from tests.support.flows import ask, entries, eventually, numbered, route
from tests.support.nats import NatsServer
from tests.support.nats_proxy import NatsProxy
from tests.support.nats_wire import Message, Predicate
from tests.support.pace import Pace
from tests.support.simulator import chat_body
from tests.support.stack import running_stack


def news(kind: type) -> Predicate:
    """Messages that are this news of an attempt."""

    def matches(message: Message) -> bool:
        try:
            return isinstance(dispatch.news_decoder.decode(message.payload), kind)
        except MALFORMED:
            return False

    return matches


def to_door(kind: type) -> Predicate:
    """Messages by which a router says this to a door."""

    def matches(message: Message) -> bool:
        if relay.is_frame(message.payload):
            return False
        try:
            return isinstance(relay.news_decoder.decode(message.payload), kind)
        except MALFORMED:
            return False

    return matches


def first_fails(config: Config) -> Config:
    """The first provider answers 500, the second one well."""
    one = route("m", ("upstream-1", "fault-500"), ("upstream-2", "numbered-5"))
    return msgspec.structs.replace(config, routes=(one,))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_failure_that_was_lost_is_heard_of_when_the_router_asks(
    nats: NatsServer, tmp_path: Path, stream: bool
) -> None:
    async with NatsProxy.before(nats.url) as proxy:
        lost = proxy.rule(news(dispatch.AttemptFailed), "up", drop=1.0)
        environment = {"DROVEWAY_CALLER_NATS_URL": proxy.url}
        async with (
            running_stack(
                nats, tmp_path, simulators=2, environment=environment, configure=first_fails
            ) as stack,
            stack.client() as client,
        ):
            asked = asyncio.ensure_future(ask(client, chat_body("m", stream=stream)))
            with Pace() as pace:
                await eventually(lambda: lost.counts["dropped"] == 1)
                lost.heal()
                got = await asked
        assert (got.status, got.said) == (200, numbered(5))
        assert pace.elapsed_s < 4
        assert len(entries(stack)) == 2


async def test_a_commit_that_was_lost_does_not_leave_the_request_with_its_router(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with NatsProxy.before(nats.url) as proxy:
        lost = proxy.rule(news(dispatch.Committed), "up", drop=1.0)
        environment = {"DROVEWAY_CALLER_NATS_URL": proxy.url}
        async with (
            running_stack(nats, tmp_path, environment=environment) as stack,
            stack.client() as client,
        ):
            got = await ask(client, chat_body("numbered-5", stream=True))
            assert got.said == numbered(5)
            assert lost.counts["dropped"] == 1
            lost.heal()
            with Pace() as pace:
                await stack.services["router"][0].end()  # it drains what it still owns
            assert pace.elapsed_s < 3


async def test_a_commit_that_was_lost_costs_neither_the_stream_nor_a_second_call(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with NatsProxy.before(nats.url) as proxy:
        proxy.rule(news(dispatch.Committed), "up", drop=1.0)
        environment = {
            "DROVEWAY_CALLER_NATS_URL": proxy.url,
            "DROVEWAY_GATEWAY_FIRST_TOKEN_S": "0.3",
        }
        async with (
            running_stack(
                nats, tmp_path, simulators=2, environment=environment, token_interval_ms=20
            ) as stack,
            stack.client() as client,
        ):
            got = await ask(client, chat_body("numbered-100", stream=True))
            assert (got.said, got.done) == (numbered(100), True)
            assert len(entries(stack)) == 1, "none after commit"


async def test_a_refusal_that_was_lost_is_heard_of_when_the_door_asks(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with NatsProxy.before(nats.url) as proxy:
        lost = proxy.rule(to_door(inference.Refused), "up", drop=1.0)
        environment = {"DROVEWAY_ROUTER_NATS_URL": proxy.url}
        async with (
            running_stack(nats, tmp_path, environment=environment) as stack,
            stack.client() as client,
        ):
            asked = asyncio.ensure_future(ask(client, chat_body("fault-400")))
            with Pace() as pace:
                await eventually(lambda: lost.counts["dropped"] == 1)
                lost.heal()
                got = await asked
            assert got.status == 400
            assert pace.elapsed_s < 2.5
            assert len(entries(stack)) == 1, "asked about, not asked anew"
