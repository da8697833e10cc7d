"""What a door makes of a caller's word when the router has no part in a request any more."""

import time

import pytest

from droveway.contracts.dispatch import AttemptFailed, Running
from droveway.contracts.envelope import encode, new_attempt_id
from droveway.contracts.errors import failure
from droveway.contracts.inference import INTERACTIVE, Accepted, inference_subject
from droveway.gateway.asking import AskFailed, Asking
from droveway.gateway.live_routers import LiveRouters
from droveway.runtime.deadline import Deadline
from droveway.runtime.relay import RelayHub
from tests.support.nats import NatsServer
from tests.support.requested import requested
from tests.support.waiting import until


def _taken(_payload: bytes, _reply: str) -> None:
    """Somebody listens; the test answers in its own time."""


@pytest.mark.parametrize(("attempt", "spent"), [(1, False), (2, True)])
async def test_a_client_is_told_that_retries_were_made_though_their_router_has_died(
    nats: NatsServer, attempt: int, spent: bool
) -> None:
    async with nats.bus("gateway") as door, nats.bus("router") as router, nats.bus("caller") as bus:
        await router.subscribe(inference_subject(INTERACTIVE), _taken, queue="router")
        request = requested(door=door.instance)
        asking = Asking(door, RelayHub(door), LiveRouters(), request, Deadline.after_ms(5_000))
        asking.publish()
        (ask,) = asking.asks
        accepted = Accepted(request_id=request.request_id, router=router.instance)
        router.publish(ask.inbox.subject, encode(accepted))
        await until(lambda: ask.accepted is not None)
        asking.look(time.monotonic())
        one, caller = new_attempt_id(), bus.instance
        running = Running(attempt_id=one, attempt=attempt, caller=caller, committed=True)
        bus.publish(ask.inbox.subject, encode(running))
        refused = failure("provider_rejected")
        bus.publish(
            ask.inbox.subject, encode(AttemptFailed(attempt_id=one, caller=caller, failure=refused))
        )
        await until(lambda: ask.attempt_failed is not None)
        with pytest.raises(AskFailed) as told:
            asking.look(time.monotonic())
        assert (told.value.failure, told.value.spent) == (refused, spent)
        ask.close()
