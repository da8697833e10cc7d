"""A standby has its owner's state, and takes over when there is nobody any more."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from droveway.contracts.access import Limit
from droveway.contracts.admission import Admitted, Denied, admission_subject
from droveway.contracts.envelope import encode, inbox, new_instance
from droveway.contracts.limits import Alive, Batch, owner_subject
from droveway.limiter.book import Book
from droveway.limiter.records import unpack
from droveway.limiter.remembered import Remembered
from droveway.limiter.settings import LimiterSettings
from droveway.limiter.snapshots import Snapshot, Snapshots
from droveway.runtime.bus import connect
from droveway.runtime.errors import NoAnswer
from tests.support.limiters import Limiter, ask, config, limiter, question
from tests.support.limits_log import admits, append, make_streams, new_partition, written
from tests.support.nats import NatsServer, nats  # noqa: F401
from tests.support.plain_nats import serving_plain
from tests.support.waiting import until

WITHIN_S = 2.0
THREE = config(Limit(requests=3))
MANY = config(Limit(requests=100_000), wide=(Limit(requests=50, window_s=1.0),))


async def following(one: Limiter, owner: Limiter) -> None:
    """Until it has all that its owner has appended."""
    await until(
        lambda: (
            one.partition.ready
            and one.partition.statistics().sequence == owner.partition.statistics().sequence
        )
    )


def book(one: Limiter) -> list[Any]:
    """All records but the first, which tells the time of the last operation or of its batch."""
    owner = one.partition._owner
    held = (owner.decisions if owner else one.partition._standby).book
    return [*unpack(held.snapshot())][1:]


async def test_equal_logs_give_equal_books(nats: NatsServer) -> None:  # noqa: F811
    number = new_partition()
    async with (
        limiter(nats.bus, number, MANY) as owner,
        nats.bus("router") as router,
    ):
        await until(lambda: owner.owns)
        async with limiter(nats.bus, number, MANY) as early:
            for _ in range(20):
                asked = [question(key_id=key) for key in ("k1", "wide", "k1")]
                await asyncio.gather(*(ask(router, number, each) for each in asked))
            await following(early, owner)
            async with limiter(nats.bus, number, MANY) as late:
                await following(late, owner)
                assert book(early) == book(late) == book(owner)
                assert not early.owns
                assert not late.owns
                assert early.partition.check() == ""


async def test_who_leaves_is_followed_at_once_and_nothing_is_forgotten(
    nats: NatsServer,  # noqa: F811
) -> None:
    number = new_partition()
    async with (
        limiter(nats.bus, number, THREE) as first,
        nats.bus("router") as router,
    ):
        await until(lambda: first.owns)
        async with limiter(nats.bus, number, THREE) as second:
            for _ in range(2):
                assert isinstance(await ask(router, number), Admitted)
            await following(second, first)
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            await first.end()
            await until(lambda: second.owns)
            assert loop.time() - began_s < 0.2
            assert isinstance(await ask(router, number), Admitted)
            assert isinstance(await ask(router, number), Denied)
            assert first.partition.statistics().fenced == 0


async def test_who_stood_still_and_believes_to_own_it_keeps_nobody_from_taking_over(
    nats: NatsServer,  # noqa: F811
) -> None:
    number = new_partition()
    frozen = Alive(owner=new_instance("limiter"), sequence=0)
    async with nats.bus("router") as router, limiter(nats.bus, number, THREE) as first:
        assert isinstance(await ask(router, number), Admitted)
        async with limiter(nats.bus, number, THREE) as second:
            await following(second, first)
            assert first.task is not None
            first.task.cancel()  # without a word, as if it were frozen
            async with asyncio.timeout(WITHIN_S):
                while not second.owns:
                    first.bus.publish(owner_subject(number), encode(frozen))
                    await asyncio.sleep(0.02)
            assert isinstance(await ask(router, number), Admitted)


async def test_a_standby_that_stood_still_reads_what_lies_unread_and_waits_no_longer(
    nats: NatsServer,  # noqa: F811
) -> None:
    number, own = new_partition(), LimiterSettings(silent_after_ms=2_500)
    async with limiter(nats.bus, number, THREE, own) as first:
        await until(lambda: first.owns)
        async with limiter(nats.bus, number, THREE, own) as second:
            await following(second, first)
            time.sleep(2.5)  # noqa: ASYNC251 - that is the fault
            await asyncio.sleep(0.2)
            assert first.owns
            assert not second.owns, "its owner lived all the time"
            assert first.task is not None
            first.task.cancel()
            await asyncio.gather(first.task, return_exceptions=True)
            await first.bus.settle()
            await second.bus.settle()  # the last sign of life is heard before
            time.sleep(2.5)  # noqa: ASYNC251 - that is the fault
            began_s = time.monotonic()
            await until(lambda: second.owns)
            assert 0.1 < time.monotonic() - began_s < 2.2, "the silence alone is longer"


async def test_what_an_owner_left_unanswered_is_answered_by_the_next(
    nats: NatsServer,  # noqa: F811
) -> None:
    number = new_partition()
    async with nats.bus("router") as router, limiter(nats.bus, number, THREE) as one:
        asked = await asyncio.gather(*(ask(router, number) for _ in range(4)))
        assert [isinstance(answer, Admitted) for answer in asked].count(True) == 3
        assert one.owns
        assert len(admits(await written(one.bus, number))) == 3


async def test_a_question_that_the_owner_answered_is_counted_once(
    nats: NatsServer,  # noqa: F811
) -> None:
    number = new_partition()
    async with nats.bus("router") as router, limiter(nats.bus, number, THREE) as first:
        await until(lambda: first.owns)
        async with limiter(nats.bus, number, THREE) as second:
            await following(second, first)
            asked = question()
            assert isinstance(await ask(router, number, asked), Admitted)
            assert second.partition.statistics().remembered == 1
            await first.end()
            await until(lambda: second.owns)
            assert second.partition.statistics().remembered == 0
            ids = [op.request_id for op in admits(await written(first.bus, number))]
            assert ids == [asked.request_id]


async def test_one_of_two_that_try_at_once_wins(nats: NatsServer) -> None:  # noqa: F811
    number = new_partition()
    async with (
        limiter(nats.bus, number, THREE) as one,
        limiter(nats.bus, number, THREE) as another,
    ):
        await until(lambda: one.owns or another.owns)
        await until(lambda: one.partition.ready and another.partition.ready)
        assert one.owns != another.owns
        fenced = [each.partition.statistics().fenced for each in (one, another)]
        assert fenced == [0, 0], "who never owned it has lost nothing"


async def test_a_batch_that_was_heard_and_refused_is_in_no_book(nats: NatsServer) -> None:  # noqa: F811
    number = new_partition()
    async with limiter(nats.bus, number, THREE) as owner, nats.bus("limiter") as rival:
        await until(lambda: owner.owns)
        async with limiter(nats.bus, number, THREE) as standby:
            await following(standby, owner)
            sequence = standby.partition.statistics().sequence
            with pytest.raises(Exception, match="has appended"):
                await append(rival, number, Batch(new_instance("limiter"), 1, 10**15), 0)
            await asyncio.sleep(0.1)
            assert standby.partition.statistics().sequence == sequence
            assert standby.partition.statistics().lag_s == 0


async def test_it_begins_with_the_newest_snapshot_and_what_came_after(
    nats: NatsServer,  # noqa: F811
) -> None:
    number = new_partition()
    own = LimiterSettings(snapshot_batches=5)
    async with nats.bus("router") as router, limiter(nats.bus, number, MANY) as owner:
        await until(lambda: owner.owns)
        async with limiter(nats.bus, number, MANY, own) as standby:
            for _ in range(8):
                await ask(router, number)
            await until(lambda: standby.partition.snapshots.statistics().stored >= 1)
            await ask(router, number)
            snapshot = await Snapshots(owner.bus, number, 5).load()
            assert snapshot is not None
            assert snapshot.sequence < owner.partition.statistics().sequence
            async with limiter(nats.bus, number, MANY, own) as late:
                await following(late, owner)
                assert book(late) == book(owner)
            assert owner.partition.snapshots.statistics().stored == 0


async def test_an_owner_without_standbys_writes_its_snapshot_itself(
    nats: NatsServer,  # noqa: F811
) -> None:
    number = new_partition()
    own = LimiterSettings(snapshot_batches=3)
    async with nats.bus("router") as router, limiter(nats.bus, number, MANY, own) as owner:
        await until(lambda: owner.owns)
        asking = [asyncio.ensure_future(_ask_for(router, number, 2.0)) for _ in range(4)]
        await until(lambda: owner.partition.snapshots.statistics().stored >= 1)
        snapshot = await Snapshots(owner.bus, number, 5).load()
        assert all(await asyncio.gather(*asking))
        assert snapshot is not None
        log = await written(owner.bus, number)
        before = [one for one in log if one.sequence <= snapshot.sequence]
        replayed = Book(LimiterSettings().remembered_decisions)
        for one in before:
            for op in one.batch.ops:
                replayed.apply(op, one.batch.at_ms)
        restored = Book.restore(snapshot.chunks)
        assert restored.holds.keys() == replayed.holds.keys()
        assert len(restored.holds) == len(admits(before)) > 5


async def _ask_for(router: Any, number: int, seconds: float) -> bool:
    until_s = asyncio.get_running_loop().time() + seconds
    answers = []
    while asyncio.get_running_loop().time() < until_s:
        answers.append(await ask(router, number))
    return all(isinstance(answer, Admitted) for answer in answers)


async def test_a_snapshot_of_another_form_is_left_and_the_log_read_instead(
    nats: NatsServer,  # noqa: F811
) -> None:
    number = new_partition()
    async with nats.bus("router") as router:
        async with limiter(nats.bus, number, THREE) as first:
            await ask(router, number)
            await first.end()
            other = Snapshot([b"\xc1"], first.partition.statistics().sequence, 10**12)
            assert await Snapshots(first.bus, number, 5).write(other)
        async with limiter(nats.bus, number, THREE) as second:
            answers = [await ask(router, number) for _ in range(3)]
            assert [type(answer) for answer in answers] == [Admitted, Admitted, Denied]
            await until(lambda: second.partition.snapshots.statistics().stored == 1)


async def test_a_log_that_lost_its_end_is_taken_as_it_is(tmp_path: Path) -> None:
    """A broker's disk failed, say: the snapshot knows more than the log."""

    def bus(service: str) -> Any:
        return connect(server.settings, service, new_instance(service))

    with serving_plain(tmp_path) as server:
        async with bus("setup") as setup, bus("router") as router:
            await make_streams(setup)
            async with limiter(bus, 0, THREE) as first:
                await ask(router, 0)
                await ask(router, 0)
                assert first.partition._owner is not None
                taken = await first.partition._owner.snapshot()
                later = taken._replace(sequence=taken.sequence + 50)
                assert await Snapshots(setup, 0, 5).write(later)
                await first.end()
            async with limiter(bus, 0, THREE) as second:
                answers = [await ask(router, 0) for _ in range(2)]
                assert [type(answer) for answer in answers] == [Admitted, Denied]
                await until(lambda: second.partition.snapshots.statistics().stored == 1)
            snapshot = await Snapshots(setup, 0, 5).load()
            assert snapshot is not None
            assert snapshot.sequence < later.sequence


