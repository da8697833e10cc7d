"""Silence is noticed long before a client gives up, phase by phase, and another target serves."""

import time
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from droveway.contracts.config import Config, PhaseTimeouts, Route
from tests.support.flows import Got, ask, each_once, entries, models, numbered, route
from tests.support.nats import NatsServer
from tests.support.simulator import chat_body
from tests.support.stack import UNSPARED, Stack, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
SOON_S = 3.0
"""Far below any time-out that isn't set here."""


def _within(model: str, fault: str, *, of_target: bool = False, **timeouts: float) -> Route:
    """A route whose first target doesn't answer in time, and whose second one does."""
    one = route(model, ("upstream-1", fault), ("upstream-2", "numbered-4"))
    limits = PhaseTimeouts(**timeouts)
    if not of_target:
        return msgspec.structs.replace(one, timeouts=limits)
    first, second = one.tiers
    patient = msgspec.structs.replace(first.targets[0], timeouts=limits)
    first = msgspec.structs.replace(first, targets=(patient,))
    return msgspec.structs.replace(one, tiers=(first, second))


def _configure(config: Config) -> Config:
    cut = _within("continued", "fault-numbered-4+stall-after-2", idle_s=0.2)
    announced = msgspec.structs.replace(cut, model="announced", timeouts=PhaseTimeouts())
    gathered = _within("gathered", "fault-silence", first_token_s=0.2)
    routes = (
        _within("of-route", "fault-silence", first_token_s=0.2, total_s=0.6),
        _within("of-target", "fault-silence", of_target=True, first_token_s=0.2, total_s=0.6),
        _within("slow-first", "fault-slow-first-token-5000", first_token_s=0.2, total_s=0.6),
        _within("stalls", "fault-stall-after-2", idle_s=0.2),
        _within("patient", "fault-silence"),
        msgspec.structs.replace(cut, midstream="continue"),
        msgspec.structs.replace(announced, midstream="continue"),
        msgspec.structs.replace(gathered, unstreamed="stream"),
    )
    return each_once(msgspec.structs.replace(config, routes=routes))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("timeouts")
    async with running_stack(
        nats, folder, simulators=2, configure=_configure, environment=UNSPARED
    ) as world:
        yield world


async def _ask(stack: Stack, model: str, *, stream: bool, **headers: str) -> tuple[Got, float]:
    for simulator in stack.simulators:
        simulator.book.clear()
    began_s = time.monotonic()
    async with stack.client(headers=headers) as client:
        got = await ask(client, chat_body(model, stream=stream))
    return got, time.monotonic() - began_s


@BOTH
@pytest.mark.parametrize("model", ["of-route", "of-target", "slow-first"])
async def test_a_target_that_says_nothing_in_time_is_left_for_the_next(
    stack: Stack, model: str, stream: bool
) -> None:
    got, took_s = await _ask(stack, model, stream=stream)
    assert (got.status, got.said) == (200, numbered(4))
    assert got.headers["x-droveway-attempts"] == "2"
    assert took_s < SOON_S


async def test_half_a_whole_answer_and_silence_is_left_for_the_next(stack: Stack) -> None:
    got, took_s = await _ask(stack, "stalls", stream=False)
    assert (got.status, got.said) == (200, numbered(4))
    assert took_s < SOON_S


async def test_what_is_gathered_shows_silence_at_the_first_token(stack: Stack) -> None:
    got, took_s = await _ask(stack, "gathered", stream=False)
    assert (got.status, got.said) == (200, numbered(4))
    assert got.headers["x-droveway-attempts"] == "2"
    assert took_s < SOON_S
    assert all(entry.stream for entry in entries(stack))


async def test_a_stream_that_falls_silent_is_gone_on_with(stack: Stack) -> None:
    got, took_s = await _ask(stack, "continued", stream=True)
    assert got.said == numbered(4)
    assert got.done
    assert took_s < SOON_S


async def test_a_first_token_has_two_fifths_of_the_clients_own_patience(stack: Stack) -> None:
    patience = {"x-stainless-read-timeout": "1"}
    got, took_s = await _ask(stack, "patient", stream=True, **patience)
    assert (got.status, got.said) == (200, numbered(4))
    assert took_s < 1.0, "its client would have left"


async def test_silence_in_a_stream_has_two_fifths_of_the_clients_own_patience(
    stack: Stack,
) -> None:
    patience = {"x-stainless-read-timeout": "1"}
    got, took_s = await _ask(stack, "announced", stream=True, **patience)
    assert got.said == numbered(4)
    assert took_s < 1.0, "its client would have left"
    assert models(entries(stack)) == ["fault-numbered-4+stall-after-2", "numbered-4"]
