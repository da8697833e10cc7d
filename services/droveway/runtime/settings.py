"""Settings: one frozen struct per service, read once from `DROVEWAY_<SERVICE>_<FIELD>`."""

import os
from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec

from droveway.runtime.errors import SettingsError

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]

S = TypeVar("S", bound=msgspec.Struct)

DEFAULT_NATS_URL = "nats://127.0.0.1:4222"


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service is told; a service's own settings extend it."""

    nats_url: str = DEFAULT_NATS_URL
    """Comma-separated server addresses; any but the default goes before those of the context."""
    nats_context: str = ""
    """Name or path of a context of the `nats` command line; what is set here goes before it."""
    nats_nkey_file: str = ""
    """File with the service's NKey seed; empty: no authentication (never in production)."""
    nats_creds_file: str = ""
    """`.creds` file with the service's JWT and seed, for a server in operator mode; in place of
    the NKey."""
    nats_ca_file: str = ""
    """PEM certificates of who may sign the server's; empty: the system's."""
    nats_cert_file: str = ""
    """PEM certificate that the service shows the server."""
    nats_key_file: str = ""
    """The certificate's key."""
    config: str = "droveway.yaml"
    """The configuration file. Also read from `DROVEWAY_CONFIG`."""
    config_within_s: Seconds = 5.0
    """How long the start waits for the configuration that operators have applied; then the file
    holds until the bucket `config` answers."""
    discovery_answers_per_s: Count = 100
    """Answers to operators who ask which services run; beyond it questions are dropped."""
    events_per_s: Count = 100
    """Events of one kind that are told on the bus; further ones are counted only."""
    admin_host: str = "127.0.0.1"
    """Where `/metrics`, `/livez` and `/readyz` listen; `0.0.0.0` in a container."""
    admin_port: Port = 0
    """0: any free port, told in the log."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: str = "auto"
    """`json`, `text`, or `auto`: text on a terminal."""


class DrainingSettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of a service whose work outlives a message: it drains before it ends."""

    drain_s: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    """After SIGTERM: how long running work may take before it is cut."""


class WorkerSettings(DrainingSettings, frozen=True, kw_only=True):
    """Settings of a service that handles messages one coroutine each."""

    max_in_flight: Count = 2_000
    """Messages handled at once; beyond it they are refused as overloaded."""


SHARED = (
    *("nats_url", "nats_context", "nats_ca_file", "nats_cert_file", "nats_key_file"),
    *("config", "admin_host", "drain_s", "log_level", "log_format"),
)
"""Fields that `DROVEWAY_<FIELD>` sets for all services at once."""


def read(kind: type[S], service: str, environment: Mapping[str, str] | None = None) -> S:
    """Builds the settings of `service` from the environment.

    Raises:
        SettingsError: A value has the wrong type or range; names the variable.
    """
    env = os.environ if environment is None else environment
    values: dict[str, str] = {}
    names: dict[str, str] = {}
    for field in kind.__struct_fields__:
        own = f"DROVEWAY_{service.upper()}_{field.upper()}"
        shared = f"DROVEWAY_{field.upper()}"
        name = own if own in env or field not in SHARED else shared
        if name in env:
            values[field] = env[name]
            names[field] = name
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        field = path.strip("`$.")
        raise SettingsError(
            f"{names.get(field, field)}={values.get(field, '')!r}: {reason}"
        ) from None
