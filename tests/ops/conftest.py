"""Upstreams that others wrote, live; `make test-ops` installs them."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop
import yaml

from tests.support.local_model import serving_model
from tests.support.nats import nats
from tests.support.programs import Program, serving

__all__ = ["nats"]

MOCKS = Path(__file__).parents[2] / ".cache/mocks"
HERE = Path(__file__).parent


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], Any]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def aimock(node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A mock in TypeScript, with usage, reasoning and a journal of what it was sent."""
    folder = tmp_path_factory.mktemp("aimock")
    (folder / "fixtures.json").write_text(json.dumps(_read("aimock.yaml")))
    script = _installed(MOCKS / "node_modules/@copilotkit/aimock/dist/cli.js")
    options = ["--port", "0", "--fixtures", "fixtures.json", "--strict"]
    command: list[str | Path] = [node, script, *options]
    with serving(command, folder) as program:
        yield program


@pytest.fixture(scope="session")
def node() -> Path:
    """Node.js of its own: whether the machine has one makes no difference."""
    return _installed(MOCKS / "bin/node")


@pytest.fixture(scope="session")
def fakellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A mock in Python that knows little of its models: no usage in OpenAI's streams."""
    program = _installed(MOCKS / "bin/fakellm")
    command: list[str | Path] = [program, "serve", "--port", "0", "--config", HERE / "fakellm.yaml"]
    with serving(command, tmp_path_factory.mktemp("fakellm")) as running:
        yield running


@pytest.fixture(scope="session")
def local_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """llama.cpp with a real model."""
    with serving_model(tmp_path_factory.mktemp("local-model")) as program:
        yield program


def _read(name: str) -> Any:
    return yaml.safe_load((HERE / name).read_text())


def _installed(path: Path) -> Path:
    assert path.exists(), f"{path} isn't installed: make test-ops installs it"
    return path
