"""What is measured: the mock itself, and Droveway as `droveway up` runs it."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from droveway.cli import ports
from droveway.cli.config import to_yaml
from droveway.cli.data_folder import DataFolder
from droveway.contracts.access import Key, Limit
from droveway.contracts.config import Config, Credential, Price, Provider, Route, RouteTarget, Tier
from droveway.runtime.api_key import hash_key, make_key, parse_key
from tests.bench import system
from tests.bench.children import Children, RunFailed, read_line

SERVICES = ("gateway", "router", "limiter", "caller", "metrics")
MODELS = ("mock", "mock-c10-p2", "mock-c200-p0", "mock-c200-p10", "mock-c60-p1000")
READY_LIMIT_S = 30.0
_LIMIT = 1_000_000_000
SIX_WINDOWS_S = (1.0, 10.0, 60.0, 600.0, 3_600.0, 86_400.0)
_BODY_BYTES = 4_096


class Target(NamedTuple):
    """Something that answers chat completions."""

    name: str
    port: int
    path: str
    headers: tuple[tuple[str, str], ...]
    services: dict[str, tuple[int, ...]]
    """Processes by service; empty for the mock."""

    def request(self, model: str, *, stream: bool) -> bytes:
        """A whole HTTP request with a body of 4 KB."""
        text = "Tell me about the weather of yesterday, please. "
        content = (text * (_BODY_BYTES // len(text) + 1))[: _BODY_BYTES - 140]
        body = {
            "model": model,
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": content},
            ],
            "stream": stream,
        }
        payload = msgspec.json.encode(body)
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"host: 127.0.0.1:{self.port}",
            "content-type: application/json",
            f"content-length: {len(payload)}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return "\r\n".join((*lines, "\r\n")).encode() + payload

    def pids(self) -> list[int]:
        """All processes."""
        return sorted({pid for pids in self.services.values() for pid in pids})


class Deployed(NamedTuple):
    """A running `droveway up`."""

    target: Target
    data: DataFolder
    nats_url: str
    six_limits_key: str


def direct(port: int) -> Target:
    """The mock provider itself."""
    return Target("direct", port, "/v1/chat/completions", (), {})


def droveway(
    children: Children, folder: Path, upstream: int, sink: int, *, one_process: bool = False
) -> Deployed:
    """Everything on: authentication, limits, ledger, metrics, and 10 % of traces exported.

    Raises:
        RunFailed: It doesn't start.
    """
    data = DataFolder(folder / "data")
    config_path = folder / "droveway.yaml"
    six_limits_key = make_key("bench")
    config_path.write_text(to_yaml(_config(folder, upstream, data.first_key(), six_limits_key)))
    port = ports.free()
    admin = {name: ports.free() for name in SERVICES}
    environment = {
        **{f"DROVEWAY_{name.upper()}_ADMIN_PORT": str(one) for name, one in admin.items()},
        "DROVEWAY_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS": "0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink}",
        "OTEL_TRACES_SAMPLER_ARG": "0.1",
    }
    binary = Path(sys.executable).with_name("droveway")
    arguments: list[str | Path] = [
        binary,
        "up",
        "--data",
        data.path,
        "--config",
        config_path,
        "--port",
        str(port),
    ]
    if one_process:
        arguments.append("--one-process")
    process = children.start(arguments, folder, environment)
    said = ""
    while not said.startswith("ready after"):
        said = read_line(process, READY_LIMIT_S)
    name = "droveway, one process" if one_process else "droveway"
    headers = (("authorization", f"Bearer {data.first_key()}"),)
    services = _services(process.pid, admin, one_process=one_process)
    target = Target(name, port, "/v1/chat/completions", headers, services)
    address = data.server_address()
    assert address is not None
    return Deployed(target, data, address.url, six_limits_key)


def _config(folder: Path, upstream: int, key: str, six_limits_key: str) -> Config:
    secret = folder / "provider.key"
    secret.write_text("sk-bench-provider")
    provider = Provider(
        id="mock",
        base_url=f"http://127.0.0.1:{upstream}/v1",
        credentials=(Credential(api_key=f"file:{secret}"),),
        max_in_flight=2_000,
        max_keepalive=128,
        models=MODELS,
        prices={model: Price(input=1, output=2) for model in MODELS},
    )
    one = (Limit(requests=_LIMIT, window_s=60),)
    six = tuple(Limit(requests=_LIMIT, window_s=window_s) for window_s in SIX_WINDOWS_S)
    return Config(
        providers=(provider,),
        routes=(Route(model="*", tiers=(Tier(targets=(RouteTarget(provider="mock"),)),)),),
        keys=(
            Key(id=parse_key(key).id, sha256=hash_key(key), limits=one),
            Key(id=parse_key(six_limits_key).id, sha256=hash_key(six_limits_key), limits=six),
        ),
    )


def _services(
    supervisor: int, admin: dict[str, int], *, one_process: bool
) -> dict[str, tuple[int, ...]]:
    """Which of `up`'s children is what: by the port that it listens on."""
    pids = system.with_descendants(supervisor)[1:]
    owners = system.listening_ports(pids)
    found: dict[str, tuple[int, ...]] = {}
    with suppress(KeyError):
        if one_process:
            found["services"] = (owners[admin["gateway"]],)
        else:
            found.update({name: (owners[port],) for name, port in admin.items()})
        (found["nats-server"],) = [(pid,) for pid in pids if system.command(pid) == "nats-server"]
        found["supervisor"] = (supervisor,)
        return found
    raise RunFailed(f"`droveway up` is ready, but doesn't listen on {sorted(admin.values())}")
