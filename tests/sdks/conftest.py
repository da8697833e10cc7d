"""One Droveway for all tests of an SDK, as a program of its own: an SDK's environment has none."""

import importlib.util
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sdks import small_model
from tests.sdks.server import DIALECTS, Book, Droveway

ROOT = Path(__file__).parents[2]
STOP_WITHIN_S = 20
SDKS = ("anthropic", "openai")

# An environment has one SDK at most; the main one, which collects this folder too, has none.
collect_ignore = [name for name in SDKS if importlib.util.find_spec(name) is None]


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


@pytest.fixture(params=DIALECTS)
def upstream(request: pytest.FixtureRequest) -> str:
    """The dialect of the provider behind the gateway."""
    return str(request.param)


@pytest.fixture
def asked(server: Droveway) -> dict[str, Any]:
    """A request to the real model."""
    return small_model.asking(server.local_model)
