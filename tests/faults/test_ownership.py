"""A request has one router: a live one keeps it, a dead one's passes to another exactly once."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from droveway.contracts import admission
from droveway.contracts.envelope import encode
from droveway.contracts.inference import (
    INTERACTIVE,
    Accepted,
    Held,
    InferenceRequested,
    Waiting,
    inference_subject,
    request_decoder,
)
from droveway.router.admission import admit
from droveway.runtime.bus import Bus
from tests.support.flows import ask, entries, eventually, numbered, only_first
from tests.support.nats import NatsServer
from tests.support.pace import Pace
from tests.support.processes import processes
from tests.support.simulator import chat_body
from tests.support.stack import Stack, running_stack

TAKEN_OVER_WITHIN_S = 6.0


class Puppet:
    """A router that admits and accepts what it gets, and then does nothing but wait."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.has: list[tuple[InferenceRequested, str]] = []
        self.decisions: list[admission.Decision] = []
        self.signs = asyncio.Event()
        """Whether it says that it waits; not before it has accepted, unless it is told to."""

    async def take(self, *, accept: bool = True) -> InferenceRequested:
        """The next request, admitted, and its door told so unless it's a slow one."""
        arrived: asyncio.Queue[tuple[bytes, str]] = asyncio.Queue(maxsize=8)
        subscription = await self.bus.subscribe(
            inference_subject(INTERACTIVE),
            lambda payload, reply: arrived.put_nowait((payload, reply)),
            queue="router",
        )
        async with asyncio.timeout(10):
            payload, reply = await arrived.get()
        subscription.close()
        request = request_decoder.decode(payload)
        self.decisions.append(await admit(self.bus, request, request.model, 1_000))
        self.has.append((request, reply))
        if accept:
            self.accept()
        return request

    def accept(self) -> None:
        self.signs.set()
        for request, reply in self.has:
            news = Accepted(request_id=request.request_id, router=self.bus.instance)
            self.bus.publish(reply, encode(news))

    async def wait(self) -> None:
        """Signs of life, as a router's with a queued request."""
        await self.signs.wait()
        while True:
            for request, reply in self.has:
                news = Waiting(request_id=request.request_id, router=self.bus.instance)
                self.bus.publish(reply, encode(news))
            await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def puppet(nats: NatsServer) -> AsyncIterator[Puppet]:
    async with nats.bus("router") as bus, bus_hub(bus):
        one = Puppet(bus)
        signs = asyncio.create_task(one.wait())
        try:
            yield one
        finally:
            signs.cancel()
            await asyncio.gather(signs, return_exceptions=True)


