"""`droveway nats users` and `droveway nats config`: what an external NATS server needs."""

import sys
from pathlib import Path

from droveway.cli.data_folder import DataFolder
from droveway.cli.nats_config import NatsServerSettings, Place, server_config
from droveway.cli.nats_users import ensure_users, key_users, read_public_keys
from droveway.runtime import settings
from droveway.runtime.config.file import load
from droveway.runtime.errors import SettingsError

_EXTERNAL = """\
# Set for your server: listen, store_dir, monitoring, tls, and a cluster for three replicas.
# The users and their permissions belong to Droveway; keep them as they are.
"""


def users(data: Path) -> None:
    """Makes the seeds that aren't there and prints each user's public key.

    Raises:
        SettingsError: A seed file holds something else.
    """
    folder = DataFolder(data)
    for user, key in ensure_users(folder).items():
        sys.stdout.write(f"{user} {key}\n")
    sys.stderr.write(f"seeds: {folder.nats}/<user>.nk\n")


def config(data: Path, public_keys: Path | None, place: Place, file: Path | None) -> None:
    """Prints the configuration of an external server.

    Args:
        data: Folder of the seeds.
        public_keys: Output of `users`, in place of the seeds.
        place: Where the server lives.
        file: The configuration file, whose keys may have NATS users; None: there is none yet.

    Raises:
        SettingsError: The public keys or the configuration file can't be read.
    """
    if public_keys is None:
        keys = ensure_users(DataFolder(data))
    else:
        try:
            text = public_keys.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{public_keys}: {error}") from None
        keys = read_public_keys(text, str(public_keys))
    own = settings.read(NatsServerSettings, "nats_server")
    clients = key_users(load(str(file)).keys) if file is not None else {}
    sys.stdout.write(_EXTERNAL + server_config(keys, place, own, clients))
