"""What `droveway up` will run: ports, files and the environment of each service."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from droveway.cli import local_model, ports
from droveway.cli.config import own_file, to_yaml
from droveway.cli.data_folder import DataFolder, write_private
from droveway.cli.environment import SIMULATOR, SIMULATOR_KEY, configuration, credential_variables
from droveway.cli.nats_users import (
    ensure_key_user,
    key_users,
    missing_seeds,
    nkey_variable,
    public_key,
)
from droveway.cli.processes import SERVICES
from droveway.contracts.config import Config, Provider
from droveway.contracts.permissions import USERS
from droveway.runtime.api_key import hash_key, parse_key
from droveway.runtime.config.file import load
from droveway.runtime.errors import SettingsError
from droveway.runtime.settings import read

GATEWAY_PORT = 8080
SIMULATOR_PORT = 8090
ADMIN_PORTS = {"gateway": 9464, "router": 9465, "limiter": 9466, "caller": 9467, "metrics": 9468}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_HEADER = """Made by `droveway up` from the environment at each start: changes here are lost.
To keep your own, copy it to ./droveway.yaml, or name it with --config."""


class Options(NamedTuple):
    """What the command line says."""

    data: Path
    port: int | None = None
    config: Path | None = None
    nats_url: str = ""
    one_process: bool = False
    demo: bool = False
    local_model: bool = False


class Plan(NamedTuple):
    """All that is decided before the first process starts."""

    folder: DataFolder
    gateway_port: int
    config_path: Path
    generated: bool
    config: Config
    key: str
    """The first key when the configuration knows it, else empty."""
    key_users: dict[str, str]
    """Public keys of client keys' NATS users by key id."""
    services: tuple[str, ...]
    nats_url: str
    embedded: bool
    """Whether nats-server is one of our children."""
    local_model: bool
    """Whether the server of the local model is one of our children."""
    environment: dict[str, str]
    """Common to all services; each finds its own by name."""
    notes: tuple[str, ...]

    def environment_of(self, service: str) -> dict[str, str]:
        """The environment of one service: only the caller sees provider keys."""
        if service == "caller":
            return self.environment
        hidden = credential_variables(self.environment, self.config)
        return {name: text for name, text in self.environment.items() if name not in hidden}

    def key_seed(self) -> Path | None:
        """The seed of the first key's NATS user; None when the server doesn't know that user."""
        if not self.key or not self.embedded:
            return None
        key_id = parse_key(self.key).id
        seed = self.folder.key_seed_file(key_id)
        known = seed.exists() and self.key_users.get(key_id) == public_key(seed)
        return seed if known else None

    def admin_port(self, service: str) -> int:
        """Where the probes of a service are."""
        return int(self.environment[f"DROVEWAY_{service.upper()}_ADMIN_PORT"])

    def model(self) -> str:
        """A model to try: one that is listed, else one that everybody has."""
        listed = [model for provider in self.config.providers for model in provider.models]
        return self.environment.get("DROVEWAY_DEMO_MODEL") or (listed or ["gpt-4o-mini"])[0]


def make(options: Options, environment: Mapping[str, str]) -> Plan:
    """Decides ports, writes the configuration if nobody wrote one, and checks it.

    Raises:
        SettingsError: What is wrong and what would be right.
    """
    folder = DataFolder(options.data)
    key = folder.first_key()
    notes: list[str] = []
    gateway_port = _gateway_port(options, environment, notes)
    path = options.config or own_file()
    generated = path is None
    if path is None:
        path = folder.config
        user = ensure_key_user(folder, parse_key(key).id)
        local = _local_provider(environment) if options.local_model else None
        chosen = configuration(environment, key, _simulator_port(environment), user, local)
        write_private(path, to_yaml(chosen, _HEADER))
    config = load(str(path))
    simulator_port = _port_here(config, SIMULATOR)
    local_port = _local_port(config, path) if options.local_model else None
    services = SERVICES if simulator_port is None else (SIMULATOR, *SERVICES)
    external = options.nats_url or environment.get("DROVEWAY_NATS_URL", "")
    nats_url = external or _embedded_url(folder)
    if external and (missing := missing_seeds(folder, environment)):
        raise SettingsError(
            f"{external}: no NKey seeds of {', '.join(missing)} in {folder.nats}; "
            f"make them by `droveway nats users --data {options.data}` and give the server what "
            f"`droveway nats config --data {options.data}` prints"
        )
    known = any(entry.sha256 == hash_key(key) for entry in config.keys)
    return Plan(
        folder=folder,
        gateway_port=gateway_port,
        config_path=path.absolute(),
        generated=generated,
        config=config,
        key=key if known else "",
        key_users=_key_users(folder, config, parse_key(key).id if known else ""),
        services=services,
        nats_url=nats_url,
        embedded=not external,
        local_model=local_port is not None,
        environment=dict(environment)
        | _told(folder, gateway_port, path, nats_url, simulator_port, environment)
        | ({} if local_port is None else {local_model.PORT_VARIABLE: str(local_port)}),
        notes=tuple(notes),
    )


