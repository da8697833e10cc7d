"""A large body stays at its door and is pulled in frames by whichever caller needs it."""

import asyncio
import hashlib
import random
import secrets

import pytest

from droveway.contracts import relay
from droveway.runtime.bus import Inbox
from droveway.runtime.relay import Receiver
from droveway.runtime.relay.bodies import MAX_PULLS
from tests.runtime.test_relay_hub import End, ends
from tests.support.nats import NatsServer
from tests.support.waiting import until


class Pull:
    """A caller's side of one pull."""

    def __init__(self, caller: End, door: End, relay_id: bytes) -> None:
        self.caller, self.door, self.relay_id = caller, door, relay_id
        self.pull_id = secrets.token_bytes(16)
        self.receiver: Receiver = caller.hub.open_receiver(self.pull_id, door.bus.instance)
        self.frames = 0
        self.inbox: Inbox = caller.bus.open_inbox(self._on_payload, lambda: None)

    def ask(self) -> None:
        me = self.caller.bus.instance
        pull = relay.Pull(self.relay_id, self.inbox.subject, me, self.pull_id)
        self.caller.hub.send_control(self.door.bus.instance, pull)

    async def take_all(self) -> tuple[bytes, relay.Frame]:
        pieces: list[bytes] = []
        while isinstance(frame := await self.receiver.take(), relay.Chunk):
            pieces.extend(frame.events)
        return b"".join(pieces), frame

    def close(self) -> None:
        self.inbox.close()
        self.caller.hub.close_receiver(self.receiver)

    def _on_payload(self, payload: bytes) -> None:
        self.frames += 1
        self.receiver.on_frame(relay.frame_decoder.decode(payload), len(payload))


@pytest.mark.parametrize("mebibytes", [1, 15])
async def test_a_body_is_pulled_whole_with_bounded_memory(mebibytes: int, nats: NatsServer) -> None:
    body = random.Random(mebibytes).randbytes(mebibytes * 1024 * 1024)
    async with ends(nats, "caller", "gateway") as (caller, door), asyncio.timeout(10):
        pull = Pull(caller, door, door.hub.offer(body))
        pull.ask()
        digest, kept_bytes, size_bytes = hashlib.sha256(), 0, 0
        while isinstance(frame := await pull.receiver.take(), relay.Chunk):
            for event in frame.events:
                digest.update(event)
                size_bytes += len(event)
            kept_bytes = max(kept_bytes, door.hub.statistics().kept_bytes)
        assert isinstance(frame, relay.Completed)
        assert size_bytes == len(body)
        assert digest.digest() == hashlib.sha256(body).digest()
        assert kept_bytes <= 2 * relay.WINDOW_BYTES + 100


async def test_a_repeated_pull_is_served_once(nats: NatsServer) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door), asyncio.timeout(5):
        pull = Pull(caller, door, door.hub.offer(b"x" * 300_000))
        for _ in range(5):
            pull.ask()
        body, _ = await pull.take_all()
        assert len(body) == 300_000
        assert pull.receiver.dropped_frames == 0


async def test_the_next_attempt_gets_the_body_at_once(nats: NatsServer) -> None:
    async with ends(nats, "caller", "caller", "gateway") as (first, second, door):
        async with asyncio.timeout(0.45):  # before any heartbeat could repair something
            relay_id = door.hub.offer(b"x" * 300_000)
            done = Pull(first, door, relay_id)
            done.ask()
            await done.take_all()
            done.close()
            half = Pull(first, door, relay_id)
            half.ask()
            await half.receiver.take()
            half.close()
            last = Pull(second, door, relay_id)
            last.ask()
            body, _ = await last.take_all()
            assert len(body) == 300_000


async def test_a_body_is_pulled_by_so_many_at_once_and_no_more(nats: NatsServer) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door), asyncio.timeout(5):
        relay_id = door.hub.offer(b"x" * 300_000)
        pulls = [Pull(caller, door, relay_id) for _ in range(MAX_PULLS)]
        for pull in pulls:
            pull.ask()
            await pull.receiver.wake.wait()
        further = Pull(caller, door, relay_id)
        further.ask()
        _, terminal = await further.take_all()
        assert isinstance(terminal, relay.Interrupted)
        assert f"by {MAX_PULLS} attempts already" in terminal.failure.message
        for body, terminal in await asyncio.gather(*(pull.take_all() for pull in pulls)):
            assert len(body) == 300_000
            assert isinstance(terminal, relay.Completed)
        await until(lambda: door.hub.statistics().sending == 0)
        last = Pull(caller, door, relay_id)
        last.ask()
        assert len((await last.take_all())[0]) == 300_000


async def test_a_withdrawn_body_ends_all_its_pulls(nats: NatsServer) -> None:
    async with ends(nats, "caller", "caller", "gateway") as (one, other, door):
        async with asyncio.timeout(2):
            relay_id = door.hub.offer(b"x" * 3_000_000)
            pulls = [Pull(one, door, relay_id), Pull(other, door, relay_id)]
            for pull in pulls:
                pull.ask()
                await pull.receiver.take()
            door.hub.withdraw(relay_id)
            for pull in pulls:
                assert isinstance((await pull.take_all())[1], relay.Interrupted)
            await until(lambda: door.hub.statistics().sending == 0)


async def test_a_withdrawn_body_ends_the_pull(nats: NatsServer) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door), asyncio.timeout(2):
        relay_id = door.hub.offer(b"x" * 3_000_000)
        pull = Pull(caller, door, relay_id)
        pull.ask()
        await pull.receiver.take()
        door.hub.withdraw(relay_id)
        _, terminal = await pull.take_all()
        assert isinstance(terminal, relay.Interrupted)
        assert terminal.failure.code == "client_closed_request"
        await until(lambda: door.hub.statistics().sending == 0)


async def test_a_body_that_is_gone_is_told_at_once(nats: NatsServer) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door), asyncio.timeout(0.4):
        pull = Pull(caller, door, bytes(16))
        pull.ask()
        _, terminal = await pull.take_all()
        assert isinstance(terminal, relay.Interrupted)


async def test_bodies_go_to_callers_only(nats: NatsServer) -> None:
    async with ends(nats, "caller", "gateway") as (caller, door):
        relay_id = door.hub.offer(b"secret")
        for answer_to in ("_INBOX.router.router-0123456789ab.0a", "droveway.v1.usage.x", ""):
            pull = relay.Pull(relay_id, answer_to, caller.bus.instance, bytes(16))
            caller.hub.send_control(door.bus.instance, pull)
        await until(lambda: door.hub.statistics().malformed == 3)
        assert door.hub.statistics().sending == 0
