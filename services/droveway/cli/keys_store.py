"""`droveway keys list|show|disable|enable|rotate|delete`: keys in the bucket `access`."""

import sys
from typing import Any

from rich.console import Console

from droveway.cli.admin_session import budget_text, limit_text, say
from droveway.cli.entries import Entries, Found
from droveway.cli.in_force import InFile
from droveway.contracts.access import Key
from droveway.runtime.access_changes import rotated
from droveway.runtime.access_events import seen
from droveway.runtime.access_store import AccessStore, keys_store
from droveway.runtime.api_key import KeyFormatError, make_key
from droveway.runtime.bus import Bus
from droveway.runtime.errors import SettingsError


class Keys(Entries[Key]):
    """Client keys."""

    noun = "key"
    titles = (
        "id", "tenant", "state", "expires", "models", "limits", "budgets", "addresses", "from",
    )  # fmt: skip

    def listing(self, tenant: str, console: Console | None) -> None:
        """Prints all keys, of one tenant where it is named; as JSON where there is no console.

        Raises:
            DrovewayError: The store can't be read.
        """
        self.print((one for one in self.all() if tenant in ("", one.entry.tenant)), console)

    def rotate(self, key_id: str, environment: str, overlap_s: float) -> None:
        """Prints a new secret for a key; the present one stays good for `overlap_s`.

        Raises:
            SettingsError: The environment has a form that isn't allowed.
            DrovewayError: There is no such key, or it can't be changed.
        """
        try:
            secret = make_key(environment, key_id)
        except KeyFormatError as error:
            raise SettingsError(str(error)) from None
        self.change(key_id, lambda key: rotated(key, secret, overlap_s), "rotated")
        say("The new key; it is shown once and stored nowhere:")
        sys.stdout.write(f"{secret}\n")
        good = f"is good for {overlap_s:g} s" if overlap_s else "is not"
        say(f"The former one {good}.")

    def store(self, bus: Bus) -> AccessStore[Key]:
        """Those of the bucket."""
        return keys_store(bus)

    def filed(self, file: InFile) -> dict[str, Key]:
        """Those of the file by id."""
        return file.keys

    def order(self, entry: Key) -> tuple[str, ...]:
        """A tenant's keys stand together."""
        return entry.tenant, entry.id

    def view(self, found: Found[Key]) -> dict[str, Any]:
        """A key for programs; its tenant and state stand there whatever they are."""
        named = {**seen(found.entry), "tenant": found.entry.tenant}
        return named | super().view(found)

    def cells(self, entry: Key) -> tuple[str, ...]:
        """A key as a line of a table."""
        return (
            entry.id, entry.tenant, entry.state, entry.expires or "never", " ".join(entry.models),
            ", ".join(map(limit_text, entry.limits)) or "none",
            ", ".join(map(budget_text, entry.budgets)) or "none",
            " ".join(entry.addresses) or "any",
        )  # fmt: skip