async def test_before_limits_are_known_nothing_is_decided(nats: NatsServer) -> None:  # noqa: F811
    number = new_partition()
    known = asyncio.Event()

    async def until_known() -> None:
        await known.wait()

    async with (
        nats.bus("router") as router,
        limiter(nats.bus, number, THREE, until_known=until_known) as one,
    ):
        with pytest.raises(NoAnswer):
            await ask(router, number, timeout_s=0.5)
        assert one.partition.check() != ""
        known.set()
        assert isinstance(await ask(router, number), Admitted)


async def test_what_is_remembered_is_bounded_in_number_and_time(nats: NatsServer) -> None:  # noqa: F811
    number = new_partition()
    own = LimiterSettings(max_remembered=3)
    known = asyncio.Event()

    async def until_known() -> None:
        await known.wait()

    async with (
        nats.bus("router") as router,
        limiter(nats.bus, number, THREE, own, until_known) as one,
    ):
        for _ in range(9):
            reply = inbox("router", router.instance, "x")
            router.publish(admission_subject(number), encode(question()), reply)
        await until(lambda: one.partition.statistics().remembered == 3)
        known.set()
        await until(lambda: one.owns)
        await ask(router, number)
        assert len(admits(await written(one.bus, number))) == 3


async def test_what_is_too_old_is_left_out() -> None:
    memory = Remembered(LimiterSettings(remember_ms=50))
    memory.add(lambda _owner: None, asks=True)
    await asyncio.sleep(0.06)
    memory.add(lambda _owner: None, asks=True)
    assert len(memory) == 1
    await asyncio.sleep(0.06)
    assert memory.take(0.0) == []
    assert len(memory) == 0
