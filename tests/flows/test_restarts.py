"""Callers that break off a whole answer on its way: its client gets all of it from the next one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from droveway.contracts import dispatch
from droveway.contracts.config import Config, Retry
from droveway.contracts.envelope import encode
from droveway.contracts.errors import failure
from droveway.contracts.relay import Origin, Usage
from droveway.contracts.usage import RequestRecorded
from droveway.runtime.bus import Bus
from droveway.runtime.relay import RelayHub, Sender
from tests.support.flows import CHAT, ask, only_first, route, rows_of, stored_rows
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body, payloads
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPENT = Usage(5, 4)
ANSWER = {"choices": [{"index": 0, "message": {"content": "all"}, "finish_reason": "stop"}]}


class Caller:
    """Answers calls by itself; those to a model named `broken...` it breaks off.

    Of those to one named `vanishes...` it knows nothing any more once they have begun, like a
    process that was killed and replaced under its name.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._hub = RelayHub(bus)
        self._tasks: set[asyncio.Task[None]] = set()
        self.calls: list[dispatch.CallRouted] = []

    async def listen(self) -> None:
        """Takes control messages and calls."""
        await self._hub.listen()
        subject = dispatch.dispatch_subject("default")
        await self._bus.subscribe(subject, self._on_call, queue="caller")

    def _on_call(self, payload: bytes, reply: str) -> None:
        task = asyncio.ensure_future(self._answer(dispatch.call_decoder.decode(payload), reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: dispatch.CallRouted, reply: str) -> None:
        self.calls.append(call)
        me = self._bus.instance
        for kind in (dispatch.Started, dispatch.Committed):
            self._bus.publish(reply, encode(kind(attempt_id=call.attempt_id, caller=me)))
        sender = self._hub.open_sender(call.relay_id, call.door, call.answer_to, _ignored)
        target = f"{call.target.provider}/{call.target.model}"
        origin = Origin(me, call.attempt_id, call.attempt, "p", call.target.model, target=target)
        if call.stream:
            await self._stream(call, sender, origin)
            return
        await sender.send((b'{"half":',), origin)
        if _vanishes(call):
            self._hub.close_sender(sender)
            return
        stops = call.target.model == "stops" and call.attempt == 1
        if stops or call.target.model.startswith("broken"):
            code = "server_shutting_down" if stops else "stream_interrupted"
            sender.interrupt(failure(code), SPENT)
        elif call.target.model.startswith("late"):
            sender.interrupt(failure("deadline_exceeded"), SPENT)
        else:
            await sender.send((b"1,",), None)
            sender.complete(SPENT, "stop", msgspec.json.encode(ANSWER)[1:], origin)
        self._hub.close_sender(sender)

    async def _stream(self, call: dispatch.CallRouted, sender: Sender, origin: Origin) -> None:
        origin = msgspec.structs.replace(origin, continuable=call.continuable)
        if _vanishes(call):
            said = "of text " if call.continues else "four words "
            await sender.send((_event({"role": "assistant", "content": said}),), origin)
        elif not call.continues or call.target.model == "broken-again":
            said = "of text " if call.continues else "four words "
            await sender.send((_event({"role": "assistant", "content": said}),), origin)
            sender.interrupt(failure("stream_interrupted"), Usage())  # as if its process were gone
        else:
            await sender.send((_event({"role": "assistant", "content": "of text"}),), origin)
            await sender.send((_event({}, "stop"),), None)
            sender.complete(SPENT, "stop")
        self._hub.close_sender(sender)


def _vanishes(call: dispatch.CallRouted) -> bool:
    name = call.target.model
    return name == "vanishes" or (name == "vanishes-once" and call.attempt == 1)


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return msgspec.json.encode({"id": "c", "created": 1, "model": "m", "choices": [choice]})


def _ignored(_reason: str) -> None:
    """Nobody leaves here."""


def _configure(config: Config) -> Config:
    broken = (("upstream-1", "broken-1"), ("upstream-2", "broken-2"))
    return only_first(
        config,
        route("once", ("upstream-1", "broken"), ("upstream-2", "fine")),
        route("twice", *broken, ("upstream-1", "fine")),
        route("always", *broken),
        route("stopping", ("upstream-1", "stops")),
        route("late", ("upstream-1", "late"), ("upstream-2", "fine")),
        route("killed", ("upstream-1", "vanishes-once"), ("upstream-2", "fine")),
        route("kills", ("upstream-1", "vanishes"), ("upstream-2", "fine")),
        msgspec.structs.replace(
            route("killed-alone", ("upstream-1", "vanishes-once")), retry=Retry(attempts=1)
        ),
        msgspec.structs.replace(
            route("killed-twice", ("upstream-1", "vanishes"), ("upstream-2", "fine")),
            midstream="continue",
            retry=Retry(attempts=2),
        ),
        msgspec.structs.replace(route("gone", *broken), midstream="continue"),
        msgspec.structs.replace(
            route(
                "gone-twice",
                ("upstream-1", "broken-1"),
                ("upstream-2", "broken-again"),
                ("upstream-1", "fine"),
            ),
            midstream="continue",
        ),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    nats: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Stack, Caller]]:
    folder = tmp_path_factory.mktemp("restarts")
    async with (
        nats.bus("caller") as bus,
        running_stack(
            nats, folder, simulators=2, replicas={"caller": 0}, configure=_configure
        ) as stack,
    ):
        caller = Caller(bus)
        await caller.listen()
        yield stack, caller


