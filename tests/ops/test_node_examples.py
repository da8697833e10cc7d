"""The samples of docs/examples for Node, run as their readers would; they need no npm package."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from droveway.contracts.config import Config
from tests.support import examples
from tests.support.examples import EXAMPLES, Ran
from tests.support.flows import only_first, route
from tests.support.nats import NatsServer
from tests.support.stack import Stack, running_stack

pytestmark = [pytest.mark.ops, pytest.mark.asyncio(loop_scope="module")]

SAID = {
    "node_chat.mjs": r"^\w+ \w+ [^\n]+\ntokens: \d+ in, \d+ out$",
    "node_client.mjs": r"^\w+ \w+ ",
    "node_stream.mjs": r"^\w+ \w+ ",
}
"""What each prints, which shows that it did its job."""
EACH = pytest.mark.parametrize("name", SAID)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    def configured(config: Config) -> Config:
        return only_first(config, route("sim-small", ("upstream-1", "")))

    folder = tmp_path_factory.mktemp("node")
    async with running_stack(nats, folder, configure=configured) as world:
        yield world


async def run(node: Path, stack: Stack, name: str, **variables: str) -> Ran:
    given = {"DROVEWAY_URL": stack.url, "DROVEWAY_KEY": stack.key, **variables}
    return await examples.run(node, name, given)


@pytest.mark.parametrize(("name", "said"), SAID.items(), ids=SAID)
async def test_a_sample_does_its_job(node: Path, stack: Stack, name: str, said: str) -> None:
    ran = await run(node, stack, name)
    assert (ran.status, ran.errors) == (0, ""), ran
    assert re.search(said, ran.out), ran.out


async def test_a_passing_error_is_tried_again(node: Path, stack: Stack) -> None:
    before = len(stack.simulator.book.entries)
    ran = await run(node, stack, "node_client.mjs", DROVEWAY_MODEL="fault-503=0+times-1")
    assert ran.status == 0, ran
    entries = list(stack.simulator.book.entries)[before:]
    assert [entry.status for entry in entries] == [503, 200]


async def test_a_stream_that_breaks_is_not_taken_for_a_whole_one(node: Path, stack: Stack) -> None:
    ran = await run(node, stack, "node_stream.mjs", DROVEWAY_MODEL="fault-cut-after-3")
    assert ran.status == 1, ran
    assert "the answer is incomplete" in ran.errors
    assert ran.out


@EACH
async def test_a_refusal_is_shown_in_its_own_words(node: Path, stack: Stack, name: str) -> None:
    ran = await run(node, stack, name, DROVEWAY_MODEL="missing-model")
    assert ran.status == 1
    assert "missing-model" in ran.errors


@EACH
async def test_a_wrong_key_is_told(node: Path, stack: Stack, name: str) -> None:
    ran = await run(node, stack, name, DROVEWAY_KEY="sk-unknown")
    assert (ran.status, "401" in ran.errors) == (1, True), ran


async def test_every_sample_for_node_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.mjs")} == set(SAID)
