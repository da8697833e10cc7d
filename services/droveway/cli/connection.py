"""How a command reaches the bus: told by the environment, else by the data folder of `up`."""

import os
from pathlib import Path

from droveway.cli.data_folder import DataFolder
from droveway.cli.nats_users import nkey_variable
from droveway.runtime.bus import BusSettings
from droveway.runtime.errors import SettingsError


def settings_for(user: str, data: Path) -> BusSettings:
    """Address and credentials of a NATS user.

    Raises:
        SettingsError: Neither the environment nor the folder knows them.
    """
    folder = DataFolder(data)
    address = folder.server_address()
    url = os.environ.get("DROVEWAY_NATS_URL") or (address.url if address else "")
    if not url:
        raise SettingsError(
            f"no NATS server known: start `droveway up --data {data}`, or set DROVEWAY_NATS_URL"
        )
    seed = os.environ.get(nkey_variable(user)) or str(folder.seed_file(user))
    if not Path(seed).is_file():
        raise SettingsError(
            f"{seed} isn't there: set {nkey_variable(user)} to the seed of the NATS user {user}"
        )
    return BusSettings(servers=tuple(url.split(",")), nkey_file=seed)
