"""A caller as a router sees it, message by message."""

import secrets
from pathlib import Path

import msgspec

from droveway.contracts import dispatch
from droveway.contracts.envelope import encode, new_attempt_id, new_request_id
from droveway.contracts.inference import Body
from droveway.contracts.relay import Cancel, Inquiry, control_subject, is_frame, news_decoder
from droveway.otel.context import format_traceparent, new_trace
from droveway.runtime.bus import Bus
from tests.support.flows import eventually
from tests.support.nats import NatsServer
from tests.support.stack import Stack, running_stack

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
ALONE = {"router": 0, "gateway": 0, "limiter": 0, "metrics": 0}


class Router:
    """Publishes calls and collects what the caller says to them."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.news: list[dispatch.AttemptNews] = []
        self._inbox = bus.open_inbox(
            lambda payload: self.news.append(dispatch.news_decoder.decode(payload)), lambda: None
        )
        self.call = dispatch.CallRouted(
            attempt_id=new_attempt_id(),
            attempt=1,
            request_id=new_request_id(),
            relay_id=secrets.token_bytes(16),
            router=bus.instance,
            door="gateway-000000000000",
            answer_to="_INBOX.gateway.gateway-000000000000.t",
            traceparent=format_traceparent(new_trace(0)),
            tenant="default",
            key_id="k1",
            dialect="openai.chat",
            model="m",
            target=dispatch.Target(provider="upstream-1", credential="main", model="fault-silence"),
            stream=True,
            body=Body(size_bytes=len(BODY), inline=BODY),
            remaining_ms=5_000,
            first_token_ms=5_000,
        )

    def route(self, **changes: object) -> dispatch.CallRouted:
        """Publishes the call, changed, as one more attempt."""
        self.call = msgspec.structs.replace(self.call, attempt_id=new_attempt_id(), **changes)
        self._bus.publish(
            dispatch.dispatch_subject("default"), encode(self.call), self._inbox.subject
        )
        return self.call

    def cancel(self, caller: str) -> None:
        """Nobody wants the attempt any more."""
        self._bus.publish(control_subject(caller), encode(Cancel(self.call.relay_id)))


async def _began(router: Router, stack: Stack, requests: int) -> dispatch.Started:
    await eventually(lambda: stack.simulator.book.totals.requests == requests)
    started = router.news[-1]
    assert isinstance(started, dispatch.Started)
    return started


async def test_the_next_attempt_may_follow_a_cancel_at_once(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with running_stack(nats, tmp_path, replicas=ALONE) as stack, nats.bus("router") as bus:
        router = Router(bus)
        router.route()
        started = await _began(router, stack, 1)
        router.cancel(started.caller)
        second = router.route(attempt=2)
        assert (await _began(router, stack, 2)).attempt_id == second.attempt_id
        await eventually(lambda: stack.simulator.book.totals.client_closed == 1)
        router.cancel(started.caller)
        await eventually(lambda: stack.simulator.book.totals.open_requests == 0)


async def test_a_repeated_call_is_not_made_twice(nats: NatsServer, tmp_path: Path) -> None:
    async with running_stack(nats, tmp_path, replicas=ALONE) as stack, nats.bus("router") as bus:
        router = Router(bus)
        router.route()
        started = await _began(router, stack, 1)
        router.route()
        await eventually(lambda: len(router.news) == 2)
        assert isinstance(router.news[1], dispatch.Busy)
        assert stack.simulator.book.totals.requests == 1
        router.cancel(started.caller)
        await eventually(lambda: stack.simulator.book.totals.open_requests == 0)


async def test_an_unknown_target_and_a_foreign_door_are_refused(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with running_stack(nats, tmp_path, replicas=ALONE) as stack, nats.bus("router") as bus:
        router = Router(bus)
        router.route(answer_to="droveway.v1.usage.default")
        target = dispatch.Target(provider="unknown", credential="main", model="m")
        router.route(answer_to="_INBOX.gateway.gateway-000000000000.t", target=target)
        await eventually(lambda: len(router.news) == 1)
        news = router.news[0]
        assert isinstance(news, dispatch.AttemptFailed)
        assert news.failure.code == "provider_unavailable"
        assert news.failure.elsewhere
        assert stack.simulator.book.totals.requests == 0


async def test_a_door_without_a_router_hears_that_an_answer_is_over(
    nats: NatsServer, tmp_path: Path
) -> None:
    """Its frames were lost and aren't kept any more: without this the door would wait for them."""
    async with (
        running_stack(nats, tmp_path, replicas=ALONE) as stack,
        nats.bus("router") as bus,
        nats.bus("gateway") as door,
    ):
        heard: list[bytes] = []
        inbox = door.open_inbox(heard.append, lambda: None)
        target = dispatch.Target(provider="upstream-1", credential="main", model="numbered-3")
        router = Router(bus)
        call = router.route(
            answer_to=inbox.subject, door=door.instance, target=target, stream=False
        )
        await eventually(lambda: any(isinstance(one, dispatch.Committed) for one in router.news))
        await eventually(lambda: stack.simulator.book.totals.open_requests == 0)
        caller = router.news[0].caller
        heard.clear()

        def inquire() -> bool:
            inquiry = Inquiry(call.attempt_id, inbox.subject)
            door.publish(control_subject(caller), encode(inquiry))
            news = [news_decoder.decode(one) for one in heard if not is_frame(one)]
            return any(isinstance(one, dispatch.AttemptFailed) for one in news)

        await eventually(inquire)
