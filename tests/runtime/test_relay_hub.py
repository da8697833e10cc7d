"""Two processes' hubs over a real bus: a caller that answers and a door that takes."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator

import pytest

from droveway.contracts import relay
from droveway.contracts.envelope import encode, new_instance
from droveway.runtime.bus import Bus, Inbox
from droveway.runtime.errors import RelayCut
from droveway.runtime.relay import Receiver, RelayHub, Sender
from tests.support.nats import NatsServer
from tests.support.pace import Pace
from tests.support.waiting import until

PIECE = bytes(4 * 1024)


class End:
    """One process: its bus, its hub, and the hub's background work."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.cancels: list[bytes] = []
        self.hub = RelayHub(bus, lambda relay_id, _reason, _attempt: self.cancels.append(relay_id))
        self.running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.hub.listen()
        self.running = asyncio.create_task(self.hub.run())

    async def stop(self) -> None:
        if self.running is not None:
            self.running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.running


@contextlib.asynccontextmanager
async def ends(server: NatsServer, *services: str) -> AsyncIterator[list[End]]:
    async with contextlib.AsyncExitStack() as stack:
        opened = [End(await stack.enter_async_context(server.bus(one))) for one in services]
        for end in opened:
            await end.start()
            stack.push_async_callback(end.stop)
        yield opened


class Answer:
    """One relayed answer: the door's receiver and the caller's sender."""

    def __init__(self, caller: End, door: End, attempt: int = 1) -> None:
        self.relay_id = secrets.token_bytes(16)
        self.door = door
        self.receiver: Receiver = door.hub.open_receiver(self.relay_id)
        self.lose = 0
        self.inbox: Inbox = door.bus.open_inbox(self._on_payload, lambda: None)
        self.sender: Sender = self.sender_of(caller)
        self.origin = relay.Origin(caller.bus.instance, bytes(16), attempt, "p", "m")

    def sender_of(self, caller: End) -> Sender:
        return caller.hub.open_sender(self.relay_id, self.door.bus.instance, self.inbox.subject)

    def _on_payload(self, payload: bytes) -> None:
        if self.lose:
            self.lose -= 1
            return
        self.receiver.on_frame(relay.frame_decoder.decode(payload), len(payload))

    async def send(self, pieces: int) -> None:
        for number in range(pieces):
            await self.sender.send((b"%d:" % number + PIECE,), self.origin if not number else None)

    async def finish(self, pieces: int) -> None:
        await self.send(pieces)
        self.sender.complete(relay.Usage(), "stop")

    async def take_all(self) -> tuple[list[int], relay.Frame]:
        numbers: list[int] = []
        while isinstance(frame := await self.receiver.take(), relay.Chunk):
            numbers.extend(int(event.partition(b":")[0]) for event in frame.events)
        return numbers, frame


async def test_an_answer_arrives_in_order_and_ends_once(nats: NatsServer) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door), asyncio.timeout(5):
        answer = Answer(caller, door)
        sending = asyncio.create_task(answer.finish(200))
        numbers, terminal = await answer.take_all()
        await sending
        assert numbers == list(range(200))
        assert terminal == relay.Completed(200, relay.Usage(), "stop", b"", None, 1)
        await answer.sender.done.wait()
        caller.hub.close_sender(answer.sender)
        door.hub.close_receiver(answer.receiver)
        assert caller.hub.statistics().sending == door.hub.statistics().receiving == 0


async def test_a_slow_reader_bounds_what_is_kept(nats: NatsServer) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door), asyncio.timeout(5):
        answer = Answer(caller, door)
        sending = asyncio.create_task(answer.finish(100))
        await until(lambda: answer.sender.blocked)
        for _ in range(10):
            await answer.receiver.take()
            kept = caller.hub.statistics().kept_bytes
            assert kept <= relay.WINDOW_BYTES + len(PIECE) + 100
        assert not sending.done()
        numbers, _ = await answer.take_all()
        assert numbers == list(range(10, 100))
        await sending


