"""`droveway config check`, and the configuration as YAML."""

import os
import re
from pathlib import Path

import msgspec
import yaml

from droveway.cli import terminal
from droveway.contracts.config import Config
from droveway.contracts.configuration import version_of
from droveway.runtime.config.file import load

_REFERENCE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}")
DEFAULT_FILE = "droveway.yaml"


def check(path: str) -> None:
    """Says what the file configures, and which of its references lead nowhere on this machine.

    Raises:
        SettingsError: Every finding, one per line.
    """
    config = load(path)
    console = terminal.console()
    console.print(
        f"{path}: good; {len(config.providers)} providers, {len(config.routes)} routes, "
        f"{len(config.keys)} keys; version {version_of(config)}"
    )
    for finding in unresolved(config):
        console.print(f"note: {finding}")
    if not config.keys:
        console.print("note: no keys: every client is refused; `droveway keys new` makes one")


def own_file() -> Path | None:
    """The configuration that somebody wrote: named by the environment, or lying here."""
    if named := os.environ.get("DROVEWAY_CONFIG"):
        return Path(named)
    here = Path(DEFAULT_FILE)
    return here if here.is_file() else None


def unresolved(config: Config) -> list[str]:
    """References that the environment or the file system of this process doesn't have."""
    found = []
    for provider in config.providers:
        references = [*(one.api_key for one in provider.credentials), provider.proxy]
        if provider.ca_file:
            references.append(f"file:{provider.ca_file}")
        found += [f"provider {provider.id}: {why}" for why in map(_nowhere, references) if why]
    return found


def _nowhere(reference: str) -> str:
    """Why a reference leads nowhere here; empty if it doesn't, or is none."""
    match = _REFERENCE.fullmatch(reference)
    if match and not os.environ.get(match["name"]):
        return f"{match['name']} isn't set here"
    if reference.startswith("file:") and not Path(reference[5:]).is_file():
        return f"{reference[5:]} isn't there"
    return ""


def to_yaml(config: Config, header: str = "") -> str:
    """The configuration as a person would write it: without what is the default anyway."""
    body = yaml.safe_dump(compact(config), sort_keys=False, allow_unicode=True)
    comment = "".join(f"# {line}\n" for line in header.splitlines())
    return f"{comment}{body}"


def compact(value: object) -> object:
    """A struct as mappings and lists, without the fields that have their default."""
    if isinstance(value, msgspec.Struct):
        return {
            field.name: compact(own)
            for field in msgspec.structs.fields(value)
            if (own := getattr(value, field.name)) != _default(field)
        }
    if isinstance(value, tuple):
        return [compact(one) for one in value]
    if isinstance(value, dict):
        return {name: compact(one) for name, one in value.items()}
    return value


def _default(field: msgspec.structs.FieldInfo) -> object:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default
