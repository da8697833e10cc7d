"""One NKey per NATS user: the seed stays with the user, the server knows the public key only."""

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from droveway.cli.data_folder import DataFolder, write_private
from droveway.contracts.access import Key
from droveway.contracts.permissions import USERS
from droveway.runtime.errors import SettingsError

_PUBLIC_KEY_CHARACTERS = 56


def ensure_users(folder: DataFolder) -> dict[str, str]:
    """The public key of each user in the permission table; makes the seeds that aren't there.

    Raises:
        SettingsError: A seed file holds something else.
    """
    for user in USERS:
        path = folder.seed_file(user.name)
        if not path.exists():
            write_private(path, _new_seed())
    return {user.name: public_key(folder.seed_file(user.name)) for user in USERS}


def ensure_key_user(folder: DataFolder, key_id: str) -> str:
    """The public key of a client key's NATS user; makes the seed if it isn't there.

    Raises:
        SettingsError: The seed file holds something else.
    """
    path = folder.key_seed_file(key_id)
    if not path.exists():
        write_private(path, _new_seed())
    return public_key(path)


def key_users(keys: Iterable[Key]) -> dict[str, str]:
    """Public keys of NATS users by the ids of those client keys that have one."""
    return {key.id: key.nats_user for key in keys if key.nats_user}


def public_key(seed_file: Path) -> str:
    """The `U…` key of a user's seed.

    Raises:
        SettingsError: The file can't be read or holds no user's seed.
    """
    import nkeys

    try:
        seed = seed_file.read_bytes().strip()
        prefix, raw = nkeys.decode_seed(seed)
        key: str = nkeys.from_seed(seed).public_key.decode()
        whole = nkeys.encode_seed(raw, prefix) == seed  # nkeys doesn't look at the checksum
    except OSError as error:
        raise SettingsError(f"{seed_file}: {error.strerror}") from None
    except (nkeys.NkeysError, ValueError) as error:
        raise SettingsError(f"{seed_file}: no NKey seed (SU…): {error}") from None
    if not whole or not key.startswith("U"):
        raise SettingsError(f"{seed_file}: no NKey seed of a user (SU…), or not all of it")
    return key


def missing_seeds(folder: DataFolder, environment: Mapping[str, str]) -> list[str]:
    """Users whose seed is neither in the folder nor named by the environment."""
    return [
        user.name
        for user in USERS
        if not folder.seed_file(user.name).exists() and nkey_variable(user.name) not in environment
    ]


def nkey_variable(user: str) -> str:
    """The variable that names a user's seed file."""
    return f"DROVEWAY_{user.upper()}_NATS_NKEY_FILE"


def read_public_keys(text: str, name: str) -> dict[str, str]:
    """Public keys from lines of `user key`, as `droveway nats users` prints them.

    Raises:
        SettingsError: A line has another form, or a user is missing or unknown.
    """
    keys: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or len(words[1]) != _PUBLIC_KEY_CHARACTERS or words[1][0] != "U":
            raise SettingsError(f"{name}:{number}: expected a user and its public key (U…)")
        keys[words[0]] = words[1]
    expected = [user.name for user in USERS]
    if set(keys) != set(expected):
        raise SettingsError(f"{name}: expected exactly the users {', '.join(expected)}")
    return keys


def _new_seed() -> str:
    import nkeys

    seed: bytes = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    return seed.decode()