def _key_users(folder: DataFolder, config: Config, first_id: str) -> dict[str, str]:
    """Those of the configuration; the first key has one even if its file doesn't name it."""
    users = key_users(config.keys)
    if first_id and first_id not in users:
        users[first_id] = ensure_key_user(folder, first_id)
    return users


def _told(
    folder: DataFolder,
    gateway_port: int,
    config: Path,
    nats_url: str,
    simulator_port: int | None,
    environment: Mapping[str, str],
) -> dict[str, str]:
    """What the services are told, by the variables that they read anyway."""
    told = {
        "DROVEWAY_NATS_URL": nats_url,
        "DROVEWAY_CONFIG": str(config.absolute()),
        "DROVEWAY_GATEWAY_PORT": str(gateway_port),
    }
    if simulator_port is not None:
        told["DROVEWAY_SIMULATOR_PORT"] = str(simulator_port)
        told[SIMULATOR_KEY] = environment.get(SIMULATOR_KEY) or "simulated"
    defaults = {
        "OTEL_TRACES_SAMPLER_ARG": "1.0",
        "DROVEWAY_LOG_LEVEL": "warning",
        "DROVEWAY_METRICS_DATABASE": f"sqlite:///{folder.ledger}",
    }
    for user in USERS:
        defaults[nkey_variable(user.name)] = str(folder.seed_file(user.name))
    for service, port in ADMIN_PORTS.items():
        name = f"DROVEWAY_{service.upper()}_ADMIN_PORT"
        if name not in environment:
            defaults[name] = str(ports.free(port))
    return {name: text for name, text in defaults.items() if name not in environment} | told


def _gateway_port(options: Options, environment: Mapping[str, str], notes: list[str]) -> int:
    host = environment.get("DROVEWAY_GATEWAY_HOST", "127.0.0.1")
    told = environment.get("DROVEWAY_GATEWAY_PORT", "")
    explicit = options.port if options.port is not None else _port(told)
    if explicit is not None:
        if explicit and not ports.is_free(explicit, host):
            raise SettingsError(f"port {explicit} on {host} is taken; choose another with --port")
        return explicit or ports.free(0, host)
    port = ports.next_free(GATEWAY_PORT, host)
    if port != GATEWAY_PORT:
        notes.append(f"port {GATEWAY_PORT} is taken: the gateway listens on {port}")
    return port


def _port(text: str) -> int | None:
    if text and not (text.isdecimal() and int(text) < 65_536):
        raise SettingsError(f"DROVEWAY_GATEWAY_PORT={text!r}: expected a port, 0 to 65535")
    return int(text) if text else None


def _simulator_port(environment: Mapping[str, str]) -> int:
    told = environment.get("DROVEWAY_SIMULATOR_PORT", "")
    if told == "0":
        return ports.free()
    return int(told) if told.isdecimal() else ports.free(SIMULATOR_PORT)


def _port_here(config: Config, provider_id: str) -> int | None:
    """The port of a provider that the configuration expects on this machine."""
    for provider in config.providers:
        address = urlsplit(provider.base_url)
        if provider.id == provider_id and address.hostname in _LOOPBACK:
            return address.port
    return None


def _local_provider(environment: Mapping[str, str]) -> Provider:
    own = read(local_model.LocalModelSettings, "local_model", environment)
    return local_model.provider(msgspec.structs.replace(own, port=ports.free(own.port)))


def _local_port(config: Config, path: Path) -> int:
    port = _port_here(config, local_model.LOCAL)
    if port is None:
        example = local_model.provider(local_model.LocalModelSettings())
        raise SettingsError(
            f"--local-model: {path} has no provider `{example.id}` "
            f"with base_url {example.base_url}; add it, with a route to it"
        )
    return port


def _embedded_url(folder: DataFolder) -> str:
    """The embedded server's address: the last one again when it is free."""
    last = folder.server_address()
    wanted = urlsplit(last.url).port if last else None
    return f"nats://127.0.0.1:{ports.free(wanted or 0)}"


def environment_with_file(file: Mapping[str, str]) -> dict[str, str]:
    """The variables of `.env` in their order, then this process's; the process's values win."""
    return {**file, **os.environ}
