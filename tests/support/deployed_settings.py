"""Which variables each container reads, to hold deployment files against the code."""

from collections.abc import Mapping

import msgspec

from droveway.caller.settings import CallerSettings
from droveway.cli.setup import SetupSettings
from droveway.gateway.settings import GatewaySettings
from droveway.limiter.settings import LimiterSettings
from droveway.metrics.settings import MetricsSettings
from droveway.router.settings import RouterSettings
from droveway.runtime import settings
from droveway.runtime.settings import SHARED, ServiceSettings
from droveway.simulator.settings import Settings as SimulatorSettings

SERVICES: Mapping[str, type[ServiceSettings]] = {
    "gateway": GatewaySettings,
    "router": RouterSettings,
    "limiter": LimiterSettings,
    "caller": CallerSettings,
    "metrics": MetricsSettings,
}
_OTHERS: Mapping[str, type[msgspec.Struct]] = {
    "setup": SetupSettings,
    "simulator": SimulatorSettings,
}
_TOOLS = frozenset({"DROVEWAY_NATS_URL", "DROVEWAY_OPERATOR_NATS_NKEY_FILE"})


def unknown_variables(component: str, environment: Mapping[str, object]) -> set[str]:
    """`DROVEWAY_*` variables that nothing in this container reads."""
    return {name for name in environment if name.startswith("DROVEWAY_")} - _known(component)


def read(service: str, environment: Mapping[str, object]) -> ServiceSettings:
    """The settings that a service would start with.

    Raises:
        SettingsError: It wouldn't start.
    """
    texts = {name: str(value) for name, value in environment.items()}
    return settings.read(SERVICES[service], service, texts)


def _known(component: str) -> set[str]:
    if component in SERVICES:
        fields = SERVICES[component].__struct_fields__
        own = {f"DROVEWAY_{component.upper()}_{field.upper()}" for field in fields}
        return own | {f"DROVEWAY_{field.upper()}" for field in SHARED}
    if component not in _OTHERS:
        return set(_TOOLS)
    prefix = f"DROVEWAY_{component.upper()}"
    own = {f"{prefix}_{field.upper()}" for field in _OTHERS[component].__struct_fields__}
    return own | {"DROVEWAY_NATS_URL", f"{prefix}_NATS_NKEY_FILE"}
