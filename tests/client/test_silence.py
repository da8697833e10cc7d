"""Gateways that are gone, silent or strange, and lost frames: what the client makes of them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from droveway import client
from droveway.client.connection import BUSY_S, CHECK_EVERY_S
from droveway.client.exchange import DEAD_S
from droveway.contracts import client as wire
from droveway.contracts.relay import WINDOW_BYTES
from droveway.runtime.relay.receiver import MAX_FRAME_BYTES
from tests.support.bus_client import read
from tests.support.fake_gateway import KEY, RELAY, FakeGateway, begin, chunk, gateway
from tests.support.flows import eventually
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body


@asynccontextmanager
async def connected(nats: NatsServer) -> AsyncIterator[client.Client]:
    seed = nats.add_key_user(KEY)
    async with client.connect(nats.url, key_id=KEY, seed_file=seed) as opened:
        yield opened


async def test_a_request_that_nobody_takes_fails_at_once(nats: NatsServer) -> None:
    async with connected(nats) as bus:
        began_s = time.monotonic()
        with pytest.raises(client.NoGateway, match="no gateway is running"):
            await bus.call(chat_body())
        assert time.monotonic() - began_s < 0.5


async def test_a_gateway_that_ends_is_noticed_within_two_seconds(nats: NatsServer) -> None:
    async with connected(nats) as bus:
        async with gateway(nats) as fake:
            await fake.listen()
            fake.answer = begin
            stream = await bus.stream(chat_body()).__aenter__()
        ended_s = time.monotonic()
        with pytest.raises(client.Interrupted, match="process is gone") as caught:
            async for _event in stream:
                pass
        assert time.monotonic() - ended_s < 2.0
        assert caught.value.text == "a"
        assert caught.value.usage is None
        await stream.__aexit__(None, None, None)


async def test_a_gateway_that_lives_but_says_nothing_is_given_up(nats: NatsServer) -> None:
    async with gateway(nats) as fake, connected(nats) as bus:
        await fake.listen()

        def answer(it: FakeGateway, reply: str) -> None:
            if len(it.replies) == 2:  # the first is swallowed
                it.open(reply)
                it.send(reply, chunk(0, "a"))

        def live(message: wire.Control, reply: str) -> None:
            if isinstance(message, wire.Probe):
                fake.bus.publish(reply, b"")

        fake.answer, fake.on_control = answer, live
        began_s = time.monotonic()
        swallowed, silent = await asyncio.gather(
            bus.call(chat_body()), read(bus.stream(chat_body())), return_exceptions=True
        )
        assert DEAD_S <= time.monotonic() - began_s < DEAD_S + 0.6
        assert isinstance(swallowed, client.Interrupted)
        assert "whether the request ran isn't known" in str(swallowed)
        assert isinstance(silent, client.Interrupted)
        assert silent.text == "a"
        assert "nothing heard" in str(swallowed)
        assert "nothing heard" in str(silent)
        assert fake.got(wire.Probe)
        assert fake.got(wire.Resend), "a lost terminal would come now"
        await eventually(lambda: bool(fake.got(wire.Cancel)))


async def test_a_lost_frame_is_asked_for_and_order_is_kept(nats: NatsServer) -> None:
    frames: list[wire.Frame] = [chunk(n, text) for n, text in enumerate("abc")]
    frames.append(wire.Completed(seq=3))
    async with gateway(nats) as fake, connected(nats) as bus:
        await fake.listen()

        def answer(it: FakeGateway, reply: str) -> None:
            it.open(reply)
            it.send(reply, frames[0], frames[2], frames[0], frames[3])

        def resend(message: wire.Control, _reply: str) -> None:
            if isinstance(message, wire.Resend):
                fake.send(fake.replies[-1], *frames[message.from_seq :])

        fake.answer, fake.on_control = answer, resend
        async with bus.stream(chat_body()) as stream:
            assert [text async for text in stream.text()] == ["a", "b", "c"]
        await eventually(lambda: len(fake.got(wire.Taken)) == 1)
        assert [message for message in fake.controls if isinstance(message, wire.Resend)] == [
            wire.Resend(relay_id=RELAY, from_seq=1)
        ]
        assert not fake.got(wire.Cancel)


async def test_a_lost_terminal_is_asked_for_after_a_heartbeat(nats: NatsServer) -> None:
    async with gateway(nats) as fake, connected(nats) as bus:
        await fake.listen()

        def answer(it: FakeGateway, reply: str) -> None:
            it.open(reply)
            it.send(reply, chunk(0, "a"), wire.Heartbeat(next_seq=2, blocked=False))

        def resend(message: wire.Control, _reply: str) -> None:
            if isinstance(message, wire.Resend) and message.from_seq == 1:
                fake.send(fake.replies[-1], wire.Completed(seq=1, finish_reason="stop"))

        fake.answer, fake.on_control = answer, resend
        async with bus.stream(chat_body()) as stream:
            assert [text async for text in stream.text()] == ["a"]
        assert stream.completed is not None


async def test_what_comes_after_the_terminal_is_nothing(nats: NatsServer) -> None:
    async with gateway(nats) as fake, connected(nats) as bus:
        await fake.listen()

        def answer(it: FakeGateway, reply: str) -> None:
            it.open(reply)
            it.send(reply, chunk(0, "a"), wire.Completed(seq=1), chunk(2, "late"))
            it.send(reply, wire.Completed(seq=3))

        fake.answer = answer
        async with bus.stream(chat_body()) as stream:
            assert [text async for text in stream.text()] == ["a"]


@pytest.mark.parametrize("payload", [b"\x81\xa1t", b"{}", b"\xc1", b"\x81" * 9_000])
async def test_a_frame_that_cannot_be_read_ends_the_answer(
    nats: NatsServer, payload: bytes
) -> None:
    async with gateway(nats) as fake, connected(nats) as bus:
        await fake.listen()

        def answer(it: FakeGateway, reply: str) -> None:
            it.open(reply)
            it.send(reply, chunk(0, "a"))
            it.bus.publish(reply, payload)

        fake.answer = answer
        stream = bus.stream(chat_body())
        with pytest.raises(client.Interrupted, match="can't be read"):
            await read(stream)
        assert stream.said == "a"
        await eventually(lambda: bool(fake.got(wire.Cancel)))


async def test_an_answer_without_its_first_frame_is_no_answer(nats: NatsServer) -> None:
    async with gateway(nats) as fake, connected(nats) as bus:
        await fake.listen()
        fake.answer = lambda it, reply: it.send(reply, chunk(0, "a"))
        with pytest.raises(client.Interrupted, match="first frame"):
            await bus.call(chat_body())


async def test_a_request_that_is_taken_after_its_reader_left_is_cancelled(
    nats: NatsServer,
) -> None:
    async with gateway(nats) as fake, connected(nats) as bus:
        await fake.listen()
        asked = asyncio.ensure_future(bus.call(chat_body()))
        await eventually(lambda: len(fake.replies) == 1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        fake.open(fake.replies[0])
        await eventually(lambda: fake.controls == [wire.Cancel(relay_id=RELAY)])


async def test_a_flood_beyond_the_credit_is_not_held(nats: NatsServer) -> None:
    async with gateway(nats) as fake, connected(nats) as bus:
        await fake.listen()

        def answer(it: FakeGateway, reply: str) -> None:
            it.open(reply)
            for seq in range(300):
                it.send(reply, chunk(seq, "x" * 10_000))

        fake.answer = answer
        async with bus.stream(chat_body()) as stream:
            await asyncio.sleep(0.2)
            receiver = stream._exchange._receiver
            assert receiver is not None
            assert receiver.overruns > 100
            assert receiver.held_bytes < WINDOW_BYTES + MAX_FRAME_BYTES + 20_000


async def test_without_a_broker_nothing_is_sent(own_nats: NatsServer) -> None:
    async with connected(own_nats) as bus:
        own_nats.kill()
        await asyncio.sleep(0.1)
        with pytest.raises(client.NotConnected):
            await bus.call(chat_body())


async def test_an_application_that_kept_the_loop_blames_nobody(nats: NatsServer) -> None:
    async with gateway(nats) as fake, connected(nats) as bus:
        await fake.listen()
        fake.answer = begin
        async with bus.stream(chat_body()) as stream:
            exchange = stream._exchange
            exchange._heard_s -= DEAD_S  # as after so long a pause
            time.sleep(CHECK_EVERY_S + BUSY_S + 0.1)  # noqa: ASYNC251 - that is the fault
            fake.send(fake.replies[0], chunk(1, "b"), wire.Completed(seq=2))
            assert [text async for text in stream.text()] == ["a", "b"]
