"""What an owner says stands in the log; what it can't be sure of it doesn't say."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from droveway.contracts.access import Limit
from droveway.contracts.admission import (
    Admitted,
    Denied,
    Held,
    StandingAsked,
    StandingReported,
    admission_subject,
    standing_subject,
)
from droveway.contracts.envelope import encode, new_instance
from droveway.contracts.limits import Batch
from droveway.contracts.settlement import Released, settlement_subject
from droveway.limiter.settings import LimiterSettings
from droveway.runtime.bus import connect
from droveway.runtime.errors import NoAnswer
from tests.support.limiters import KEY, TENANT, Limiter, ask, config, limiter, question
from tests.support.limits_log import admits, append, make_streams, new_partition, written
from tests.support.nats import NatsServer, nats  # noqa: F401
from tests.support.plain_nats import PlainNats, serving_plain
from tests.support.waiting import until

THREE = config(Limit(requests=3))
MANY = config(Limit(requests=100_000))


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[PlainNats]:
    with serving_plain(tmp_path) as server:
        yield server


def appends(one: Limiter) -> int:
    return one.partition.statistics().appends


async def owning(one: Limiter) -> Limiter:
    await until(lambda: one.owns)
    return one


async def test_alone_it_owns_the_log_within_half_a_second(nats: NatsServer) -> None:  # noqa: F811
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    async with limiter(nats.bus, new_partition(), THREE) as one:
        await owning(one)
        assert loop.time() - began_s < 0.6
        assert one.partition.check() == ""


async def test_who_is_admitted_stands_in_the_log_when_told(nats: NatsServer) -> None:  # noqa: F811
    number = new_partition()
    async with limiter(nats.bus, number, THREE) as one, nats.bus("router") as router:
        await owning(one)
        for count in range(1, 4):
            asked = question()
            answer = await ask(router, number, asked)
            assert isinstance(answer, Admitted)
            stands = admits(await written(one.bus, number))
            assert [op.request_id for op in stands][count - 1 :] == [asked.request_id]
        assert isinstance(await ask(router, number), Denied)
        assert len(admits(await written(one.bus, number))) == 3


async def test_questions_of_one_moment_share_an_append(nats: NatsServer) -> None:  # noqa: F811
    number = new_partition()
    async with limiter(nats.bus, number, MANY) as one, nats.bus("router") as router:
        await owning(one)
        before = appends(one)
        answers = await asyncio.gather(*(ask(router, number) for _ in range(200)))
        assert all(isinstance(answer, Admitted) for answer in answers)
        assert appends(one) - before < 40
        log = await written(one.bus, number)
        assert len(admits(log)) == 200
        assert [one.batch.number for one in log] == [*range(1, len(log) + 1)]


async def test_a_batch_is_bounded_in_bytes(nats: NatsServer) -> None:  # noqa: F811
    number = new_partition()
    own = LimiterSettings(max_batch_bytes=1_000)
    async with limiter(nats.bus, number, MANY, own) as one, nats.bus("router") as router:
        await owning(one)
        await asyncio.gather(*(ask(router, number) for _ in range(50)))
        sizes = [len(encode(each.batch)) for each in await written(one.bus, number)]
        assert sum(sizes) > 5_000
        assert max(sizes) < 1_200


async def test_what_changes_nothing_needs_an_append_only_now_and_then(
    nats: NatsServer,  # noqa: F811
) -> None:
    number = new_partition()
    async with limiter(nats.bus, number, THREE) as one, nats.bus("router") as router:
        await owning(one)
        asked = [question() for _ in range(3)]
        for each in asked:
            await ask(router, number, each)
        before = appends(one)
        assert isinstance(await ask(router, number), Denied)
        assert isinstance(await ask(router, number, asked[0]), Admitted)
        elsewhere = msgspec.structs.replace(asked[0], router="router-11111111")
        assert isinstance(await ask(router, number, elsewhere), Held)
        assert appends(one) == before
        await asyncio.sleep(0.15)
        assert isinstance(await ask(router, number), Denied)
        assert appends(one) == before + 1
        assert (await written(one.bus, number))[-1].batch.ops == ()


async def test_who_lost_the_log_says_nothing_and_forgets(nats: NatsServer) -> None:  # noqa: F811
    number = new_partition()
    async with limiter(nats.bus, number, THREE) as one, nats.bus("router") as router:
        await owning(one)
        await ask(router, number)
        last = (await written(one.bus, number))[-1]
        rival = Batch(owner=new_instance("limiter"), number=1, at_ms=last.batch.at_ms)
        await append(one.bus, number, rival, last.sequence)
        with pytest.raises(NoAnswer):
            await ask(router, number, timeout_s=0.15)
        assert one.partition.statistics().fenced == 1
        assert len(admits(await written(one.bus, number))) == 1
        await owning(one)
        answer = await ask(router, number)
        assert isinstance(answer, Admitted)
        assert answer.requests is not None
        assert answer.requests.remaining <= 1
        assert one.partition.statistics().takeovers == 2


async def test_a_broker_that_stands_still_holds_no_more_than_the_bound(
    own_server: PlainNats,
) -> None:
    def bus(service: str) -> Any:
        return connect(own_server.settings, service, new_instance(service))

    own = LimiterSettings(max_pending=5, ack_within_ms=50)
    async with bus("setup") as setup, bus("router") as router:
        await make_streams(setup)
        async with limiter(bus, 0, MANY, own) as one:
            await owning(one)
            own_server.signal(signal.SIGSTOP)
            for _ in range(20):
                payload = encode(question())
                one.questions.on_admission(payload, "_INBOX.router.router-00000000.x")
            await asyncio.sleep(0.1)
            statistics = one.partition.statistics()
            assert statistics.refused_full in (14, 15)
            assert statistics.pending <= 5
            own_server.signal(signal.SIGCONT)
            await until(lambda: one.partition.statistics().pending == 0)
            assert isinstance(await ask(router, 0), Admitted)
            assert one.partition.statistics().fenced == 0
            ids = [op.request_id for op in admits(await written(setup, 0))]
            assert len(ids) == len(set(ids)) == 20 - statistics.refused_full + 1


async def test_a_broker_that_dies_and_comes_back_is_decided_for_within_two_seconds(
    own_server: PlainNats,
) -> None:
    def bus(service: str) -> Any:
        return connect(own_server.settings, service, new_instance(service))

    async with bus("setup") as setup, bus("router") as router:
        await make_streams(setup)
        async with limiter(bus, 0, THREE) as one:
            await owning(one)
            assert isinstance(await ask(router, 0), Admitted)
            own_server.kill()
            await until(lambda: not one.owns)
            assert one.partition.check() != ""
            own_server.start()
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            await until(lambda: one.owns)
            assert loop.time() - began_s < 2
            await until(lambda: router.ready)
            answer = await ask(router, 0)
            assert isinstance(answer, Admitted)
            assert answer.requests is not None
            assert answer.requests.remaining == 1
            assert one.partition.statistics().fenced == 0


async def test_only_routers_are_answered_and_garbage_is_counted(nats: NatsServer) -> None:  # noqa: F811
    number = new_partition()
    async with limiter(nats.bus, number, THREE) as one, nats.bus("router") as router:
        await owning(one)
        router.publish(admission_subject(number), encode(question()), "_INBOX.caller.caller-1.x")
        router.publish(admission_subject(number), b"\xc1", "_INBOX.router.router-00000000.x")
        router.publish(settlement_subject(number), b"\xc1")
        await until(lambda: one.questions.statistics() == (2, 1))
        assert admits(await written(one.bus, number)) == []


async def test_a_lease_that_is_released_stands_in_the_log(nats: NatsServer) -> None:  # noqa: F811
    number = new_partition()
    one_at_a_time = config(Limit(concurrency=1))
    async with limiter(nats.bus, number, one_at_a_time) as one, nats.bus("router") as router:
        await owning(one)
        asked = question()
        answer = await ask(router, number, asked)
        assert isinstance(answer, Admitted)
        assert answer.lease_ms == LimiterSettings().lease_ms
        assert isinstance(await ask(router, number), Denied)
        released = Released(request_id=asked.request_id, router=asked.router)
        router.publish(settlement_subject(number), encode(released))
        assert isinstance(await ask(router, number), Admitted)


async def test_a_lease_that_nobody_renews_runs_out(nats: NatsServer) -> None:  # noqa: F811
    number = new_partition()
    own = LimiterSettings(lease_ms=200)
    one_at_a_time = config(Limit(concurrency=1))
    async with limiter(nats.bus, number, one_at_a_time, own) as one, nats.bus("router") as router:
        await owning(one)
        assert isinstance(await ask(router, number), Admitted)
        assert isinstance(await ask(router, number), Denied)
        await asyncio.sleep(0.4)
        assert isinstance(await ask(router, number), Admitted)


async def test_operators_see_where_a_key_stands(nats: NatsServer) -> None:  # noqa: F811
    number = new_partition()
    async with (
        limiter(nats.bus, number, THREE) as one,
        nats.bus("router") as router,
        nats.bus("operator") as operator,
    ):
        await owning(one)
        await ask(router, number)
        asked = encode(StandingAsked(key_id=KEY, tenant=TENANT))
        answer = await operator.request(standing_subject(number), asked, 2)
        report = msgspec.msgpack.decode(answer, type=StandingReported)
        assert report.owner == one.bus.instance
        assert [(each.kind, each.used, each.limit) for each in report.limits] == [
            ("requests", 1, 3)
        ]
