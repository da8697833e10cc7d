"""The bus delivers, answers, refuses and comes back, over a real broker."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from droveway.contracts.envelope import inbox, new_instance
from droveway.runtime.bus import Bus, BusSettings, connect
from droveway.runtime.errors import (
    BusError,
    Disconnected,
    NoAnswer,
    NoResponders,
    Overflow,
    SettingsError,
)
from tests.support.nats import NatsServer
from tests.support.pace import Pace
from tests.support.waiting import until

SUBJECT = "droveway.v1.direct.interactive.router"
OTHER = "droveway.v1.inference.batch"


class Pair:
    """A door that asks and a router that answers."""

    def __init__(self, door: Bus, router: Bus) -> None:
        self.door = door
        self.router = router
        self.heard: list[bytes] = []

    async def listen(self, queue: str = "") -> None:
        await self.router.subscribe(SUBJECT, lambda payload, _: self.heard.append(payload), queue)
        await self.settled()

    async def settled(self) -> None:
        """The broker has seen everything that both have sent so far."""
        for bus in (self.door, self.router):
            arrived = asyncio.Event()
            mine = bus.open_inbox(lambda _, arrived=arrived: arrived.set(), lambda: None)  # type: ignore[misc]
            bus.publish(mine.subject, b"")
            await asyncio.wait_for(arrived.wait(), 5)
            mine.close()


@contextlib.asynccontextmanager
async def joined(server: NatsServer) -> AsyncIterator[Pair]:
    async with server.bus("gateway") as door, server.bus("router") as router:
        yield Pair(door, router)


def raw(bus: Bus, data: bytes) -> None:
    """Bytes that the bus itself would never write."""
    transport = bus._client._transport
    assert transport is not None
    transport.write(data)


def brisk(server: NatsServer, user: str) -> BusSettings:
    """Settings under which a deaf connection is noticed within a test's patience."""
    return msgspec.structs.replace(server.settings(user), beat_every_s=0.05, deaf_after_s=0.3)


async def test_what_is_published_arrives_in_order(nats: NatsServer) -> None:
    async with joined(nats) as pair:
        await pair.listen()
        for number in range(500):
            pair.door.publish(SUBJECT, b"%d" % number)
        await until(lambda: len(pair.heard) == 500)
        assert pair.heard == [b"%d" % number for number in range(500)]


async def test_one_member_of_a_queue_group_gets_each_message(nats: NatsServer) -> None:
    async with joined(nats) as pair, nats.bus("router") as second:
        await pair.listen(queue="router")
        others: list[bytes] = []
        await second.subscribe(SUBJECT, lambda payload, _: others.append(payload), "router")
        await until(lambda: second.statistics().connected)
        await Pair(pair.door, second).settled()
        for number in range(100):
            pair.door.publish(SUBJECT, b"%d" % number)
        await until(lambda: len(pair.heard) + len(others) == 100)
        assert sorted(map(int, pair.heard + others)) == list(range(100))
        assert others
        assert pair.heard


async def test_a_question_gets_its_answer(nats: NatsServer) -> None:
    async with joined(nats) as pair:
        await pair.router.subscribe(
            SUBJECT, lambda payload, reply: pair.router.publish(reply, payload.upper())
        )
        await pair.settled()
        answers = await asyncio.gather(
            *(pair.door.request(SUBJECT, b"q%d" % number, 2) for number in range(50))
        )
        assert answers == [b"Q%d" % number for number in range(50)]
        assert pair.door.statistics().waiting_answers == 0
        assert pair.door.statistics().open_inboxes == 0


async def test_silence_is_no_answer(nats: NatsServer) -> None:
    async with joined(nats) as pair:
        await pair.listen()
        with pytest.raises(NoAnswer, match=r"within 0\.05 s"):
            await pair.door.request(SUBJECT, b"", 0.05)
        assert pair.door.statistics().open_inboxes == 0


async def test_nobody_listening_is_known_at_once(nats: NatsServer) -> None:
    async with joined(nats) as pair:
        with Pace() as pace, pytest.raises(NoResponders, match="nobody listens on"):
            await pair.door.request(OTHER, b"", 5)
        assert pace.elapsed_s < 0.5