@contextlib.asynccontextmanager
async def bus_hub(bus: Bus) -> AsyncIterator[None]:
    """It answers probes while it lives, as every process with a hub does."""
    from droveway.runtime.relay import RelayHub

    hub = RelayHub(bus)
    await hub.listen()
    running = asyncio.create_task(hub.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@contextlib.asynccontextmanager
async def without_routers(nats: NatsServer, folder: Path) -> AsyncIterator[Stack]:
    async with running_stack(nats, folder, configure=only_first, replicas={"router": 0}) as stack:
        yield stack


async def test_a_queued_request_whose_router_dies_is_run_by_another_exactly_once(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with without_routers(own_nats, tmp_path) as stack, stack.client() as client:
        async with contextlib.AsyncExitStack() as other:
            async with puppet(own_nats) as first:
                asked = asyncio.ensure_future(ask(client, chat_body("numbered-5", stream=True)))
                request = await first.take()
                await other.enter_async_context(processes(own_nats, stack, "router"))
                assert not asked.done(), "its router lives"
            with Pace() as pace:
                got = await asked
        assert (got.status, got.said) == (200, numbered(5))
        assert pace.elapsed_s < TAKEN_OVER_WITHIN_S
        assert len(entries(stack)) == 1
        assert request.ask == 1


async def test_a_request_that_a_live_router_holds_is_never_run_by_a_second(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    """Its `Accepted` is late, so the door asks another router: that one hears who has it."""
    async with without_routers(own_nats, tmp_path) as stack, stack.client() as client:
        async with contextlib.AsyncExitStack() as other:
            async with puppet(own_nats) as slow:
                asked = asyncio.ensure_future(ask(client, chat_body("numbered-5", stream=True)))
                await slow.take(accept=False)
                async with puppet(own_nats) as second:
                    repeated = await second.take(accept=False)
                    slow.signs.set()
                    assert repeated.ask == 2
                    assert second.decisions == [_held_by(slow, repeated.request_id)]
                    held = Held(
                        request_id=repeated.request_id,
                        router=second.bus.instance,
                        holder=slow.bus.instance,
                        ask=1,
                    )
                    second.bus.publish(second.has.pop()[1], encode(held))
                    await other.enter_async_context(processes(own_nats, stack, "router"))
                assert not asked.done(), "the holder lives and says so: it is waited for"
                assert entries(stack) == []
                slow.accept()
            got = await asked  # and now it is dead
        assert (got.status, got.said) == (200, numbered(5))
        assert len(entries(stack)) == 1


def _held_by(holder: Puppet, request_id: str) -> admission.Held:
    return admission.Held(request_id=request_id, router=holder.bus.instance, ask=1)


async def test_an_attempt_outlives_its_router(own_nats: NatsServer, tmp_path: Path) -> None:
    async with without_routers(own_nats, tmp_path) as stack, stack.client() as client:
        async with processes(own_nats, stack, "router", "router") as routers:
            model = "fault-numbered-5+slow-first-token-5000"
            asked = [
                asyncio.ensure_future(ask(client, chat_body(model, stream=True))) for _ in range(6)
            ]
            await eventually(lambda: len(entries(stack)) == 6)
            routers[0].kill()
            got = await asyncio.gather(*asked)
        assert {(one.status, one.said, one.done) for one in got} == {(200, numbered(5), True)}
        assert len(entries(stack)) == 6, "nothing was paid twice"


async def test_an_attempt_that_fails_after_its_router_has_died_is_made_anew(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with without_routers(own_nats, tmp_path) as stack, stack.client() as client:
        async with contextlib.AsyncExitStack() as other:
            async with processes(own_nats, stack, "router"):
                model = "fault-numbered-5+slow-first-token-6000+cut-after-0+times-1"
                asked = asyncio.ensure_future(ask(client, chat_body(model, stream=True)))
                await eventually(lambda: len(entries(stack)) == 1)
                await other.enter_async_context(processes(own_nats, stack, "router"))
            got = await asked
        assert (got.status, got.said) == (200, numbered(5))
        assert len(entries(stack)) == 2


async def test_a_router_that_was_frozen_runs_nothing_once_it_wakes(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=only_first) as stack,
        processes(own_nats, stack, "router") as (router,),
        stack.client() as client,
    ):
        router.pause()
        asked = [
            asyncio.ensure_future(ask(client, chat_body("numbered-3", stream=True)))
            for _ in range(20)
        ]
        got = await asyncio.gather(*asked)
        assert {one.status for one in got} <= {200, 503}
        served = sum(one.status == 200 for one in got)
        assert served >= 12
        await asyncio.sleep(1.5)
        assert len(entries(stack)) == served
        router.resume()
        await asyncio.sleep(1.0)
        assert len(entries(stack)) == served, "what it slept over is another's by now"
        assert (await ask(client, chat_body("numbered-3", stream=True))).status == 200


async def test_a_broker_that_stands_still_makes_nobody_run_a_request_twice(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=only_first, replicas={"router": 3}) as stack,
        stack.client() as client,
    ):
        for pause_s in (0.3, 0.4):
            before = len(entries(stack))
            asked = [
                asyncio.ensure_future(ask(client, chat_body("numbered-3", stream=True)))
                for _ in range(30)
            ]
            own_nats.pause(signal.SIGSTOP)
            await asyncio.sleep(pause_s)
            own_nats.pause(signal.SIGCONT)
            got = await asyncio.gather(*asked)
            served = [one for one in got if one.status == 200]
            assert {one.said for one in served} == {numbered(3)}
            assert len(entries(stack)) - before == len(served) == 30


async def test_a_broker_that_is_away_makes_nobody_run_an_attempt_twice(
    own_nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        running_stack(own_nats, tmp_path, configure=only_first, replicas={"router": 2}) as stack,
        stack.client() as client,
    ):
        model = "fault-numbered-5+slow-first-token-8000"
        asked = [
            asyncio.ensure_future(ask(client, chat_body(model, stream=True))) for _ in range(6)
        ]
        await eventually(lambda: len(entries(stack)) == 6)
        own_nats.kill()
        await asyncio.sleep(3.3)
        await asyncio.to_thread(own_nats.start)
        got = await asyncio.gather(*asked)
        assert {(one.status, one.said, one.done) for one in got} == {(200, numbered(5), True)}
        assert len(entries(stack)) == 6
