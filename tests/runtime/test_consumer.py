"""Bounded handlers: refused when full, cut at the end of a drain, and one bug harms one message."""

import asyncio

import msgspec
import pytest

from droveway.contracts.envelope import encode
from droveway.contracts.inference import Accepted
from droveway.runtime.consumer import Consumer, on_message

DECODER = msgspec.msgpack.Decoder(Accepted)
MESSAGE = Accepted(request_id="r", router="router-1")


class Work:
    """Handlers that wait to be let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.ended = 0
        self.cancelled = 0
        self.refused: list[str] = []

    async def handle(self, _message: Accepted, _reply: str) -> None:
        try:
            await self.go.wait()
            self.ended += 1
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def refuse(self, _message: Accepted, reply: str) -> None:
        self.refused.append(reply)


async def test_beyond_the_bound_messages_are_refused() -> None:
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        consumer = Consumer("inference", tasks, 3)
        receive = on_message(consumer, DECODER, work.handle, work.refuse)
        for number in range(5):
            receive(encode(MESSAGE), f"reply-{number}")
        assert work.refused == ["reply-3", "reply-4"]
        statistics = consumer.statistics()
        assert (statistics.running, statistics.limit) == (3, 3)
        assert (statistics.handled, statistics.refused_full) == (3, 2)
        work.go.set()
        await consumer.drain(1)
        receive(encode(MESSAGE), "room again")
    assert work.ended == 4


async def test_what_is_no_message_is_counted_and_dropped() -> None:
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        consumer = Consumer("inference", tasks, 3)
        receive = on_message(consumer, DECODER, work.handle, work.refuse)
        for payload in (b"", b"\xc1", b"\x91" * 100_000, b"\x81\xa1t\xa1x", b"{}"):
            receive(payload, "reply")
        assert consumer.statistics().malformed == 5
        assert consumer.statistics().running == 0


async def test_a_handler_that_raises_is_counted_and_the_others_live(
    caplog: pytest.LogCaptureFixture,
) -> None:
    work = Work()

    async def fail() -> None:
        raise RuntimeError("a bug")

    async with asyncio.TaskGroup() as tasks:
        consumer = Consumer("inference", tasks, 3)
        receive = on_message(consumer, DECODER, work.handle, work.refuse)
        receive(encode(MESSAGE), "reply")
        assert consumer.start(fail())
        await asyncio.sleep(0)
        work.go.set()
        await consumer.drain(1)
    assert work.ended == 1
    assert consumer.statistics().failed == 1
    assert "handler_failed in inference" in caplog.messages


async def test_a_drain_waits_for_what_ends_in_time() -> None:
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        consumer = Consumer("inference", tasks, 3)
        on_message(consumer, DECODER, work.handle, work.refuse)(encode(MESSAGE), "reply")
        asyncio.get_running_loop().call_later(0.02, work.go.set)
        await consumer.drain(5)
        assert (work.ended, work.cancelled) == (1, 0)


async def test_a_drain_cuts_what_does_not() -> None:
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        consumer = Consumer("inference", tasks, 3)
        receive = on_message(consumer, DECODER, work.handle, work.refuse)
        receive(encode(MESSAGE), "reply")
        receive(encode(MESSAGE), "reply")
        await asyncio.sleep(0)
        await consumer.drain(0.02)
        assert (work.ended, work.cancelled) == (0, 2)
        assert consumer.statistics().running == 0


async def test_a_drain_of_nothing_is_immediate() -> None:
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(0.5):
        await Consumer("inference", tasks, 1).drain(60)
