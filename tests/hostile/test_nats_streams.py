"""A running answer among forgeries: its tokens come complete, whoever else writes to its peers.

The forgers have a service's credentials, not the 128 random bits that name somebody's answer.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec
import pytest
import pytest_asyncio

from droveway.contracts import relay
from droveway.contracts.dispatch import CallRouted, call_decoder
from droveway.contracts.envelope import PREFIX, encode
from droveway.contracts.errors import Failure
from droveway.contracts.inference import Refused
from droveway.contracts.usage import AttemptRecorded, rows_of
from tests.hostile.nats_world import SPY, NatsWorld, nats_world
from tests.support.flows import Got, ask, numbered
from tests.support.raw_nats import RawNats, raw_nats
from tests.support.simulator import chat_body

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKENS = 40
INTERVAL_MS = 8
STRANGER = "gateway-0123456789ab"
EVIL = "caller-0123456789ab"
FORGED = b'{"choices":[{"index":0,"delta":{"content":"forged "}}]}'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsWorld]:
    folder = tmp_path_factory.mktemp("streams")
    async with nats_world(folder, token_interval_ms=INTERVAL_MS) as running:
        yield running


class Running(NamedTuple):
    """One answer under way, as its caller was told of it."""

    call: CallRouted
    answer: "asyncio.Task[Got]"
    spy: RawNats

    @property
    def frames(self) -> list[bytes]:
        """What has been relayed so far."""
        return [
            message.payload
            for message in self.spy.on(self.call.answer_to)
            if relay.is_frame(message.payload)
        ]

    async def whole(self) -> None:
        """Its tokens come complete and in order."""
        got = await self.answer
        assert (got.status, got.done, got.said) == (200, True, numbered(TOKENS)), got


@asynccontextmanager
async def running_answer(world: NatsWorld) -> AsyncIterator[Running]:
    """A stream of numbered tokens that has begun."""
    async with raw_nats(world.server, SPY) as spy:
        spy.subscribe(f"{PREFIX}.dispatch.*")
        spy.subscribe("_INBOX.gateway.>")
        await spy.settle()
        body = chat_body(f"numbered-{TOKENS}", stream=True)
        answer = asyncio.create_task(ask(world.client, body))
        call = call_decoder.decode((await spy.heard(f"{PREFIX}.dispatch.default")).payload)
        running = Running(call, answer, spy)
        await spy.until(lambda: len(running.frames) > 3)
        yield running
        await asyncio.wait({answer})


def frames_of_another_attempt(running: Running) -> Iterator[bytes]:
    """Right inbox, wrong attempt: from the place where the stream is, and after it."""
    seq = len(running.frames)
    for attempt in (0, running.call.attempt + 1, 2**40):
        for ahead in range(-3, 20):
            yield encode(relay.Chunk(seq + ahead, (FORGED,), None, attempt))
            yield encode(relay.Completed(seq + ahead, relay.Usage(), "stop", b"", None, attempt))
            yield encode(relay.Interrupted(seq + ahead, Failure(code="internal_error"), attempt=9))


def frames_of_absurd_numbers(running: Running) -> Iterator[bytes]:
    """Right inbox and attempt, numbers that no sender reaches."""
    for seq in (2**63, 2**64 - 1, -1, -(2**63), 2**53, 2**53 - 1, 2**40, float("nan"), 1.5, "1"):
        yield msgspec.msgpack.encode(["c", seq, [FORGED], None, running.call.attempt])
        yield msgspec.msgpack.encode(["e", seq, [0, 0], "stop", b"", None, running.call.attempt])


def frames_that_came_before(running: Running) -> Iterator[bytes]:
    """What was captured, and the same numbers with other words."""
    for seq, payload in enumerate(running.frames):
        yield payload
        yield encode(relay.Chunk(seq, (FORGED,), None, running.call.attempt))


def no_frames(_running: Running) -> Iterator[bytes]:
    """What a router, or nobody, says on a door's inbox."""
    yield encode(
        Refused(
            request_id="req_somebody_else", router="router-0123456789ab",
            failure=Failure(code="internal_error"),
        )
    )  # fmt: skip
    yield from (b"", b"\x90", b"\xc1", b"\x91" * 200_000, b"\xdd\xff\xff\xff\xff", os.urandom(64))
    yield bytes(1024 * 1024)