async def test_lost_frames_are_sent_again(nats: NatsServer) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door), asyncio.timeout(5):
        answer = Answer(caller, door)
        await answer.send(3)
        await until(lambda: answer.receiver.next_seq == 3)
        answer.lose = 2
        await answer.sender.send((b"3:",))
        await answer.sender.send((b"4:",))
        answer.sender.complete(relay.Usage(), "stop")
        numbers, terminal = await answer.take_all()
        assert numbers == [0, 1, 2, 3, 4]
        assert isinstance(terminal, relay.Completed)


async def test_a_lost_first_frame_and_a_lost_terminal_come_with_the_heartbeats(
    nats: NatsServer,
) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door), asyncio.timeout(5):
        answer = Answer(caller, door)
        answer.lose = 2
        await answer.finish(1)
        caller.hub.close_sender(answer.sender)
        numbers, terminal = await answer.take_all()
        assert numbers == [0]
        assert isinstance(terminal, relay.Completed)


async def test_cancel_reaches_the_sender_in_time(nats: NatsServer) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door), asyncio.timeout(5):
        answer = Answer(caller, door)
        sending = asyncio.create_task(answer.finish(1_000))
        await answer.receiver.take()
        with Pace() as pace:
            door.hub.send_control(caller.bus.instance, relay.Cancel(answer.relay_id))
            with pytest.raises(RelayCut, match="client_gone"):
                await sending
        assert pace.elapsed_s < 0.25
        assert caller.cancels == [answer.relay_id]


async def test_a_relay_that_the_door_does_not_know_is_cancelled(nats: NatsServer) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door), asyncio.timeout(5):
        answer = Answer(caller, door)
        door.hub.close_receiver(answer.receiver)
        with pytest.raises(RelayCut, match="unknown here"):
            await answer.finish(1_000)


async def test_the_later_of_two_attempts_is_cancelled(nats: NatsServer) -> None:
    async with ends(nats, "caller", "caller", "gateway") as (first, second, door):
        async with asyncio.timeout(5):
            answer = Answer(first, door)
            await answer.send(1)
            await until(lambda: answer.receiver.next_seq == 1)
            late = answer.sender_of(second)
            await late.send((b"9:",), relay.Origin(second.bus.instance, bytes(16), 2, "p", "m"))
            await late.send((b"9:",))
            await late.done.wait()
            assert late.cancel_reason == "unknown here"
            await answer.sender.send((b"1:",))
            answer.sender.complete(relay.Usage(), "stop")
            assert (await answer.take_all())[0] == [0, 1]


async def test_a_second_attempt_on_the_same_caller_outlives_the_first(nats: NatsServer) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door), asyncio.timeout(5):
        answer = Answer(caller, door)
        failed, answer.sender = answer.sender, answer.sender_of(caller)
        caller.hub.close_sender(failed)
        sending = asyncio.create_task(answer.finish(50))
        assert (await answer.take_all())[0] == list(range(50))
        await sending
        await answer.sender.done.wait()


async def test_a_sender_that_ends_without_a_terminal_ends_the_receiver(nats: NatsServer) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door), asyncio.timeout(5):
        answer, other = Answer(caller, door), Answer(caller, door)
        await answer.send(1)
        await other.send(1)
        caller.hub.close_sender(answer.sender)
        numbers, terminal = await answer.take_all()
        assert numbers == [0]
        assert isinstance(terminal, relay.Interrupted)
        assert other.receiver.next_seq == 1
        assert not other.receiver.ended


async def test_a_sender_that_was_given_up_ends_the_receiver_though_its_process_lives(
    nats: NatsServer,
) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door):
        answer = Answer(caller, door)
        await answer.send(1)
        await until(lambda: answer.receiver.next_seq == 1)
        answer.sender.cancel("the door seemed gone")  # as after a restart of the broker
        caller.hub.close_sender(answer.sender)
        await until(lambda: answer.receiver.ended, limit_s=4)
        assert answer.receiver.was_cut


async def test_a_caller_that_is_gone_cuts_its_answers(nats: NatsServer) -> None:
    async with ends(nats, "gateway") as (door,), asyncio.timeout(5):
        async with ends(nats, "caller") as (caller,):
            answer = Answer(caller, door)
            await answer.send(2)
            await until(lambda: answer.receiver.next_seq == 2)
            silent = Answer(caller, door)
        began_s = time.monotonic()
        numbers, terminal = await answer.take_all()
        assert time.monotonic() - began_s < 2.5
        assert numbers == [0, 1]
        assert isinstance(terminal, relay.Interrupted)
        assert terminal.failure.code == "stream_interrupted"
        assert not silent.receiver.ended
        assert door.hub.statistics().peers_dead == 1


