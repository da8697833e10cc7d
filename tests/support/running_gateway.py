"""The gateway as it is wired, over a real broker, without the services behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from droveway.contracts.config import Config
from droveway.gateway import service
from droveway.gateway.settings import GatewaySettings
from droveway.runtime.settings import read
from tests.support.nats import NatsServer, write_droveway_config

READY_WITHIN_S = 10


class RunningGateway:
    """A gateway and its configuration file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, key: str = "") -> httpx.AsyncClient:
        """An HTTP client with that key."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=10)


@asynccontextmanager
async def running_gateway(
    nats: NatsServer, folder: Path, config: Config, **settings: str
) -> AsyncIterator[RunningGateway]:
    """Runs one; `settings` are those of the gateway, by their names in lower case."""
    running = RunningGateway(write_droveway_config(folder / "droveway.yaml", config))
    ready, stop = asyncio.Event(), asyncio.Event()

    def on_ready(_name: str, port: int) -> None:
        running.port = port
        ready.set()

    variables = {
        **nats.environment("gateway"),
        "DROVEWAY_CONFIG": str(running.path),
        "DROVEWAY_GATEWAY_PORT": "0",
        "DROVEWAY_DRAIN_S": "1",
        **{f"DROVEWAY_GATEWAY_{name.upper()}": value for name, value in settings.items()},
    }
    own = read(GatewaySettings, "gateway", variables)
    task = asyncio.create_task(service.run(own, stop, on_ready))
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        if task.done():
            task.result()
        yield running
    finally:
        stop.set()
        await task