FORGERIES: dict[str, Callable[[Running], Iterator[bytes]]] = {
    "of another attempt": frames_of_another_attempt,
    "of absurd numbers": frames_of_absurd_numbers,
    "that came before": frames_that_came_before,
    "that are none": no_frames,
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
async def test_frames_of_a_taken_over_caller_change_no_answer(
    world: NatsWorld, forge: Callable[[Running], Iterator[bytes]]
) -> None:
    async with running_answer(world) as running, raw_nats(world.server, "caller") as evil:
        for payload in forge(running):
            evil.publish(running.call.answer_to, payload)
        assert await evil.settle() == []
        assert not running.answer.done()
        await running.whole()


async def test_a_captured_answer_sent_again_after_its_end_is_nobodys(world: NatsWorld) -> None:
    async with running_answer(world) as earlier:
        await earlier.whole()
        async with running_answer(world) as running, raw_nats(world.server, "caller") as evil:
            unknown = [f"_INBOX.gateway.{world.instance('gateway')}.{name}" for name in ("x", "0")]
            for payload in earlier.frames:
                for inbox in (earlier.call.answer_to, *unknown):
                    evil.publish(inbox, payload)
            assert await evil.settle() == []
            await running.whole()


def unknown_relays(running: Running) -> Iterator[relay.Control]:
    """All that can be said of an answer, of some that nobody has."""
    for _ in range(20):
        name = os.urandom(16)
        yield relay.Credit(name, 2**53 - 1, 2**53 - 1)
        yield relay.Taken((name,) * 100)
        yield relay.Resend(name, 0)
        yield relay.Cancel(name, "forged")
        yield relay.Cancel(name, "forged", running.call.attempt)
        yield relay.Pull(name, f"_INBOX.caller.{EVIL}.cafe", EVIL, name)
        yield relay.Heartbeat(STRANGER, (relay.Sending(name, 7, True),), (name,))
        yield relay.Heartbeat(EVIL, (relay.Sending(name, 2**53 - 1, False),) * 100, (name,) * 100)


def wrong_words_of_the_right_relay(running: Running) -> Iterator[relay.Control]:
    """The right name, but another attempt, another peer, or nothing that was missing."""
    name = running.call.relay_id
    yield relay.Cancel(name, "forged", running.call.attempt + 1)
    yield relay.Cancel(name, "forged", 2**60)
    yield relay.Resend(name, 0)
    yield relay.Resend(name, 2**53 - 1)
    yield relay.Taken((name,))
    yield relay.Heartbeat(EVIL, (), ())
    yield relay.Heartbeat(STRANGER, (), ())
    yield relay.Heartbeat(EVIL, (relay.Sending(name, 2**53 - 1, True),), (name,))
    origin = relay.frame_decoder.decode(running.frames[0]).origin
    for peer in (running.call.door, origin.caller) * 5:
        yield relay.Heartbeat(peer, (), ())  # as if it had forgotten


@pytest.mark.parametrize("say", [unknown_relays, wrong_words_of_the_right_relay])
@pytest.mark.parametrize(("attacker", "victim"), [("gateway", "caller"), ("caller", "gateway")])
async def test_forged_words_of_a_peer_change_no_answer(
    world: NatsWorld,
    attacker: str,
    victim: str,
    say: Callable[[Running], Iterator[relay.Control]],
) -> None:
    async with running_answer(world) as running, raw_nats(world.server, attacker) as evil:
        subject = relay.control_subject(world.instance(victim))
        for message in say(running):
            evil.publish(subject, encode(message))
        for name in ("nobody-0123456789ab", f"{victim}-0123456789ab"):
            evil.publish(f"{PREFIX}.control.{victim}.{name}", encode(relay.Cancel(bytes(16))))
        assert await evil.settle() == []
        assert not running.answer.done()
        await running.whole()


IMPOSSIBLE = ((0, -1), (-1, 2**63), (2**53, 0), (2**64 - 1, 2**64 - 1), (1.5, float("nan")))


async def test_credit_of_no_possible_number_is_counted(world: NatsWorld) -> None:
    before = await world.value("caller", "droveway_relay_malformed_total")
    async with running_answer(world) as running, raw_nats(world.server, "gateway") as evil:
        for numbers in IMPOSSIBLE:
            payload = msgspec.msgpack.encode(["cr", running.call.relay_id, *numbers])
            evil.publish(relay.control_subject(world.instance("caller")), payload)
        await running.whole()
    after = await world.value("caller", "droveway_relay_malformed_total")
    assert after == before + len(IMPOSSIBLE)


async def test_a_row_sent_again_counts_once(world: NatsWorld) -> None:
    async with raw_nats(world.server, SPY) as spy, raw_nats(world.server, "caller") as evil:
        spy.subscribe(f"{PREFIX}.usage.*")
        await spy.settle()
        await world.answers(5)
        await spy.until(lambda: len(spy.messages) >= 2)
        rows = [(message.subject, message.payload) for message in spy.messages]
        told = [row for _, payload in rows for row in rows_of(payload)]
        assert any(isinstance(row, AttemptRecorded) for row in told)
        before = await world.value("metrics", "droveway_usage_repeated_total")
        for subject, row in rows * 10:
            evil.publish(subject, row)
        await evil.settle()
    wanted = before + 10 * len(told)
    await world.until("metrics", "droveway_usage_repeated_total", lambda count: count >= wanted)
