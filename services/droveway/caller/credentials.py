"""Provider credentials: references in the configuration, secrets only here, never printed."""

import os
from collections.abc import Mapping
from pathlib import Path

from droveway.contracts.config import Credential, Provider
from droveway.runtime.errors import SettingsError


class Secret:
    """A secret that doesn't show in a repr, a log or a traceback."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret(…)"

    def header(self, form: str) -> tuple[bytes, bytes]:
        """Name and value of the header that carries it; `form` is `bearer` or a header's name."""
        value = self._value.encode("latin-1")
        if form == "bearer":
            return b"authorization", b"Bearer " + value
        return form.encode(), value

    def __bool__(self) -> bool:
        return bool(self._value)


def resolve(
    provider: Provider, credential: Credential, environment: Mapping[str, str] | None = None
) -> Secret:
    """Reads what a credential refers to.

    Raises:
        SettingsError: The variable isn't set, the file can't be read, or it is no header value.
    """
    env = os.environ if environment is None else environment
    reference = credential.api_key
    place = f"providers {provider.id!r}, credential {credential.id!r}"
    if not reference:
        return Secret("")
    if reference.startswith("${"):
        name = reference[2:-1]
        value = env.get(name, "")
        if not value.strip():
            raise SettingsError(f"{place}: the environment has no {name}; set it for the caller")
    else:
        try:
            value = Path(reference.removeprefix("file:")).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{place}: {reference}: {error}") from None
        if not value.strip():
            raise SettingsError(f"{place}: {reference} is empty; write the key into it")
    value = value.strip()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise SettingsError(f"{place}: the key has characters that no header may carry")
    return Secret(value)
