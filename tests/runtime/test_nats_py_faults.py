"""What nats-py 2.16 gets wrong, and that the bus gets it right: one scenario, two clients.

The half that runs against plain nats-py asserts the fault: the day nats-py mends it, that half
fails, and the workaround in `droveway.runtime.bus.client` can go.
"""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import msgspec
import nats
import pytest
from nats.aio.client import Client

from droveway.contracts.envelope import new_instance
from droveway.runtime.bus import Bus, BusSettings, KvWatch, connect
from droveway.runtime.errors import BusError, Overflow
from tests.support.fault_proxy import FaultProxy
from tests.support.pace import Pace
from tests.support.plain_nats import PlainNats, make_bucket, serving_plain
from tests.support.tcp_proxy import READ_BYTES, Connection, Direction, TcpProxy
from tests.support.waiting import settled, until

Handle = Callable[[bytes], None]


class Plain:
    """nats-py as it comes; impatient, so that what it would notice it notices within a test."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, **options: Any) -> AsyncIterator[Self]:
        async def quiet(_error: Exception) -> None: ...

        patience = {"ping_interval": 0.1, "reconnect_time_wait": 0.1, "max_reconnect_attempts": -1}
        client = await nats.connect(url, error_cb=quiet, **(patience | options))
        try:
            yield cls(client)
        finally:
            await _abandon(client)

    async def listen(self, subject: str, handle: Handle) -> None:
        async def callback(message: Any) -> None:
            handle(message.data)

        await self.client.subscribe(subject, cb=callback)
        await settled(self.client)

    async def publish(
        self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        await self.client.publish(subject, payload, headers=headers)

    async def ask(self, subject: str, timeout_s: float, payload: bytes = b"") -> None:
        await self.client.request(subject, payload, timeout=timeout_s)

    async def confirm(self) -> None:
        await self.client.flush()

    @property
    def remembered_questions(self) -> int:
        return len(self.client._resp_map)


class Ours:
    """The bus with its watchdog, which is as impatient."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.client: Client = bus._client

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, **options: Any) -> AsyncIterator[Self]:
        settings = BusSettings(servers=(url,), beat_every_s=0.1, deaf_after_s=0.3)
        brisk = {"reconnect_base_s": 0.1, "close_within_s": 0.1}
        settings = msgspec.structs.replace(settings, **(brisk | options))
        async with connect(settings, "gateway", new_instance("gateway")) as bus:
            watching = asyncio.create_task(bus.watch())
            try:
                yield cls(bus)
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    async def listen(self, subject: str, handle: Handle) -> None:
        await self.bus.subscribe(subject, lambda payload, _reply: handle(payload))

    async def publish(
        self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.bus.publish(subject, payload, headers=headers)

    async def ask(self, subject: str, timeout_s: float, payload: bytes = b"") -> None:
        await self.bus.request(subject, payload, timeout_s)

    async def confirm(self) -> None:
        await self.bus.settle()

    @property
    def remembered_questions(self) -> int:
        statistics = self.bus.statistics()
        return statistics.waiting_answers + statistics.open_inboxes


Side = type[Plain] | type[Ours]
BOTH = pytest.mark.parametrize("side", [Plain, Ours], ids=["nats-py has it", "the bus hasn't"])


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainNats]:
    """A server that tests may stop for a moment."""
    with serving_plain(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[PlainNats]:
    """A server that a test may kill."""
    with serving_plain(tmp_path / "nats") as server:
        yield server


@BOTH
async def test_e1_a_pong_after_a_flush_that_timed_out_deafens(
    broker: PlainNats, side: Side
) -> None:
    heard: list[bytes] = []
    async with side.open(broker.url, **_unhurried(side)) as one, Ours.open(broker.url) as other:
        await one.listen("t", heard.append)
        with _frozen(broker), pytest.raises(nats.errors.TimeoutError):
            await one.client.flush(timeout=0.05)  # type: ignore[arg-type]
        await until(lambda: not one.client._pongs)
        await other.publish("t", b"after")
        await other.confirm()
        assert await _comes(lambda: heard == [b"after"]) is (side is Ours)
        assert one.client.is_connected


@BOTH
async def test_e1_a_pong_after_a_flush_that_was_cancelled_deafens(
    broker: PlainNats, side: Side
) -> None:
    heard: list[bytes] = []
    async with side.open(broker.url, **_unhurried(side)) as one, Ours.open(broker.url) as other:
        await one.listen("t", heard.append)
        flush = asyncio.create_task(one.client.flush())
        await asyncio.sleep(0)
        flush.cancel()
        await asyncio.gather(flush, return_exceptions=True)
        await until(lambda: not one.client._pongs)
        await other.publish("t", b"after")
        await other.confirm()
        assert await _comes(lambda: heard == [b"after"]) is (side is Ours)
        assert one.client.is_connected


@BOTH
async def test_e2_a_subject_that_is_no_utf8_deafens(broker: PlainNats, side: Side) -> None:
    heard: list[bytes] = []
    async with side.open(broker.url, **_unhurried(side)) as one:
        await one.listen("t.>", heard.append)
        _, stranger = await asyncio.open_connection("127.0.0.1", broker.port)
        stranger.write(b"CONNECT {}\r\nPUB t.\xff 3\r\nbad\r\nPUB t.ok 5\r\nafter\r\n")
        assert await _comes(lambda: heard == [b"after"]) is (side is Ours)
        assert one.client.is_connected
        if isinstance(one, Ours):
            assert one.bus.statistics().malformed == 1
        stranger.close()
        await stranger.wait_closed()


@BOTH
async def test_e3_questions_that_could_not_be_asked_are_remembered_for_ever(
    own_broker: PlainNats, side: Side
) -> None:
    options = {"pending_size": 1} if side is Plain else {}
    async with side.open(own_broker.url, **options) as one:
        with contextlib.suppress(nats.errors.NoRespondersError, BusError):
            await one.ask("nobody", 1)
        own_broker.kill()
        await until(lambda: not one.client.is_connected)
        for _ in range(100):
            with pytest.raises((nats.errors.OutboundBufferLimitError, BusError)):
                await one.ask("nobody", 1, b"some bytes")
        assert one.remembered_questions == (100 if side is Plain else 0)


@BOTH
async def test_e4_a_handler_that_raises_cancelled_ends_its_subscription(
    broker: PlainNats, side: Side
) -> None:
    heard: list[bytes] = []

    def handle(payload: bytes) -> None:
        heard.append(payload)
        if payload == b"2":
            raise asyncio.CancelledError

    async with side.open(broker.url) as one:
        await one.listen("t", handle)
        for number in range(1, 6):
            await one.publish("t", b"%d" % number)
        assert await _comes(lambda: len(heard) == 5) is (side is Ours)
        assert heard[:2] == [b"1", b"2"]
        assert one.client.stats["reconnects"] == 0


@BOTH
async def test_e5_a_confirmation_overtakes_what_was_published_before_it(
    broker: PlainNats, side: Side
) -> None:
    async with (
        _Recorder("127.0.0.1", broker.port) as link,
        side.open(f"nats://127.0.0.1:{link.port}", **_unhurried(side)) as one,
    ):
        await one.confirm()
        link.sent.clear()
        await one.publish("t", b"x")
        await one.confirm()
        assert link.sent.startswith(b"PUB t ") is (side is Ours)
        assert b"PUB t " in link.sent


@BOTH
@pytest.mark.parametrize(
    "message",
    [("t." + "z" * 5_000, b"", None), ("t", bytes(1024 * 1024), {"Nats-Msg-Id": "1"})],
    ids=["subject", "headers and payload"],
)
async def test_e6_a_message_over_a_limit_closes_for_good(
    broker: PlainNats, side: Side, message: tuple[str, bytes, dict[str, str] | None]
) -> None:
    async with side.open(broker.url) as one:
        if isinstance(one, Ours):
            with pytest.raises(Overflow, match="exceed"):
                await one.publish(*message)
            await one.confirm()
        else:
            await one.publish(*message)
        assert await _comes(lambda: one.client.is_closed) is (side is Plain)
        assert one.client.stats["reconnects"] == 0


@BOTH
async def test_e13_a_frozen_broker_is_not_noticed_by_thousands_of_blocked_publishers(
    own_broker: PlainNats, side: Side
) -> None:
    options = {"pending_size": 1024} if side is Plain else {"max_unsent_bytes": 1024 * 1024}
    async with side.open(own_broker.url, **options) as one:
        publishing = True

        async def publish() -> None:
            while publishing:
                with contextlib.suppress(BusError):
                    await one.publish("t", bytes(4_096))
                await asyncio.sleep(0.05)

        own_broker.signal(signal.SIGSTOP)
        publishers = [asyncio.create_task(publish()) for _ in range(2_000)]
        with Pace() as pace:
            patience_s = 1.5 if side is Plain else 10.0
            left = await _comes(lambda: not one.client.is_connected, within_s=patience_s)
        assert left is (side is Ours)
        assert not left or pace.elapsed_s < 1.5
        publishing = False
        own_broker.signal(signal.SIGCONT)
        await asyncio.gather(*publishers)


@BOTH
async def test_e50_a_black_hole_with_unsent_bytes_is_never_left(
    broker: PlainNats, side: Side
) -> None:
    async with FaultProxy("127.0.0.1", broker.port) as link:
        through = f"nats://127.0.0.1:{link.port}"
        options = {"pending_size": 16 * 1024 * 1024} if side is Plain else {}
        async with side.open(through, **options) as one:
            link.set(black_hole=True)
            with contextlib.suppress(Overflow):
                for _ in range(24):
                    await one.publish("t", bytes(512 * 1024))
            one.client.set_server_pool([broker.url])
            reached = await _comes(lambda: one.client.stats["reconnects"] == 1, within_s=2.0)
            assert reached is (side is Ours)


@BOTH
async def test_a_kv_watch_is_deaf_after_a_brokers_restart(
    own_broker: PlainNats, side: Side
) -> None:
    async with Ours.open(own_broker.url) as other, side.open(own_broker.url) as one:
        await make_bucket(other.bus, "keys")
        seen: list[bytes] = []
        async with _watching(one, "keys", seen):
            await _put(other.bus, b"before")
            await until(lambda: b"before" in seen)
            own_broker.kill()
            await until(lambda: not (one.client.is_connected or other.client.is_connected))
            own_broker.start()
            await until(lambda: one.client.is_connected and other.client.is_connected)
            await _put(other.bus, b"revoked")
            patience_s = 3.0 if side is Plain else 2.0
            assert await _comes(lambda: b"revoked" in seen, patience_s) is (side is Ours)


@BOTH
async def test_clients_storm_a_broker_that_comes_back(broker: PlainNats, side: Side) -> None:
    options = {} if side is Plain else {"reconnect_base_s": 1.0}
    async with FaultProxy("127.0.0.1", broker.port) as link, contextlib.AsyncExitStack() as stack:
        url = f"nats://127.0.0.1:{link.port}"
        clients = [await stack.enter_async_context(side.open(url, **options)) for _ in range(12)]
        arrived_s: list[float] = []
        link.reset()
        for count in range(1, len(clients) + 1):
            await until(lambda count=count: link.statistics.accepted >= len(clients) + count)  # type: ignore[misc]
            arrived_s.append(time.monotonic())
        spread_s = arrived_s[-1] - arrived_s[0]
        assert (spread_s > 0.2) is (side is Ours), spread_s


@BOTH
async def test_a_question_under_way_waits_out_its_time_when_the_broker_is_lost(
    own_broker: PlainNats, side: Side
) -> None:
    asked: list[bytes] = []
    async with Ours.open(own_broker.url) as other, side.open(own_broker.url) as one:
        await other.listen("t", asked.append)
        question = asyncio.create_task(one.ask("t", 0.6))
        await until(lambda: asked)
        began_s = time.monotonic()
        own_broker.kill()
        with pytest.raises((nats.errors.TimeoutError, BusError)):
            await question
        assert (time.monotonic() - began_s < 0.3) is (side is Ours)


@BOTH
async def test_a_callback_that_raises_ends_reconnecting(broker: PlainNats, side: Side) -> None:
    async def fail_async() -> None:
        fail()

    def fail() -> None:
        raise RuntimeError("a bug")

    options = {"disconnected_cb": fail_async} if side is Plain else {}
    async with side.open(broker.url, **options) as one:
        if isinstance(one, Ours):
            one.bus.on_reconnected(fail)
        await one.client.force_reconnect()
        assert await _comes(lambda: one.client.is_connected, 0.8) is (side is Ours)
        task = one.client._reconnection_task
        if side is Plain and task is not None:
            assert isinstance(task.exception(), RuntimeError)


@BOTH
async def test_a_broker_that_stays_away_for_sixty_tries_closes_for_good(
    own_broker: PlainNats, side: Side
) -> None:
    # 60 is nats-py's default; its usual wait between two tries is 2 s.
    if side is Plain:
        options: dict[str, Any] = {"max_reconnect_attempts": 60, "reconnect_time_wait": 0.001}
    else:
        options = {"reconnect_cap_s": 0.001}
    async with side.open(own_broker.url, **options) as one:
        own_broker.kill()
        assert await _comes(lambda: one.client.is_closed, 1.0) is (side is Plain)
        if side is Ours:
            assert one.client.server_pool[0].reconnects > 60
            own_broker.start()
            await until(lambda: one.client.is_connected)


@BOTH
async def test_what_is_published_during_an_outage_is_delivered_long_after(
    own_broker: PlainNats, side: Side
) -> None:
    heard: list[bytes] = []
    async with side.open(own_broker.url) as one:
        await one.listen("t", heard.append)
        own_broker.kill()
        await until(lambda: not one.client.is_connected)
        with contextlib.suppress(BusError):
            await one.publish("t", b"stale")
        own_broker.start()
        await until(lambda: one.client.stats["reconnects"] == 1)
        await one.publish("t", b"fresh")
        await until(lambda: b"fresh" in heard)
        assert (b"stale" in heard) is (side is Plain)


class _Recorder(TcpProxy):
    """Remembers what a client sends."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.sent = bytearray()

    def pump(self, connection: Connection, direction: Direction) -> "_RecordingPump":
        return _RecordingPump(self, connection, direction)


class _RecordingPump:
    def __init__(self, recorder: _Recorder, connection: Connection, direction: Direction) -> None:
        self._sent = recorder.sent if direction == "up" else bytearray()
        self._source, self._sink = connection.towards(direction)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._source, READ_BYTES):
            self._sent += data
            await loop.sock_sendall(self._sink, data)


def _unhurried(side: Side) -> dict[str, Any]:
    """No ping may come to nats-py's rescue: by default it takes 360 s until one does."""
    return {"ping_interval": 120} if side is Plain else {"beat_every_s": 60.0}


@contextlib.contextmanager
def _frozen(broker: PlainNats) -> Iterator[None]:
    broker.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        broker.signal(signal.SIGCONT)


async def _comes(claim: Callable[[], object], within_s: float = 0.4) -> bool:
    """Whether `claim()` holds before `within_s` seconds are over."""
    try:
        await until(claim, within_s)
    except TimeoutError:
        return False
    return True


@contextlib.asynccontextmanager
async def _watching(one: Plain | Ours, bucket: str, seen: list[bytes]) -> AsyncIterator[None]:
    if isinstance(one, Ours):
        watch = KvWatch(one.bus, bucket, lambda _key, value, _revision: seen.append(value or b""))
        task = asyncio.create_task(watch.run())
    else:
        bucket_of_nats_py = await one.client.jetstream().key_value(bucket)
        watcher = await bucket_of_nats_py.watchall()

        async def follow() -> None:
            async for entry in watcher:
                told = entry and entry.value
                seen.append(told or b"")

        task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _put(bus: Bus, value: bytes) -> None:
    """Stores a value as soon as JetStream is there."""
    async with asyncio.timeout(5):
        while True:
            with contextlib.suppress(BusError):
                assert json.loads(await bus.request("$KV.keys.a", value, 1))["seq"]
                return
            await asyncio.sleep(0.01)


async def _abandon(client: Client) -> None:
    """Closes a client that may be stuck, and whatever it has forgotten."""
    writer = getattr(client._transport, "_io_writer", None)
    if writer is not None:
        writer.transport.abort()
    client._disconnected_cb = None
    if not client.is_closed:
        with contextlib.suppress(asyncio.TimeoutError, OSError, RuntimeError):
            await asyncio.wait_for(client.close(), 1)
    tasks = [client._reading_task, client._ping_interval_task, client._flusher_task]
    tasks.append(client._reconnection_task)
    for task in filter(None, tasks):
        task.cancel()
    await asyncio.gather(*filter(None, tasks), return_exceptions=True)
