"""The gateway's application behind its own HTTP server, without the services behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import msgspec
from prometheus_client import CollectorRegistry

from droveway.contracts.config import Config, Cors, Provider, Route, RouteTarget, Tier
from droveway.gateway.adapters import Adapters
from droveway.gateway.admin.admins import Admins
from droveway.gateway.app import Gateway
from droveway.gateway.auth import Authenticator
from droveway.gateway.doors.count_tokens import CountTokens
from droveway.gateway.doors.http import HttpDoor
from droveway.gateway.doors.inference import Inference
from droveway.gateway.doors.stored import StoredDoor
from droveway.gateway.doors.usage import UsageDoor
from droveway.gateway.exposition import ClientMetrics
from droveway.gateway.http_limits import HttpLimits
from droveway.gateway.journal import Ledgers
from droveway.gateway.prompt_prefix import PromptPrefixes
from droveway.gateway.responses import ResponsesAdapter
from droveway.gateway.server import serving
from droveway.gateway.settings import GatewaySettings
from droveway.gateway.stored_responses import StoredResponses
from droveway.gateway.trusted_proxies import TrustedProxies
from droveway.otel.setup import TelemetrySettings, install
from droveway.runtime.addresses import Networks
from droveway.runtime.relay import RelayHub
from droveway.runtime.spool import Spool
from tests.support.nats import NatsServer, droveway_config


def route(model: str) -> Route:
    """A route to the one provider."""
    return Route(model=model, tiers=(Tier(targets=(RouteTarget(provider="upstream-1"),)),))


def config_of(
    key: str, *models: str, listed: tuple[str, ...] = (), origins: tuple[str, ...] = ()
) -> Config:
    """A configuration with these routes; `listed` are the provider's models."""
    config = droveway_config("http://127.0.0.1:9/v1", key=key)
    provider: Provider = msgspec.structs.replace(config.providers[0], models=listed)
    return msgspec.structs.replace(
        config,
        providers=(provider,),
        routes=tuple(route(model) for model in models or ("*",)),
        cors=Cors(origins=origins, max_age_s=77),
    )


@asynccontextmanager
async def gateway_client(nats: NatsServer, config: Config) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key of a gateway that has no routers."""
    async with nats.bus("gateway") as bus, AsyncExitStack() as stack:
        registry = CollectorRegistry()
        ledgers = Ledgers(
            telemetry=install("gateway", bus.instance, TelemetrySettings()),
            spool=Spool(bus, 10),
            metrics=ClientMetrics(registry, 10),
            instance=bus.instance,
        )
        gateway = Gateway(Authenticator(failed_logins_per_s=100), ledgers)
        admins = Admins(100, TrustedProxies())
        scrapers = Networks(("127.0.0.1",))
        gateway.usage = UsageDoor(bus, gateway.auth, admins, registry, scrapers)
        gateway.auth.configure(config)
        gateway.configure(config)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        stored = StoredResponses(bus, 512 * 1024)
        gateway.stored = StoredDoor(stored)
        adapters = Adapters(ResponsesAdapter(stored, keeps=True))
        inference = Inference(
            bus, RelayHub(bus), ledgers.spool, GatewaySettings(), gateway.allows, adapters,
            PromptPrefixes(),
        )  # fmt: skip
        door = HttpDoor(inference, tasks, first_comment_s=10)
        gateway.serve_inference(door, CountTokens(inference, door, gateway))
        limits = HttpLimits(drain_s=1.0)
        server = await stack.enter_async_context(serving(gateway, limits, "127.0.0.1", 0))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
            yield client
