"""Contexts of the `nats` command line: one JSON file that says where a server is and who we are.

What a context says and we can't do is refused: connecting otherwise than told would be worse.
Source: NATS ADR-21; names, defaults and expansion as jsm.go's `natscontext` has them in 2026.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from droveway.runtime.bus import BusSettings
from droveway.runtime.errors import SettingsError
from droveway.runtime.settings import DEFAULT_NATS_URL, ServiceSettings

_REFERENCES = ("op://", "nsc://", "env://", "data:")
"""Where the `nats` command line would fetch a secret; we read files only."""


_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class _Context(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that we know; a file may have more, and those that we don't need are skipped."""

    url: str = ""
    token: str = ""
    user: str = ""
    password: str = ""
    creds: str = ""
    nkey: str = ""
    cert: str = ""
    key: str = ""
    ca: str = ""
    inbox_prefix: str = ""
    nsc: str = ""
    socks_proxy: str = ""
    user_jwt: str = ""
    user_seed: str = ""
    jetstream_domain: str = ""
    jetstream_api_prefix: str = ""
    tls_first: bool = False
    windows_cert_store: str = ""


_CANNOT = {
    "nsc": "name the file of `nsc generate creds` in `creds`",
    "socks_proxy": "connect without a proxy",
    "user_jwt": "put it into a file with its seed and name that in `creds`",
    "user_seed": "put it into a file and name that in `creds` or `nkey`",
    "jetstream_domain": "connect to a server of the domain itself",
    "jetstream_api_prefix": "connect to the account that has the streams",
    "tls_first": "let the server speak first, as it does by default",
    "windows_cert_store": "export the certificate and name files in `cert`, `key` and `ca`",
}


def read_context(name: str = "", environment: Mapping[str, str] | None = None) -> BusSettings:
    """What a context says, as our settings.

    Args:
        name: Of a context, or its file's path; empty: the one that `nats context select` chose.
        environment: For `XDG_CONFIG_HOME`, `HOME` and variables within paths.

    Raises:
        SettingsError: There is none of that name, it can't be read, or it says what we can't do.
    """
    env = os.environ if environment is None else environment
    path = _find(name, env)
    try:
        context = msgspec.json.decode(path.read_bytes(), type=_Context)
    except OSError as error:
        raise SettingsError(f"NATS context {path}: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"NATS context {path}: {error}") from None
    for problem in _problems(context):
        raise SettingsError(f"NATS context {path}: {problem}")
    return BusSettings(
        servers=servers(context.url or DEFAULT_NATS_URL),
        nkey_file=_expanded(context.nkey, env),
        credentials_file=_expanded(context.creds, env),
        user=context.user,
        password=context.password,
        token=context.token,
        tls_ca_file=_expanded(context.ca, env),
        tls_cert_file=_expanded(context.cert, env),
        tls_key_file=_expanded(context.key, env),
        inbox_prefix=context.inbox_prefix,
    )


def selected_context(environment: Mapping[str, str] | None = None) -> str:
    """The name that `nats context select` has kept; empty: none."""
    folder = _folder(os.environ if environment is None else environment)
    try:
        return (folder / "context.txt").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def service_broker(service: str, own: ServiceSettings) -> BusSettings:
    """How a service meets the broker: its own variables, over those of the context it names.

    Raises:
        SettingsError: The context can't be used, or the settings contradict each other.
    """
    base = read_context(own.nats_context) if own.nats_context else None
    if base is not None and base.inbox_prefix not in ("", f"_INBOX.{service}"):
        raise SettingsError(
            f"NATS context {own.nats_context}: inbox_prefix: peers of the {service} answer "
            f"_INBOX.{service} only; leave it out"
        )
    return overridden(
        base or BusSettings(servers=(DEFAULT_NATS_URL,)),
        url=own.nats_url if own.nats_url != DEFAULT_NATS_URL else "",
        nkey_file=own.nats_nkey_file,
        credentials_file=own.nats_creds_file,
        tls_ca_file=own.nats_ca_file,
        tls_cert_file=own.nats_cert_file,
        tls_key_file=own.nats_key_file,
    )


def overridden(
    base: BusSettings,
    *,
    url: str = "",
    nkey_file: str = "",
    credentials_file: str = "",
    tls_ca_file: str = "",
    tls_cert_file: str = "",
    tls_key_file: str = "",
) -> BusSettings:
    """`base` with what isn't empty in its place; credentials replace all those of `base`.

    Raises:
        SettingsError: Two kinds of credentials, or a certificate without its key.
    """
    if nkey_file and credentials_file:
        raise SettingsError("an NKey seed and a .creds file are set for NATS: expected one of them")
    if bool(tls_cert_file) != bool(tls_key_file):
        raise SettingsError("a certificate for NATS and its key go together: one of them is unset")
    changes: dict[str, object] = {}
    if url:
        changes["servers"] = servers(url)
    if nkey_file or credentials_file:
        changes |= {"nkey_file": nkey_file, "credentials_file": credentials_file}
        changes |= {"user": "", "password": "", "token": ""}
    if tls_ca_file:
        changes["tls_ca_file"] = tls_ca_file
    if tls_cert_file:
        changes |= {"tls_cert_file": tls_cert_file, "tls_key_file": tls_key_file}
    return msgspec.structs.replace(base, **changes)


def servers(url: str) -> tuple[str, ...]:
    """Addresses from a list with commas; one without a scheme is `nats://`."""
    addresses = filter(None, map(str.strip, url.split(",")))
    return tuple(one if "://" in one else f"nats://{one}" for one in addresses)


def _find(name: str, env: Mapping[str, str]) -> Path:
    if "/" in name:
        return Path(_expanded(name, env))
    folder = _folder(env) / "context"
    wanted = name or selected_context(env)
    if not wanted:
        raise SettingsError(f"no NATS context is selected in {folder.parent}: {_known(folder)}")
    path = folder / f"{wanted}.json"
    if ".." in wanted or not path.is_file():
        raise SettingsError(f"no NATS context {wanted!r} in {folder}: {_known(folder)}")
    return path


def _known(folder: Path) -> str:
    names = sorted(path.stem for path in folder.glob("*.json"))
    return f"there are {', '.join(names)}" if names else "there is none"


def _folder(env: Mapping[str, str]) -> Path:
    return Path(env.get("XDG_CONFIG_HOME") or Path(_home(env)) / ".config") / "nats"


def _problems(context: _Context) -> Iterator[str]:
    for field, advice in _CANNOT.items():
        if getattr(context, field):
            yield f"{field} can't be honoured here: {advice}"
    kinds = [kind for kind in ("user", "creds", "nkey", "token") if getattr(context, kind)]
    if len(kinds) > 1:
        yield f"{' and '.join(kinds)} are set: expected one of them"
    for field in ("creds", "nkey", "cert", "key", "ca", "password", "token"):
        for scheme in _REFERENCES:
            if getattr(context, field).startswith(scheme):
                yield f"{field}: {scheme} can't be resolved here: expected " + (
                    "its words" if field in ("password", "token") else "the path of a file"
                )
    if bool(context.cert) != bool(context.key):
        yield "cert and key go together: one of them is empty"


def _expanded(path: str, env: Mapping[str, str]) -> str:
    """A path of a context: without `file://`, its variables and a leading `~` replaced."""
    found = _VARIABLE.sub(lambda match: env.get(match[1] or match[2], ""), path)
    found = found.removeprefix("file://")
    return _home(env) + found[1:] if found.startswith("~") else found


def _home(env: Mapping[str, str]) -> str:
    return env.get("HOME") or str(Path.home())
