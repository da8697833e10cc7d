"""The client against whole stacks and against gateways that misbehave, on uvloop."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.support.nats import NatsServer, nats, serving

__all__ = ["nats"]


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], Any]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A broker of the test's own: free to be killed."""
    with serving(tmp_path / "nats") as server:
        yield server
