"""Other models for when a route's own targets can't help."""

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from droveway.contracts.config import Config, Fallbacks
from tests.support.flows import Got, ask, entries, models, numbered, only_first, route
from tests.support.nats import NatsServer, nats
from tests.support.simulator import chat_body
from tests.support.stack import UNSPARED, Stack, running_stack

__all__ = ["nats"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _configure(config: Config) -> Config:
    def falling(model: str, fault: str, **lists: tuple[str, ...]) -> object:
        one = route(model, ("upstream-1", fault))
        return msgspec.structs.replace(one, fallbacks=Fallbacks(**lists))

    routes = (
        falling("short", "fault-context-length", context=("numbered-7",), failed=("numbered-2",)),
        falling("busy", "fault-429-30", rate_limited=("numbered-3",), failed=("numbered-2",)),
        falling("down", "fault-503", failed=("fault-500", "numbered-5")),
        falling("alone", "fault-context-length", failed=("numbered-2",)),
    )
    return only_first(config, *routes)  # type: ignore[arg-type]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(
    nats: NatsServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("fallbacks")
    async with running_stack(nats, folder, configure=_configure, environment=UNSPARED) as world:
        yield world


async def _ask(stack: Stack, model: str) -> Got:
    stack.simulator.book.clear()
    async with stack.client() as client:
        return await ask(client, chat_body(model, stream=True))


async def test_a_prompt_that_is_too_long_goes_to_the_larger_model_and_never_back(
    stack: Stack,
) -> None:
    got = await _ask(stack, "short")
    assert (got.status, got.said) == (200, numbered(7))
    assert models(entries(stack)) == ["fault-context-length", "numbered-7"]
    assert got.headers["x-droveway-attempts"] == "2"


async def test_without_a_larger_model_its_client_hears_the_providers_own_words(
    stack: Stack,
) -> None:
    got = await _ask(stack, "alone")
    assert (got.status, got.error["code"]) == (400, "context_length_exceeded")
    assert models(entries(stack)) == ["fault-context-length"]


async def test_a_rate_limit_has_a_cheaper_model_at_once_instead_of_a_wait(stack: Stack) -> None:
    got = await _ask(stack, "busy")
    assert (got.status, got.said) == (200, numbered(3))
    assert models(entries(stack)) == ["fault-429-30", "numbered-3"]


async def test_fallbacks_are_tried_in_their_order_once_all_targets_failed(stack: Stack) -> None:
    got = await _ask(stack, "down")
    assert got.status == 503, "three attempts are a request's share: two here, one there"
    assert models(entries(stack)) == ["fault-503", "fault-503", "fault-500"]
