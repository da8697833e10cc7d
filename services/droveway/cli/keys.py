"""`droveway keys`: a client key, its NATS user, and what the configuration keeps of them."""

import sys
from pathlib import Path
from typing import NamedTuple

import msgspec
import yaml

from droveway.cli.admin_session import run, say
from droveway.cli.config import compact
from droveway.cli.data_folder import DataFolder
from droveway.cli.nats_users import ensure_key_user
from droveway.contracts.access import Key
from droveway.contracts.envelope import Id
from droveway.runtime.access_checks import key_findings
from droveway.runtime.access_store import keys_store
from droveway.runtime.api_key import KeyFormatError, hash_key, make_key, parse_key
from droveway.runtime.audit_trail import local_author
from droveway.runtime.bus import Bus
from droveway.runtime.errors import SettingsError


class NewKey(NamedTuple):
    """What a new key is told."""

    environment: str
    tenant: str
    requests: int
    window_s: float
    nats_user: str = ""
    expires: str = ""
    models: tuple[str, ...] = ("*",)
    addresses: tuple[str, ...] = ()


def new(wanted: NewKey, data: Path) -> None:
    """Prints a new key, which is stored nowhere, and stores what the services need of it.

    Raises:
        SettingsError: A field has a form that isn't allowed, or no server is known.
        DrovewayError: The key can't be stored.
    """
    secret, key = make(wanted)
    author = local_author()

    async def create(bus: Bus) -> int:
        return await keys_store(bus).create(key, author)

    run(data, create)
    say("The key; it is shown once and stored nowhere:")
    sys.stdout.write(f"{secret}\n")
    say(f"Its id is {key.id}. It is good at once; `droveway keys disable {key.id}` revokes it.")


def entry(wanted: NewKey) -> None:
    """Prints a new key, which is stored nowhere, and the entry for the configuration's `keys`.

    Raises:
        SettingsError: A field has a form that isn't allowed.
    """
    secret, key = make(wanted)
    say("The key; it is shown once and stored nowhere:")
    sys.stdout.write(f"{secret}\n")
    say("Its entry for the configuration file:")
    sys.stderr.write(entry_yaml(key))


def make(wanted: NewKey) -> tuple[str, Key]:
    """A new secret and its key.

    Raises:
        SettingsError: A field has a form that isn't allowed.
    """
    limit = {"requests": wanted.requests, "window_s": wanted.window_s}
    try:
        secret = make_key(wanted.environment)
        key = msgspec.convert(
            {
                "id": parse_key(secret).id,
                "sha256": hash_key(secret),
                "tenant": wanted.tenant,
                "expires": wanted.expires,
                "models": wanted.models,
                "limits": [limit] if wanted.requests else [],
                "addresses": wanted.addresses,
                "nats_user": wanted.nats_user,
            },
            Key,
        )
    except (KeyFormatError, msgspec.ValidationError) as error:
        raise SettingsError(str(error)) from None
    for finding in key_findings(key):
        raise SettingsError(finding)
    return secret, key


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


def entry_yaml(key: Key) -> str:
    """The lines under `keys:` for one key."""
    return yaml.safe_dump({"keys": [compact(key)]}, sort_keys=False)