async def _post(world: tuple[Stack, Caller], model: str, **fields: Any) -> httpx.Response:
    stack, caller = world
    caller.calls.clear()
    async with stack.client() as client:
        return await client.post(CHAT, json=chat_body(model, **fields))


async def test_the_next_target_gives_all_of_it(
    nats: NatsServer, world: tuple[Stack, Caller]
) -> None:
    answer = await _post(world, "once")
    assert answer.status_code == 200
    assert answer.json() == {"half": 1, **ANSWER}
    assert answer.headers["x-droveway-attempts"] == "2"
    assert [call.target.model for call in world[1].calls] == ["broken", "fine"]
    assert len({call.request_id for call in world[1].calls}) == 1
    assert len({call.relay_id for call in world[1].calls}) == 2
    assert world[1].calls[1].body == world[1].calls[0].body
    assert not world[1].calls[1].continues


async def test_a_caller_that_stops_is_no_fault_of_its_only_target(
    world: tuple[Stack, Caller],
) -> None:
    answer = await _post(world, "stopping")
    assert answer.json() == {"half": 1, **ANSWER}
    assert [(call.attempt, call.target.model) for call in world[1].calls] == [
        (1, "stops"), (2, "stops"),
    ]  # fmt: skip


async def test_a_killed_callers_whole_answer_is_one_more_attempt_of_its_route(
    nats: NatsServer, world: tuple[Stack, Caller]
) -> None:
    answer = await _post(world, "killed")
    assert answer.json() == {"half": 1, **ANSWER}
    assert [call.target.model for call in world[1].calls] == ["vanishes-once"] * 2
    alone = await _post(world, "killed-alone")
    assert alone.json()["error"]["code"] == "stream_interrupted"
    assert len(world[1].calls) == 1, "its route allows one attempt"


async def test_a_target_whose_callers_die_twice_is_not_asked_a_third_time(
    world: tuple[Stack, Caller],
) -> None:
    answer = await _post(world, "kills")
    assert answer.json() == {"half": 1, **ANSWER}
    assert [call.target.model for call in world[1].calls] == ["vanishes", "vanishes", "fine"]


async def test_where_nobody_may_go_on_a_request_has_the_usage_of_all_its_attempts(
    nats: NatsServer, world: tuple[Stack, Caller]
) -> None:
    world[1].calls.clear()
    async with world[0].client() as client:
        answer = await ask(client, chat_body("killed-twice", stream=True))
    assert answer.error["code"] == "stream_interrupted"
    assert len(world[1].calls) == 2
    trail = await rows_of(nats, answer.headers["x-request-id"], attempts=2)
    assert trail.request is not None
    assert [row.usage.output_tokens for row in trail.attempts] == [3, 2]
    assert trail.request.usage.output_tokens == 5
    inputs = sum(row.usage.input_tokens for row in trail.attempts)
    assert trail.request.usage.input_tokens == inputs > 0


async def test_a_body_too_large_for_one_message_is_offered_anew(
    world: tuple[Stack, Caller],
) -> None:
    answer = await _post(world, "once", content="x" * 300_000)
    assert answer.json() == {"half": 1, **ANSWER}
    first, second = (call.body for call in world[1].calls)
    assert first.relay_id != second.relay_id
    assert first.size_bytes == second.size_bytes


async def test_two_may_break_off(world: tuple[Stack, Caller]) -> None:
    answer = await _post(world, "twice")
    assert answer.json() == {"half": 1, **ANSWER}
    assert [call.attempt for call in world[1].calls] == [1, 2, 3]


@pytest.mark.parametrize(
    ("model", "code", "calls"),
    [("always", "stream_interrupted", 2), ("late", "deadline_exceeded", 1)],
)
async def test_what_cannot_be_had_is_an_error_that_names_the_cause(
    world: tuple[Stack, Caller], model: str, code: str, calls: int
) -> None:
    answer = await _post(world, model)
    assert answer.json()["error"]["code"] == code
    assert len(world[1].calls) == calls


async def test_of_a_caller_that_is_gone_what_came_is_counted(
    nats: NatsServer, world: tuple[Stack, Caller]
) -> None:
    answer = await _post(world, "gone", stream=True)
    said = [event["choices"][0]["delta"].get("content", "") for event in _events(answer.text)]
    assert "".join(said) == "four words of text"
    row = await _row(nats, answer.headers["x-request-id"])
    assert row.usage.estimated
    assert row.usage.output_tokens == SPENT.output_tokens + 3
    assert row.usage.input_tokens > SPENT.input_tokens


async def test_of_two_that_are_gone_what_came_of_each_is_counted_once(
    nats: NatsServer, world: tuple[Stack, Caller]
) -> None:
    answer = await _post(world, "gone-twice", stream=True)
    said = [event["choices"][0]["delta"].get("content", "") for event in _events(answer.text)]
    assert "".join(said) == "four words of text of text"
    row = await _row(nats, answer.headers["x-request-id"])
    assert row.usage.output_tokens == SPENT.output_tokens + 3 + 2, "of eleven bytes and of eight"


def _events(text: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(one) for one in payloads(text) if one != "[DONE]"]


async def _row(nats: NatsServer, wanted: str) -> RequestRecorded:
    async with asyncio.timeout(5):
        while wanted not in (rows := {one.request_id: one for one in await stored_rows(nats)}):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    row = rows[wanted]
    assert isinstance(row, RequestRecorded)
    return row


async def test_usage_is_that_of_all_answers(nats: NatsServer, world: tuple[Stack, Caller]) -> None:
    answer = await _post(world, "twice")
    row = await _row(nats, answer.headers["x-request-id"])
    assert (row.usage, row.attempts) == (Usage(15, 12), 3)
