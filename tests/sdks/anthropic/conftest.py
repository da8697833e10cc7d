"""anthropic-python as a client."""

from collections.abc import AsyncIterator

import pytest

from tests.sdks.anthropic.client import Client, opened
from tests.sdks.server import Droveway


@pytest.fixture
async def sdk(server: Droveway, flavour: str, upstream: str) -> AsyncIterator[Client]:
    """The SDK's client with the server's key, without retries."""
    async with opened(flavour, server, upstream) as client:
        yield client
