"""The samples of docs/examples for HTTP libraries, run as their readers would.

Those for the SDKs are run in the SDKs' own environments (tests/sdks), those for Node by tests/ops.
"""

import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from droveway.contracts.config import Config
from tests.support import examples
from tests.support.examples import EXAMPLES, Ran
from tests.support.flows import only_first, route
from tests.support.nats import NatsServer
from tests.support.stack import Stack, running_stack

NOWHERE = "http://127.0.0.1:9"
SAID = {
    "aiohttp_chat.py": r"(?m)^What is a subject\? \w+ \w+",
    "aiohttp_stream.py": r"^\w+ \w+ ",
    "httpx_stream.py": r"first token \d+ ms, all \d+ ms, 32 tokens$",
    "requests_check_key.py": r"^the key works for sim-",
    "requests_failover.py": r"^200 \w+ ",
    "requests_parallel.py": r"^50 x 200$",
    "requests_probe.py": r"(?m)^sim-large: p50 \d+ ms, p95 \d+ ms, \d+ tokens, errors \{\}$",
    "requests_retries.py": r"tries: 1$",
    "requests_stream.py": r"^\w+ \w+ ",
}
"""What each prints, which shows that it did its job."""


async def run(stack: Stack, name: str, **variables: str) -> Ran:
    """Runs a sample with the stack's address and key."""
    given = {
        "DROVEWAY_URL": stack.url,
        "DROVEWAY_KEY": stack.key,
        "DROVEWAY_BACKUP_URL": stack.url,
        "DROVEWAY_BACKUP_KEY": stack.key,
        **variables,
    }
    return await examples.run(sys.executable, name, given)


def configured(config: Config) -> Config:
    """The simulator's models in the list, and a model that fails once."""
    return only_first(
        config, route("sim-small", ("upstream-1", "")), route("sim-large", ("upstream-1", ""))
    )


@pytest.fixture
async def stack(nats: NatsServer, tmp_path: Path) -> AsyncIterator[Stack]:
    async with running_stack(nats, tmp_path, configure=configured) as stack:
        yield stack


@pytest.mark.parametrize(("name", "said"), SAID.items(), ids=SAID)
async def test_a_sample_does_its_job(stack: Stack, name: str, said: str) -> None:
    ran = await run(stack, name)
    assert (ran.status, ran.errors) == (0, ""), ran
    assert re.search(said, ran.out), ran.out


async def test_a_wrong_key_is_told_with_advice(stack: Stack) -> None:
    ran = await run(stack, "requests_check_key.py", DROVEWAY_KEY="sk-unknown")
    assert ran.status == 1
    assert ran.out.startswith("401 invalid_api_key - the key is wrong")


async def test_a_passing_error_is_tried_again(stack: Stack) -> None:
    ran = await run(stack, "requests_retries.py", DROVEWAY_MODEL="fault-503=0+times-1")
    assert ran.status == 0, ran
    entries = stack.simulator.book.entries
    assert [entry.status for entry in entries] == [503, 200]


async def test_the_second_address_answers_when_the_first_is_down(stack: Stack) -> None:
    ran = await run(stack, "requests_failover.py", DROVEWAY_URL=NOWHERE)
    assert (ran.status, ran.out[:4]) == (0, "200 "), ran


@pytest.mark.parametrize("name", ["requests_stream.py", "httpx_stream.py", "aiohttp_stream.py"])
async def test_a_stream_that_breaks_is_not_taken_for_a_whole_one(stack: Stack, name: str) -> None:
    ran = await run(stack, name, DROVEWAY_MODEL="fault-cut-after-3")
    assert ran.status == 1, ran
    assert "the answer is incomplete" in ran.errors


async def test_a_refusal_is_shown_in_its_own_words(stack: Stack) -> None:
    ran = await run(stack, "aiohttp_chat.py", DROVEWAY_MODEL="missing-model")
    assert "404 model_not_found" in ran.out + ran.errors


def test_every_sample_is_run_somewhere() -> None:
    samples = {path.name for path in EXAMPLES.glob("*.py")}
    by_sdks = {name for name in samples if name.startswith(("openai_", "anthropic_"))}
    assert samples - by_sdks == set(SAID)
