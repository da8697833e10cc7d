"""How full the streams are, as JetStream itself tells."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from prometheus_client import CollectorRegistry

from droveway.contracts.jetstream import STREAMS, USAGE
from droveway.metrics.streams import StreamStatistics, StreamWatch
from droveway.runtime.bus import Bus
from droveway.runtime.gauges import Gauges
from tests.support.nats import NatsServer
from tests.support.waiting import until


@asynccontextmanager
async def watching(bus: Bus, every_s: float = 0.05) -> AsyncIterator[StreamWatch]:
    watch = StreamWatch(bus, every_s)
    task = asyncio.ensure_future(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_every_stream_answers_with_its_size_and_its_bound(own_nats: NatsServer) -> None:
    async with own_nats.bus("metrics") as bus, watching(bus) as watch:
        await until(lambda: all(watch.statistics(stream).answering for stream in STREAMS))
        usage = watch.statistics(USAGE)
        assert usage.messages == 0
        assert 0 < usage.limit_bytes < math.inf
        assert usage.limit_messages == math.inf
        assert 0 <= usage.age_s < 5


async def test_what_is_stored_is_seen_and_a_dead_broker_too(own_nats: NatsServer) -> None:
    async with (
        own_nats.bus("metrics") as bus,
        own_nats.bus("caller") as caller,
        watching(bus) as watch,
    ):
        caller.publish("droveway.v1.usage.acme", b"row")
        await until(lambda: watch.statistics(USAGE).last_sequence == 1)
        assert watch.statistics(USAGE).bytes > 0
        own_nats.kill()
        await until(lambda: not watch.statistics(USAGE).answering)
        assert watch.statistics(USAGE).last_sequence == 1


async def test_nothing_is_claimed_before_the_first_answer(own_nats: NatsServer) -> None:
    async with own_nats.bus("metrics") as bus:
        registry, gauges = CollectorRegistry(), Gauges("metrics")
        registry.register(gauges)
        StreamWatch(bus).show(gauges)
        labels = {"service": "metrics", "stream": USAGE}
        assert registry.get_sample_value("droveway_stream_answering", labels) == 0
        assert registry.get_sample_value("droveway_stream_age_seconds", labels) == -1


async def test_operators_are_told_what_holds_now_and_how_clocks_stand(
    own_nats: NatsServer,
) -> None:
    async with own_nats.bus("metrics") as bus, own_nats.bus("caller") as caller:
        watch = StreamWatch(bus)
        caller.publish("droveway.v1.usage.acme", b"row")
        await caller.settle()
        told = await watch.told()
        streams = {one.name: one for one in told.streams}
        assert [*streams] == [*STREAMS]
        assert all(one.answering for one in told.streams)
        usage = streams[USAGE]
        assert (usage.messages, usage.limit_messages, usage.bytes > 0) == (1, 0, True)
        assert 0 < usage.bytes < usage.limit_bytes
        assert told.broker_ahead_ms is not None
        assert abs(told.broker_ahead_ms) < 1_000
        own_nats.kill()
        later = await watch.told()
        assert not any(one.answering for one in later.streams)
        assert later.broker_ahead_ms is None, "what was once so may not be so any more"


async def test_an_operators_question_moves_no_gauge(own_nats: NatsServer) -> None:
    async with own_nats.bus("metrics") as bus:
        watch = StreamWatch(bus)
        assert all(one.answering for one in (await watch.told()).streams)
        assert watch.statistics(USAGE) == StreamStatistics(), "the round of its own sets them"
