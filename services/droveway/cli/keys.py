"""`droveway keys`: a client key, its NATS user, and what the configuration keeps of them."""

import sys
from pathlib import Path

import msgspec
import yaml

from droveway.cli.config import compact
from droveway.cli.data_folder import DataFolder
from droveway.cli.nats_users import ensure_key_user
from droveway.contracts.config import Key
from droveway.contracts.envelope import Id
from droveway.runtime.api_key import KeyFormatError, hash_key, make_key, parse_key
from droveway.runtime.errors import SettingsError


def new(environment: str, tenant: str, requests: int, window_s: float, nats_user: str = "") -> None:
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
                "nats_user": nats_user,
            },
            Key,
        )
    except (KeyFormatError, msgspec.ValidationError) as error:
        raise SettingsError(str(error)) from None
    sys.stderr.write("The key; it is shown once and stored nowhere:\n")
    sys.stdout.write(f"{key}\n")
    sys.stderr.write("Its entry for the configuration file:\n")
    sys.stderr.write(entry_yaml(entry))


def nats(key_id: str, data: Path) -> None:
    """Prints the public key of a key's NATS user; makes its seed if it isn't there.

    Raises:
        SettingsError: The id has a form that no key has, or the seed file holds something else.
    """
    try:
        msgspec.convert(key_id, Id)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{key_id[:80]!r} is no key id: {error}") from None
    folder = DataFolder(data)
    public = ensure_key_user(folder, key_id)
    sys.stdout.write(f"{public}\n")
    sys.stderr.write(
        f"seed: {folder.key_seed_file(key_id)}; for the client, and for nobody else\n"
        f"Write `nats_user: {public}` to the key {key_id} in the configuration file; the NATS "
        "server learns it from what `droveway nats config` prints.\n"
    )


def entry_yaml(entry: Key) -> str:
    """The lines under `keys:` for one key."""
    return yaml.safe_dump({"keys": [compact(entry)]}, sort_keys=False)