async def test_a_cancelled_question_leaves_nothing_behind(nats: NatsServer) -> None:
    async with joined(nats) as pair:
        await pair.listen()
        task = asyncio.create_task(pair.door.request(SUBJECT, b"", 5))
        await until(lambda: pair.heard)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pair.door.statistics().waiting_answers == 0
        assert pair.door.statistics().open_inboxes == 0


async def test_a_closed_inbox_drops_what_comes_late(nats: NatsServer) -> None:
    async with joined(nats) as pair:
        heard: list[bytes] = []
        mine = pair.door.open_inbox(heard.append, lambda: None)
        pair.router.publish(mine.subject, b"in time")
        await until(lambda: heard)
        mine.close()
        pair.router.publish(mine.subject, b"late")
        await pair.settled()
        assert heard == [b"in time"]


async def test_a_closed_subscription_hears_nothing_more(nats: NatsServer) -> None:
    async with joined(nats) as pair:
        subscription = await pair.router.subscribe(
            SUBJECT, lambda payload, _: pair.heard.append(payload)
        )
        await pair.settled()
        subscription.close()
        await pair.settled()
        with pytest.raises(NoResponders):
            await pair.door.request(SUBJECT, b"", 2)
        assert pair.heard == []


async def test_handlers_that_raise_do_not_deafen(
    nats: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with joined(nats) as pair:

        def fail(payload: bytes, _reply: str) -> None:
            pair.heard.append(payload)
            raise RuntimeError("a bug")

        def fail_too(payload: bytes) -> None:
            raise RuntimeError("another bug")

        await pair.router.subscribe(SUBJECT, fail)
        broken = pair.door.open_inbox(fail_too, lambda: None)
        await pair.settled()
        for _ in range(3):
            pair.door.publish(SUBJECT, b"x")
            pair.router.publish(broken.subject, b"x")
        await until(lambda: len(pair.heard) == 3)
        await pair.settled()
        assert {record.message for record in caplog.records} >= {
            f"handler_failed on {SUBJECT}", "inbox_handler_failed",
        }  # fmt: skip


async def test_a_subject_that_is_no_utf8_does_not_deafen(nats: NatsServer) -> None:
    async with joined(nats) as pair:
        await pair.router.subscribe(
            "droveway.v1.direct.interactive.*", lambda payload, _: pair.heard.append(payload)
        )
        await pair.settled()
        raw(pair.door, b"PUB droveway.v1.direct.interactive.\xff 3\r\nraw\r\n")
        await pair.settled()
        pair.door.publish(SUBJECT, b"after")
        await until(lambda: b"after" in pair.heard)
        assert pair.heard == [b"after"]
        assert pair.router.statistics().malformed == 1


async def test_a_pong_that_comes_late_does_not_deafen(nats: NatsServer) -> None:
    async with joined(nats) as pair:
        await pair.listen()
        for _ in range(3):
            flush = asyncio.create_task(pair.router._client.flush(1))
            await asyncio.sleep(0)
            flush.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await flush
        pair.door.publish(SUBJECT, b"after")
        await until(lambda: pair.heard == [b"after"])


async def test_a_message_over_the_limit_is_refused_here_and_the_connection_lives(
    nats: NatsServer,
) -> None:
    async with joined(nats) as pair:
        await pair.listen()
        limit = pair.door.max_payload_bytes
        with pytest.raises(Overflow, match="exceed max_payload"):
            pair.door.publish(SUBJECT, b"x" * (limit + 1))
        with pytest.raises(Overflow, match="exceed max_payload"):
            await pair.door.request(SUBJECT, b"x" * limit, 1, {"Nats-Msg-Id": "1"})
        with pytest.raises(Overflow, match="subject and reply"):
            pair.door.publish(SUBJECT, b"", "_INBOX." + "x" * 600)
        pair.door.publish(SUBJECT, b"x" * limit)
        await until(lambda: pair.heard == [b"x" * limit])
        assert pair.door.statistics().reconnects == 0


async def test_a_forbidden_subject_costs_the_message_and_not_the_connection(
    nats: NatsServer,
) -> None:
    async with joined(nats) as pair:
        await pair.listen()
        pair.door.publish("droveway.v1.dispatch.default", b"not for doors")
        pair.door.publish(SUBJECT, b"after")
        await until(lambda: pair.heard == [b"after"])


async def test_unsent_bytes_are_bounded_within_one_turn_and_when_the_broker_stalls(
    own_nats: NatsServer,
) -> None:
    bound_bytes = 1024 * 1024
    settings = msgspec.structs.replace(own_nats.settings("gateway"), max_unsent_bytes=bound_bytes)
    piece = bytes(64 * 1024)
    async with connect(settings, "gateway", new_instance("gateway")) as door:
        assert sum(_published(door, SUBJECT, piece) for _ in range(1_000)) == 16
        assert door.statistics().unsent_bytes <= bound_bytes + 2 * len(piece)
        await until(lambda: door.statistics().unsent_bytes == 0)
        own_nats.pause(signal.SIGSTOP)
        published = 0
        for _ in range(1_000):
            published += _published(door, SUBJECT, piece)
            await asyncio.sleep(0)
        assert published < 200
        assert door.statistics().unsent_bytes <= bound_bytes + 2 * len(piece)
        own_nats.pause(signal.SIGCONT)
        await until(lambda: door.statistics().unsent_bytes == 0)
        door.publish(SUBJECT, piece)


async def test_a_lost_broker_fails_questions_at_once_and_buffers_nothing(
    own_nats: NatsServer,
) -> None:
    async with joined(own_nats) as pair:
        await pair.listen()
        asked = [asyncio.create_task(pair.door.request(SUBJECT, b"before", 30)) for _ in range(20)]
        await until(lambda: len(pair.heard) == 20)
        own_nats.kill()
        with Pace() as pace:
            for one in asked:
                with pytest.raises(NoAnswer, match="was lost"):
                    await one
        assert pace.elapsed_s < 0.5
        with pytest.raises(Disconnected):
            pair.door.publish(SUBJECT, b"meanwhile")
        with pytest.raises(Disconnected):
            await pair.door.request(SUBJECT, b"meanwhile", 30)
        own_nats.start()
        with Pace() as pace:
            await until(lambda: _published(pair.door, SUBJECT, b"after") and b"after" in pair.heard)
        assert pace.elapsed_s < 2.5
        await pair.settled()
        assert b"meanwhile" not in pair.heard
        assert pair.door.statistics().waiting_answers == 0


async def test_a_subscription_made_while_the_broker_is_away_is_there_afterwards(
    own_nats: NatsServer,
) -> None:
    async with joined(own_nats) as pair:
        own_nats.kill()
        await until(lambda: not pair.router.statistics().connected)
        await pair.router.subscribe(SUBJECT, lambda payload, _: pair.heard.append(payload))
        own_nats.start()
        await until(lambda: _published(pair.door, SUBJECT, b"x") and pair.heard)
        pair.heard.clear()
        pair.door.publish(SUBJECT, b"once")
        await pair.settled()
        assert pair.heard.count(b"once") == 1


async def test_an_outage_longer_than_the_watchdogs_patience_ends_with_one_reconnect(
    own_nats: NatsServer,
) -> None:
    settings = brisk(own_nats, "gateway")
    async with connect(settings, "gateway", new_instance("gateway")) as door, watched(door):
        await until(lambda: door.ready)
        own_nats.kill()
        await until(lambda: door.statistics().last_beat_s > settings.deaf_after_s)
        assert not door.ready
        own_nats.start()
        await until(lambda: door.ready)
        until_s = time.monotonic() + 4 * settings.deaf_after_s
        await until(lambda: time.monotonic() > until_s)
        assert door.ready
        assert door.statistics().reconnects == 1


async def test_the_watchdog_leaves_a_frozen_connection(own_nats: NatsServer) -> None:
    settings = brisk(own_nats, "gateway")
    async with connect(settings, "gateway", new_instance("gateway")) as door, watched(door):
        await until(lambda: door.ready)
        own_nats.pause(signal.SIGSTOP)
        await until(lambda: not door.statistics().connected, 2.0)
        own_nats.pause(signal.SIGCONT)
        await until(lambda: door.ready)


async def test_the_watchdog_gives_up_when_the_broker_stays_away(own_nats: NatsServer) -> None:
    settings = msgspec.structs.replace(brisk(own_nats, "gateway"), give_up_after_s=0.4)
    async with connect(settings, "gateway", new_instance("gateway")) as door:
        own_nats.kill()
        with pytest.raises(Disconnected, match="nothing heard from NATS"):
            await asyncio.wait_for(door.watch(), 5)


async def test_nats_errors_end_in_a_reconnect_and_not_in_a_closed_client(
    nats: NatsServer,
) -> None:
    async with joined(nats) as pair:
        await pair.listen()
        raw(pair.router, b"NONSENSE\r\n")
        await until(lambda: pair.router.statistics().reconnects == 1)
        await until(lambda: _published(pair.door, SUBJECT, b"x") and pair.heard)


async def test_refused_credentials_end_the_start_at_once(own_nats: NatsServer) -> None:
    stranger = own_nats.folder.seed_file("stranger")
    import nkeys

    stranger.write_bytes(nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER))
    settings = BusSettings(servers=(own_nats.url,), nkey_file=str(stranger))
    with pytest.raises(SettingsError, match="Authorization Violation"):
        async with connect(settings, "gateway", new_instance("gateway")):
            pass


