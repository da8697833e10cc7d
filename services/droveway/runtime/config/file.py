"""The configuration file: read, and checked whole; `live` follows it."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import yaml

from droveway.contracts.config import Config, Provider
from droveway.runtime.access_checks import key_findings, limit_findings, tenant_findings
from droveway.runtime.config.models import kind_findings, model_findings
from droveway.runtime.config.prices import price_findings
from droveway.runtime.config.routes import route_findings
from droveway.runtime.config.ways import REFERENCE, way_findings
from droveway.runtime.config.yaml_text import ConfigLoader
from droveway.runtime.errors import SettingsError

MAX_CONFIG_BYTES = 8 * 1024 * 1024
_ORIGIN = re.compile(
    r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?"
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def load(path: str) -> Config:
    """Reads and checks the file at `path`.

    Raises:
        SettingsError: What is wrong where, and what would be right; all findings, one per line.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise SettingsError(
            f"{path}: {error.strerror}; DROVEWAY_CONFIG names the configuration file"
        ) from None
    if len(text) > MAX_CONFIG_BYTES:
        raise SettingsError(f"{path}: over {MAX_CONFIG_BYTES} bytes")
    return parse(text, path)


def parse(text: bytes, name: str) -> Config:
    """Checks the YAML `text`; `name` stands in messages.

    Raises:
        SettingsError: As `load`.
    """
    try:
        document = yaml.load(text, ConfigLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{name}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise SettingsError(f"{name}: expected a mapping with `providers`, `routes` and `keys`")
    try:
        config = msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{name}: {error}") from None
    check(config, name)
    return config


def check(config: Config, name: str) -> None:
    """Looks for what types can't say; `name` stands in messages.

    Raises:
        SettingsError: As `load`.
    """
    if findings := [*_findings(config)]:
        raise SettingsError("\n".join(f"{name}: {finding}" for finding in findings))


def _findings(config: Config) -> Iterator[str]:
    """What types can't say: doubles, dangling names, unsafe addresses."""
    yield from _doubles("providers", [provider.id for provider in config.providers])
    yield from _doubles("routes", [route.model for route in config.routes], "model")
    yield from _doubles("keys", [key.id for key in config.keys])
    yield from _doubles("keys", [key.sha256 for key in config.keys], "sha256")
    users = [key.nats_user for key in config.keys if key.nats_user]
    yield from _doubles("keys", users, "nats_user")
    yield from _doubles("tenants", [tenant.id for tenant in config.tenants])
    yield from _doubles("admins", [admin.id for admin in config.admins])
    yield from _doubles("admins", [admin.sha256 for admin in config.admins], "sha256")
    for index, provider in enumerate(config.providers):
        yield from _provider_findings(f"providers[{index}]", provider)
    yield from route_findings(config)
    admins = {admin.sha256 for admin in config.admins}
    tenants = {tenant.id for tenant in config.tenants}
    for index, key in enumerate(config.keys):
        yield from (f"keys[{index}].{finding}" for finding in key_findings(key))
        if tenants and key.tenant not in tenants | {"default"}:
            known = ", ".join(sorted(tenants))
            yield f"keys[{index}].tenant: {key.tenant!r} isn't among tenants; known: {known}"
        if key.sha256 in admins:
            yield f"keys[{index}].sha256: an admin's; a client key and an admin's are two keys"
    for index, tenant in enumerate(config.tenants):
        yield from (f"tenants[{index}].{finding}" for finding in tenant_findings(tenant))
    yield from limit_findings("limits", config.limits)
    yield from limit_findings("default_limits", config.default_limits)
    yield from model_findings(config)
    yield from price_findings(config)
    for index, origin in enumerate(config.cors.origins):
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            yield (
                f"cors.origins[{index}]: {origin!r} is no origin; "
                "write https://host without a path, or *"
            )


def _doubles(place: str, values: list[str], field: str = "id") -> Iterator[str]:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield f"{place}[{index}].{field}: {value!r} stands twice; each must be unique"
        seen.add(value)


def _provider_findings(place: str, provider: Provider) -> Iterator[str]:
    try:
        parts = urlsplit(provider.base_url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        yield f"{place}.base_url: {provider.base_url!r} is no address; write https://host/v1"
    elif parts.username or parts.password or parts.query or parts.fragment:
        yield f"{place}.base_url: only scheme, host, port and path; keys go into credentials"
    elif parts.scheme == "http" and host not in _LOOPBACK and not provider.allow_http:
        yield f"{place}.base_url: plain http to {host!r}; use https, or set allow_http: true"
    yield from way_findings(place, provider)
    yield from kind_findings(place, provider)
    yield from _doubles(f"{place}.credentials", [one.id for one in provider.credentials])
    if not provider.credentials:
        yield f"{place}.credentials: empty; leave it out for a provider without keys"
    for index, credential in enumerate(provider.credentials):
        yield from limit_findings(f"{place}.credentials[{index}].limits", credential.limits)
        if credential.api_key and not REFERENCE.fullmatch(credential.api_key):
            yield (
                f"{place}.credentials[{index}].api_key: a secret in clear text; "
                "write ${NAME} (environment of the caller) or file:/path"
            )
