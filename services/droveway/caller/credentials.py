"""Provider credentials: references in the configuration, secrets only here, never printed."""

import os
from collections.abc import Mapping
from pathlib import Path

from droveway.contracts.config import Credential, Provider
from droveway.runtime.errors import SettingsError

MAX_SECRET_CHARACTERS = 16_384
"""Of one secret in a file: some are tokens with claims in them, none is a document."""


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
    place = f"providers {provider.id!r}, credential {credential.id!r}"
    if not credential.api_key:
        return Secret("")
    value = read_reference(credential.api_key, place, environment)
    if not value.isascii() or not value.isprintable() or " " in value:
        raise SettingsError(f"{place}: the key has characters that no header may carry")
    return Secret(value)


def read_reference(reference: str, place: str, environment: Mapping[str, str] | None = None) -> str:
    """What `${NAME}` or `file:/path` leads to, without the space around it; never empty.

    Args:
        reference: As it stands in the configuration.
        place: Where it stands there, for messages.
        environment: Instead of this process's.

    Raises:
        SettingsError: The variable isn't set, or the file can't be read or is empty.
    """
    if reference.startswith("${"):
        name = reference[2:-1]
        value = (os.environ if environment is None else environment).get(name, "").strip()
        if not value:
            raise SettingsError(f"{place}: the environment has no {name}; set it for the caller")
        return value
    try:
        with Path(reference.removeprefix("file:")).open(encoding="utf-8") as file:
            value = file.read(MAX_SECRET_CHARACTERS + 1).strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{place}: {reference}: {error}") from None
    if not value:
        raise SettingsError(f"{place}: {reference} is empty; write the secret into it")
    if len(value) > MAX_SECRET_CHARACTERS:
        raise SettingsError(f"{place}: {reference} has over {MAX_SECRET_CHARACTERS} characters")
    return value
