"""The runtime is tested on uvloop, as it runs, over a real nats-server with generated users."""

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
    """A server of the test's own, to be stopped and killed; without streams."""
    with serving(tmp_path / "nats", set_up=False) as server:
        yield server