async def test_a_door_that_is_gone_cancels_its_answers(nats: NatsServer) -> None:
    async with ends(nats, "caller") as (caller,), asyncio.timeout(5):
        async with ends(nats, "gateway") as (door,):
            answer = Answer(caller, door)
            sending = asyncio.create_task(answer.finish(1_000))
            await until(lambda: answer.sender.blocked)
        began_s = time.monotonic()
        with pytest.raises(RelayCut, match="process is gone"):
            await sending
        assert time.monotonic() - began_s < 2.5


async def test_a_linked_caller_that_is_gone_is_told_to_its_router(nats: NatsServer) -> None:
    async with ends(nats, "router") as (router,), asyncio.timeout(5):
        dead = asyncio.Event()
        async with ends(nats, "caller") as (caller,):
            unlink = router.hub.link(caller.bus.instance, dead.set)
            unlink_too = caller.hub.link(router.bus.instance)
        await dead.wait()
        unlink()
        unlink_too()
        assert router.hub.statistics().peers_dead == 1


async def test_a_linked_caller_that_lives_is_not_declared_dead(nats: NatsServer) -> None:
    async with ends(nats, "router", "caller") as (router, caller):
        deaths: list[str] = []
        router.hub.link(caller.bus.instance, lambda: deaths.append("caller"))
        caller.hub.link(router.bus.instance)
        heard = caller.bus.instance
        began_s = time.monotonic()
        await until(lambda: router.hub.heard_at_s(heard) > began_s + 1.2)
        assert deaths == []
        assert router.hub.statistics().peers == 1


async def test_streams_survive_a_restart_of_the_broker(own_nats: NatsServer) -> None:
    async with ends(own_nats, "caller", "gateway") as (caller, door), asyncio.timeout(10):
        answer = Answer(caller, door)
        await answer.send(2)
        await until(lambda: answer.receiver.next_seq == 2)
        own_nats.kill()
        await until(lambda: not caller.bus.statistics().connected)
        sending = asyncio.create_task(answer.finish(40))
        await until(lambda: answer.sender.blocked)
        own_nats.start()
        numbers, terminal = await answer.take_all()
        await sending
        assert numbers == [0, 1, *range(40)]
        assert isinstance(terminal, relay.Completed)


@pytest.mark.parametrize(
    "message",
    [
        relay.Pull(bytes(16), "$JS.API.STREAM.PURGE.USAGE", "caller-0123456789ab", bytes(16)),
        relay.Pull(bytes(16), "_INBOX.caller.>", "caller-0123456789ab", bytes(16)),
        relay.Heartbeat("-", (relay.Sending(bytes(16), 1, True),)),
        relay.Credit(bytes(16), 2**52, 2**62),
        relay.Resend(bytes(16), 0),
        relay.Cancel(bytes(16), "x" * 10_000),
        b"\x91" * 100_000,
        b"",
    ],
    ids=lambda message: type(message).__name__,
)
async def test_a_hub_outlives_what_a_compromised_peer_sends(
    message: relay.Control | bytes, nats: NatsServer
) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door), asyncio.timeout(5):
        payload = message if isinstance(message, bytes) else encode(message)
        caller.bus.publish(relay.control_subject(door.bus.instance), payload)
        answer = Answer(caller, door)
        await answer.finish(1)
        assert (await answer.take_all())[0] == [0]
        assert door.running is not None
        assert not door.running.done()


async def test_a_frame_from_a_made_up_peer_does_not_end_the_hub(nats: NatsServer) -> None:
    async with ends(nats, "gateway") as (door,):
        receiver = door.hub.open_receiver(bytes(16))
        receiver.on_frame(relay.Chunk(0, (b"x",), relay.Origin("-", bytes(16), 1, "p", "m")), 9)
        await until(lambda: door.hub.statistics().malformed > 0)
        assert door.running is not None
        assert not door.running.done()


def test_instances_are_peers_of_their_service() -> None:
    assert relay.control_subject(new_instance("caller")).split(".")[3] == "caller"
