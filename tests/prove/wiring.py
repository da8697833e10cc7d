"""How a plant is made up, and what its processes are told: configuration and environment."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from droveway.contracts.config import Config, Credential
from tests.prove.child import Limits
from tests.support.nats import NatsServer, droveway_config, write_droveway_config

PROVIDER_KEY = "sk-provider-canary-7f3a"
_NO_LIMIT = 1_000_000_000
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True)
class Shape:
    """How many processes of what, and what they are told.

    Args:
        interval_ms: From token to token at the providers.
        environment: For all services; of `DROVEWAY_*`.
        own: The same for one process: by `limiter-1`.
        links: The URL of NATS by service, where it isn't the server's: of a proxy.
        rlimits: Resource limits by service.
        configure: May change the configuration before it's written.
    """

    gateways: int = 1
    routers: int = 1
    limiters: int = 1
    callers: int = 1
    metrics: int = 1
    simulators: int = 1
    interval_ms: float = 10.0
    environment: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    rlimits: Mapping[str, Limits] = field(default_factory=dict)
    configure: Callable[[Config], Config] = lambda config: config

    def count(self, service: str) -> int:
        """How many processes of a service."""
        plural = service if service == "metrics" else f"{service}s"
        return int(getattr(self, plural))


def configuration(folder: Path, simulators: list[int], key: str, shape: Shape) -> Path:
    """Writes the file that all services read, and the provider's key."""
    secret = folder / "provider.key"
    secret.write_text(PROVIDER_KEY)
    urls = [f"http://127.0.0.1:{port}/v1" for port in simulators]
    config = droveway_config(*urls, key=key, requests=_NO_LIMIT)
    credential = Credential(api_key=f"file:{secret}")
    providers = tuple(
        msgspec.structs.replace(
            one, credentials=(credential,), max_in_flight=5_000, max_keepalive=128
        )
        for one in config.providers
    )
    config = msgspec.structs.replace(config, providers=providers)
    return write_droveway_config(folder / "droveway.yaml", shape.configure(config))


def environment(
    nats: NatsServer, config: Path, service: str, port: int, shape: Shape
) -> dict[str, str]:
    """All of a process's environment."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    if service == "simulator":
        return kept | {
            "DROVEWAY_SIMULATOR_PORT": str(port),
            "DROVEWAY_SIMULATOR_FIRST_TOKEN_MS": str(shape.interval_ms),
            "DROVEWAY_SIMULATOR_TOKEN_INTERVAL_MS": str(shape.interval_ms),
            "DROVEWAY_SIMULATOR_BOOK_ENTRIES": "100000",
            "DROVEWAY_SIMULATOR_MAX_OPEN_REQUESTS": "10000",
            "DROVEWAY_SIMULATOR_DRAIN_S": "0",
        }
    link = shape.links.get(service)
    return {
        **kept,
        **nats.environment(service),
        **({f"DROVEWAY_{service.upper()}_NATS_URL": link} if link else {}),
        "DROVEWAY_CONFIG": str(config),
        "DROVEWAY_GATEWAY_PORT": str(port),
        "DROVEWAY_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS": "0",
        "DROVEWAY_LOG_FORMAT": "json",
        "DROVEWAY_DRAIN_S": "5",
        "DROVEWAY_METRICS_MISSING_ROW_S": "2",
        "DROVEWAY_METRICS_DATABASE": f"sqlite:///{config.with_name(f'ledger-{port}.db')}",
        **shape.environment,
    }
