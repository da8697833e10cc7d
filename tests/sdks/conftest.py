"""One Droveway for all tests of an SDK, as a program of its own: an SDK's environment has none."""

import importlib.util
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sdks.server import Book, Droveway

if TYPE_CHECKING:
    from tests.sdks.client import Client

ROOT = Path(__file__).parents[2]
STOP_WITHIN_S = 20

# The main environment collects this folder too, and has no SDK.
collect_ignore_glob = [] if importlib.util.find_spec("openai") else ["test_*.py"]


@pytest.fixture(scope="session")
def server() -> Iterator[Droveway]:
    """The running server, its keys and its provider's address."""
    with subprocess.Popen(
        [os.environ["DROVEWAY_PYTHON"], "-m", "tests.sdks.serve"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told, f"the server didn't start; it ended with status {process.wait()}"
        yield Droveway(**json.loads(told))
        process.stdin.close()
        assert process.wait(STOP_WITHIN_S) == 0


@pytest.fixture
def book(server: Droveway) -> Book:
    """What the provider sees during this test alone."""
    book = Book(server.simulator_url)
    book.clear()
    return book


@pytest.fixture(params=["sync", "async"])
def flavour(request: pytest.FixtureRequest) -> str:
    """Which of the SDK's two clients."""
    return str(request.param)


@pytest.fixture
async def sdk(server: Droveway, flavour: str) -> "AsyncIterator[Client]":
    """The SDK's client with the server's key, without retries."""
    from tests.sdks.client import opened  # needs the SDK

    async with opened(flavour, server) as client:
        yield client
