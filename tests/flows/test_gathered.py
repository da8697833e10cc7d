"""Whole answers that are asked for as streams: the same to a client, whatever goes wrong."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from droveway.contracts.config import Config, Route
from tests.support.doors import ANTHROPIC, OPENAI, Said, ask
from tests.support.flows import each_once, entries, numbered, route, rows_of, with_timeouts
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import UNSPARED, Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOORS = pytest.mark.parametrize("door", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
PROVIDERS = pytest.mark.parametrize("provider", ["upstream-1", "upstream-2"])
FAULTS = (
    "cut-after-2", "fin-after-2", "end-after-2", "stall-after-2", "error-after-2", "no-finish",
    "silence", "500", "json-error-200", "reset-after-headers", "html",
)  # fmt: skip


def _gathered(model: str, *targets: tuple[str, str]) -> Route:
    return msgspec.structs.replace(route(model, *targets), unstreamed="stream")


def _configure(config: Config) -> Config:
    first, second, third = config.providers
    second = msgspec.structs.replace(second, dialect="anthropic", kind="anthropic")
    good = (third.id, "numbered-4")
    routes = [
        _gathered(f"{one.id}/{fault}", (one.id, f"fault-numbered-4+{fault}"), good)
        for one in (first, second)
        for fault in FAULTS
    ]
    routes += [_gathered(f"{one.id}/fine", (one.id, "numbered-6")) for one in (first, second)]
    routes += [_gathered(f"{one.id}/sim", (one.id, "sim")) for one in (first, second)]
    config = msgspec.structs.replace(config, providers=(first, second, third), routes=tuple(routes))
    return each_once(with_timeouts(config, first_token_s=0.3, idle_s=0.3))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("gathered")
    async with running_stack(
        nats, folder, simulators=3, configure=_configure, environment=UNSPARED
    ) as world:
        yield world


async def _ask(stack: Stack, door: str, model: str, **fields: Any) -> Said:
    for simulator in stack.simulators:
        simulator.book.clear()
    async with stack.client() as client:
        return await ask(client, door, model, "hello", stream=False, **fields)


@DOORS
@PROVIDERS
async def test_a_whole_answer_is_put_together(stack: Stack, door: str, provider: str) -> None:
    said = await _ask(stack, door, f"{provider}/fine")
    assert (said.status, said.text, said.finish) == (200, numbered(6), "stop")
    assert said.tokens[1] == 6
    assert [entry.stream for entry in entries(stack)] == [True]


@DOORS
@PROVIDERS
@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_breaks_off_comes_whole_from_the_next_target(
    stack: Stack, door: str, provider: str, fault: str
) -> None:
    said = await _ask(stack, door, f"{provider}/{fault}")
    assert (said.status, said.text) == (200, numbered(4)), said.error
    assert said.headers["x-droveway-attempts"] == "2"
    assert said.headers["x-droveway-provider"] == "upstream-3"


@DOORS
@PROVIDERS
async def test_calls_come_whole(stack: Stack, door: str, provider: str) -> None:
    said = await _ask(stack, door, f"{provider}/sim", tools=["look"])
    assert said.finish == "tool_calls"
    assert [call.name for call in said.calls] == ["look"]
    assert set(said.calls[0].arguments) == {"city"}


async def test_several_choices_come_whole(stack: Stack) -> None:
    async with stack.client() as client:
        answer = await client.post(OPENAI, json=chat_body("upstream-1/fine", n=3))
    choices = answer.json()["choices"]
    assert [one["message"]["content"] for one in choices] == [numbered(6)] * 3


async def test_the_rows_know_the_request_as_its_client_does(nats: NatsServer, stack: Stack) -> None:
    said = await _ask(stack, OPENAI, "upstream-1/cut-after-2")
    trail = await rows_of(nats, said.headers["x-request-id"], attempts=2)
    assert trail.request is not None
    assert not trail.request.stream
    assert [row.outcome for row in sorted(trail.attempts, key=lambda row: row.attempt)] == [
        "failed", "completed",
    ]  # fmt: skip
