"""What an owner has denied, the next one doesn't decide anew: nobody would take the answer."""

from droveway.contracts.access import Limit
from droveway.contracts.admission import Admitted, Denied
from droveway.contracts.envelope import encode, new_attempt_id
from droveway.contracts.relay import Usage
from droveway.contracts.settlement import Settled, settlement_subject
from tests.support.limiters import ask, config, limiter, question
from tests.support.limits_log import admits, new_partition, written
from tests.support.nats import NatsServer, nats  # noqa: F401
from tests.support.waiting import until


async def test_a_denied_question_is_not_admitted_at_a_takeover(nats: NatsServer) -> None:  # noqa: F811
    number, one_at_a_time = new_partition(), config(Limit(concurrency=1))
    async with limiter(nats.bus, number, one_at_a_time) as owner, nats.bus("router") as router:
        await until(lambda: owner.owns)
        async with limiter(nats.bus, number, one_at_a_time) as standby:
            await until(lambda: standby.partition.ready)
            first, second = question(), question()
            assert isinstance(await ask(router, number, first), Admitted)
            assert isinstance(await ask(router, number, second), Denied)
            router.publish(
                settlement_subject(number),
                encode(
                    Settled(
                        request_id=first.request_id,
                        attempt_id=new_attempt_id(),
                        caller="caller-00000000",
                        provider="p",
                        credential="main",
                        model="m",
                        usage=Usage(1, 1),
                        committed=True,
                    )
                ),
            )
            await router.settle()
            await owner.end()
            await until(lambda: standby.owns)
            third = await ask(router, number, question())
            async with nats.bus("limiter") as bus:
                log = [one.request_id for one in admits(await written(bus, number))]
            assert second.request_id not in log, "its client was told no, and holds the place now"
            assert isinstance(third, Admitted)
