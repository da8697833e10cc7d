"""`droveway keys new`: a client key, and what the configuration keeps of it."""

import sys

import msgspec
import yaml

from droveway.cli.config import compact
from droveway.contracts.config import Key
from droveway.runtime.api_key import KeyFormatError, hash_key, make_key, parse_key
from droveway.runtime.errors import SettingsError


def new(environment: str, tenant: str, requests: int, window_s: float) -> None:
    """Prints a new key, which is stored nowhere, and the entry for the configuration's `keys`.

    Raises:
        SettingsError: The environment, the tenant or the limit has a form that isn't allowed.
    """
    try:
        key = make_key(environment)
        entry = msgspec.convert(
            {
                "id": parse_key(key).id,
                "sha256": hash_key(key),
                "tenant": tenant,
                "limits": [{"requests": requests, "window_s": window_s}] if requests else [],
            },
            Key,
        )
    except (KeyFormatError, msgspec.ValidationError) as error:
        raise SettingsError(str(error)) from None
    sys.stderr.write("The key; it is shown once and stored nowhere:\n")
    sys.stdout.write(f"{key}\n")
    sys.stderr.write("Its entry for the configuration file:\n")
    sys.stderr.write(entry_yaml(entry))


def entry_yaml(entry: Key) -> str:
    """The lines under `keys:` for one key."""
    return yaml.safe_dump({"keys": [compact(entry)]}, sort_keys=False)
