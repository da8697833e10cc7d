"""How a command reaches the bus: told by the environment, else by the data folder of `up`.

The operator's commands, which only read, also take what the `nats` command line is told.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from droveway.cli.data_folder import DataFolder
from droveway.cli.nats_users import nkey_variable
from droveway.runtime.bus import BusSettings
from droveway.runtime.errors import SettingsError
from droveway.runtime.nats_context import overridden, read_context, selected_context

OPERATOR = "operator"
_OWN_INBOXES = re.compile(r"_INBOX\.operator(\.[A-Za-z0-9_-]+)?")
"""What services answer to: `contracts.discovery.OPERATOR_INBOX`, less an instance and a token."""


def settings_for(
    user: str, data: Path, environment: Mapping[str, str] | None = None
) -> BusSettings:
    """Address and credentials of a NATS user.

    Raises:
        SettingsError: Neither the environment nor the folder knows them.
    """
    env = os.environ if environment is None else environment
    folder = DataFolder(data)
    address = folder.server_address()
    url = _told(user, env, "NATS_URL") or (address.url if address else "")
    context = _told(user, env, "NATS_CONTEXT")
    if not url and user == OPERATOR:
        context = context or selected_context(env)
    if not (url or context):
        raise SettingsError(
            f"no NATS server known: start `droveway up --data {data}`, or set DROVEWAY_NATS_URL"
        )
    nkey, creds = _credentials(user, env)
    if context:
        base, url = read_context(context, env), _told(user, env, "NATS_URL")
        _check_inboxes(user, context, base)
    else:
        base = BusSettings(servers=())
        nkey = nkey or ("" if creds else _seed(user, folder))
    return overridden(
        base,
        url=url,
        nkey_file=nkey,
        credentials_file=creds,
        tls_ca_file=env.get("DROVEWAY_NATS_CA_FILE", ""),
        tls_cert_file=env.get("DROVEWAY_NATS_CERT_FILE", ""),
        tls_key_file=env.get("DROVEWAY_NATS_KEY_FILE", ""),
    )


def _told(user: str, env: Mapping[str, str], name: str) -> str:
    ours = env.get(f"DROVEWAY_{name}", "")
    return ours or (env.get(name, "") if user == OPERATOR else "")


def _credentials(user: str, env: Mapping[str, str]) -> tuple[str, str]:
    """The files of an NKey seed and of a JWT with its seed, where told; our own variables win."""
    pairs = [(env.get(nkey_variable(user), ""), env.get(creds_variable(user), ""))]
    if user == OPERATOR:
        pairs.append((env.get("NATS_NKEY", ""), env.get("NATS_CREDS", "")))
    return next(filter(any, pairs), ("", ""))


def _seed(user: str, folder: DataFolder) -> str:
    seed = folder.seed_file(user)
    if not seed.is_file():
        raise SettingsError(
            f"{seed} isn't there: set {nkey_variable(user)} to the seed of the NATS user {user}"
        )
    return str(seed)


def _check_inboxes(user: str, context: str, base: BusSettings) -> None:
    if user == OPERATOR and base.inbox_prefix and not _OWN_INBOXES.fullmatch(base.inbox_prefix):
        raise SettingsError(
            f"NATS context {context}: inbox_prefix: services answer _INBOX.operator only; "
            "use that, or leave it out"
        )


def creds_variable(user: str) -> str:
    """The variable that names a user's `.creds` file."""
    return f"DROVEWAY_{user.upper()}_NATS_CREDS_FILE"