async def test_a_missing_seed_file_ends_the_start_at_once(own_nats: NatsServer) -> None:
    settings = BusSettings(servers=(own_nats.url,), nkey_file="/nowhere/seed")
    with pytest.raises(SettingsError, match="/nowhere/seed"):
        async with connect(settings, "gateway", new_instance("gateway")):
            pass


async def test_a_start_without_a_broker_ends_in_time_and_shows_no_password() -> None:
    settings = BusSettings(servers=("nats://me:secret@127.0.0.1:1",), connect_within_s=0.1)
    with pytest.raises(SettingsError, match=r"at 127\.0\.0\.1:1: ") as caught:
        async with connect(settings, "gateway", new_instance("gateway")):
            pass
    assert "secret" not in str(caught.value)


async def test_a_late_inbox_of_another_process_is_not_ours(nats: NatsServer) -> None:
    async with joined(nats) as pair:
        heard: list[bytes] = []
        mine = pair.door.open_inbox(heard.append, lambda: None)
        token = mine.subject.rpartition(".")[2]
        pair.router.publish(inbox("gateway", new_instance("gateway"), token), b"stray")
        await pair.settled()
        assert heard == []


async def test_headers_of_ours_travel_with_a_message(nats: NatsServer) -> None:
    async with joined(nats) as pair:
        heard: list[tuple[bytes, str, str, bytes | None]] = []
        await pair.router.subscribe_raw(
            "droveway.v1.direct.interactive.*", lambda *message: heard.append(message)
        )
        reply = pair.door.open_inbox(lambda _payload: None, lambda: None).subject
        pair.door.publish(SUBJECT, b"with", reply, {"traceparent": "00-1"})
        pair.door.publish(SUBJECT, b"without")
        await until(lambda: len(heard) == 2)
        assert heard == [
            (b"with", reply, SUBJECT, b"NATS/1.0\r\ntraceparent: 00-1\r\n\r\n"),
            (b"without", "", SUBJECT, None),
        ]


async def test_a_bus_without_a_watchdog_stops_hearing_itself(own_nats: NatsServer) -> None:
    settings = brisk(own_nats, "gateway")
    async with connect(settings, "gateway", new_instance("gateway")) as door:
        async with watched(door):
            await until(lambda: door.statistics().last_beat_s < settings.beat_every_s)
            assert door.hears_itself
        await until(lambda: door.statistics().last_beat_s > 2 * settings.beat_every_s + 0.5)
        assert not door.hears_itself


async def test_what_a_late_subscription_left_is_forgotten(nats: NatsServer) -> None:
    async with joined(nats) as pair:
        before = len(pair.router._client._subs)
        for _ in range(100):
            subscription = await pair.router.subscribe(SUBJECT, lambda _payload, _reply: None)
            subscription.close()
        assert len(pair.router._client._subs) == before


def _published(bus: Bus, subject: str, payload: bytes) -> bool:
    try:
        bus.publish(subject, payload)
    except BusError:
        return False
    return True


@contextlib.asynccontextmanager
async def watched(bus: Bus) -> AsyncIterator[None]:
    task = asyncio.create_task(bus.watch())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
