"""All services on one event loop over a real broker, with simulators as providers.

The same messages, permissions and HTTP as in production; only the processes are tasks.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from droveway.caller import service as caller
from droveway.caller.settings import CallerSettings
from droveway.contracts.config import Config, Credential
from droveway.gateway import service as gateway
from droveway.gateway.settings import GatewaySettings
from droveway.limiter import service as limiter
from droveway.limiter.settings import LimiterSettings
from droveway.metrics import service as metrics
from droveway.metrics.settings import MetricsSettings
from droveway.router import service as router
from droveway.router.settings import RouterSettings
from droveway.runtime.api_key import make_key
from droveway.runtime.settings import read
from droveway.simulator.server import Running, running
from tests.support.nats import NatsServer, droveway_config, write_droveway_config
from tests.support.simulator import quick_settings

READY_WITHIN_S = 10
PROVIDER_KEY = "sk-provider-canary-7f3a"
UNSPARED = {"DROVEWAY_CALLER_MAX_COOLDOWN_S": "0"}
"""For tests of single refusals: a 429 or 401 doesn't keep what follows from its provider."""

_SERVICES: dict[str, tuple[Any, Callable[..., Coroutine[Any, Any, None]]]] = {
    "limiter": (LimiterSettings, limiter.run),
    "caller": (CallerSettings, caller.run),
    "router": (RouterSettings, router.run),
    "metrics": (MetricsSettings, metrics.run),
    "gateway": (GatewaySettings, gateway.run),
}


class Service:
    """One running service; `stop` is what SIGTERM would be."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.stop = asyncio.Event()
        self.ready = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def on_ready(self, _name: str, port: int) -> None:
        self.port = port
        self.ready.set()

    async def end(self) -> None:
        """Stops it as an operator would and waits for its end."""
        self.stop.set()
        assert self.task is not None
        await self.task


class Stack:
    """What a test talks to."""

    def __init__(self, key: str, simulators: list[Running], config_path: Path) -> None:
        self.key = key
        self.simulators = simulators
        self.config_path = config_path
        self.services: dict[str, list[Service]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return self.services["gateway"][0].port

    @property
    def simulator(self) -> Running:
        return self.simulators[0]

    def client(self, **options: Any) -> httpx.AsyncClient:
        """An HTTP client with the stack's key."""
        headers = {"authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, **options)


@asynccontextmanager
async def running_stack(
    nats: NatsServer,
    folder: Path,
    *,
    simulators: int = 1,
    replicas: dict[str, int] | None = None,
    configure: Callable[[Config], Config] = lambda config: config,
    environment: dict[str, str] | None = None,
    **simulator_settings: Any,
) -> AsyncIterator[Stack]:
    """Starts simulators and all services; ends them as SIGTERM would.

    Args:
        nats: The broker.
        folder: For the configuration and the provider's key.
        simulators: How many providers; the route `*` tries one after the other.
        replicas: Processes per service where not 1.
        configure: May change the configuration before it's written.
        environment: `DROVEWAY_*` variables in addition.
        simulator_settings: Of `tests.support.simulator.quick_settings`.
    """
    key = make_key("test")
    secret = folder / "provider.key"
    secret.write_text(PROVIDER_KEY)
    async with AsyncExitStack() as stack:
        providers = [
            await stack.enter_async_context(running(quick_settings(**simulator_settings)))
            for _ in range(simulators)
        ]
        config = droveway_config(*(f"{one.url}/v1" for one in providers), key=key)
        credential = Credential(api_key=f"file:{secret}")
        config = msgspec.structs.replace(
            config,
            providers=tuple(
                msgspec.structs.replace(provider, credentials=(credential,))
                for provider in config.providers
            ),
        )
        path = write_droveway_config(folder / "droveway.yaml", configure(config))
        world = Stack(key, providers, path)
        variables = {
            **nats.environment(*_SERVICES),
            "DROVEWAY_CONFIG": str(path),
            "DROVEWAY_METRICS_DATABASE": f"sqlite:///{folder}/ledger.db",
            "DROVEWAY_GATEWAY_PORT": "0",
            "DROVEWAY_DRAIN_S": "5",
            **(environment or {}),
        }
        for name, (kind, run) in _SERVICES.items():
            for _ in range((replicas or {}).get(name, 1)):
                service = Service(name)
                service.task = asyncio.ensure_future(
                    run(read(kind, name, variables), service.stop, service.on_ready)
                )
                stack.push_async_callback(service.end)
                world.services.setdefault(name, []).append(service)
        for service in [each for group in world.services.values() for each in group]:
            await _until_ready(service)
        yield world


async def _until_ready(service: Service) -> None:
    assert service.task is not None
    waiting = asyncio.ensure_future(service.ready.wait())
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            await asyncio.wait({waiting, service.task}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if service.task.done():
        service.task.result()
