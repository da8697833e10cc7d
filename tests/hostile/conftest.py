from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.hostile.world import World, running_world
from tests.support.nats import NatsServer, nats

__all__ = ["nats", "world"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One running gateway for all tests of a module."""
    folder: Path = tmp_path_factory.mktemp("world")
    async with running_world(nats, folder) as running:
        yield running
