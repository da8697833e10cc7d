"""`droveway keys list|show|disable|enable|rotate|delete`: keys in the bucket `access`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from droveway.cli.admin_session import (
    budget_text,
    check_id,
    in_file,
    limit_text,
    present,
    print_json,
    run,
    say,
    table,
)
from droveway.contracts.access import Key, KeyState
from droveway.runtime.access_changes import rotated
from droveway.runtime.access_events import seen
from droveway.runtime.access_store import keys_store
from droveway.runtime.api_key import KeyFormatError, make_key
from droveway.runtime.audit_trail import local_author
from droveway.runtime.bus import Bus
from droveway.runtime.errors import SettingsError

FILE, STORE, SHADOWED = "file", "store", "shadowed"
"""Where an entry stands; one of the store is shadowed by the file's of the same id."""
_TITLES = ("id", "tenant", "state", "expires", "models", "limits", "budgets", "addresses", "from")


def listing(data: Path, tenant: str, console: Console | None) -> None:
    """Prints all keys, of one tenant where it is named; as JSON where there is no console.

    Raises:
        DrovewayError: The store can't be read.
    """
    file = in_file(data)
    stored = run(data, lambda bus: keys_store(bus).all())
    found = [(key, FILE) for key in file.keys.values()]
    found += [(entry.value, SHADOWED if entry.value.id in file.keys else STORE) for entry in stored]
    found = [(key, source) for key, source in found if tenant in ("", key.tenant)]
    found.sort(key=lambda one: (one[0].tenant, one[0].id))
    if console is None:
        print_json([_view(key, source) for key, source in found])
    else:
        console.print(table(_TITLES, (_row(key, source) for key, source in found)))


def show(data: Path, key_id: str, *, as_json: bool, console: Console) -> None:
    """Prints one key.

    Raises:
        EntryMissing: There is none of that id.
        DrovewayError: The store can't be read.
    """
    key, source = find(data, key_id)
    if as_json:
        print_json(_view(key, source))
        return
    console.print(table(("field", "value"), zip(_TITLES, _row(key, source), strict=True)))


def find(data: Path, key_id: str) -> tuple[Key, str]:
    """The key in force under an id, and where it stands.

    Raises:
        EntryMissing: There is none.
        DrovewayError: The store can't be read.
    """
    check_id(key_id)
    file = in_file(data)
    if key_id in file.keys:
        return file.keys[key_id], FILE
    return run(data, lambda bus: keys_store(bus).get(key_id)).value, STORE


def set_state(data: Path, key_id: str, state: KeyState) -> None:
    """Disables or enables a key; true on all gateways within a second.

    Raises:
        DrovewayError: There is no such key, or it can't be changed.
    """
    change(data, key_id, lambda key: msgspec.structs.replace(key, state=state), "updated")
    say(f"{key_id} is {state}")


def rotate(data: Path, key_id: str, environment: str, overlap_s: float) -> None:
    """Prints a new secret for a key; the present one stays good for `overlap_s`.

    Raises:
        SettingsError: The environment has a form that isn't allowed.
        DrovewayError: There is no such key, or it can't be changed.
    """
    try:
        secret = make_key(environment, key_id)
    except KeyFormatError as error:
        raise SettingsError(str(error)) from None
    change(data, key_id, lambda key: rotated(key, secret, overlap_s), "rotated")
    say("The new key; it is shown once and stored nowhere:")
    sys.stdout.write(f"{secret}\n")
    say(f"The former one is good for {overlap_s:g} s." if overlap_s else "The former one is not.")


def delete(data: Path, key_id: str) -> None:
    """Removes a key; true on all gateways within a second.

    Raises:
        DrovewayError: There is no such key, or it can't be removed.
    """
    file, author = in_file(data), local_author()

    async def remove(bus: Bus) -> None:
        store = keys_store(bus)
        await store.delete(await present(store, "key", key_id, file), author)

    run(data, remove)
    say(f"{key_id} is gone")


def change(data: Path, key_id: str, how: Callable[[Key], Key], verb: str) -> Key:
    """Stores a changed key; the key as it is then.

    Raises:
        DrovewayError: There is no such key, or it can't be changed.
    """
    file, author = in_file(data), local_author()

    async def replace(bus: Bus) -> Key:
        store = keys_store(bus)
        before = await present(store, "key", key_id, file)
        changed = how(before.value)
        await store.change(before, changed, author, verb)
        return changed

    return run(data, replace)


def _view(key: Key, source: str) -> dict[str, Any]:
    return {**seen(key), "tenant": key.tenant, "state": key.state, "from": source}


def _row(key: Key, source: str) -> tuple[str, ...]:
    return (
        key.id, key.tenant, key.state, key.expires or "never", " ".join(key.models),
        ", ".join(map(limit_text, key.limits)) or "none",
        ", ".join(map(budget_text, key.budgets)) or "none",
        " ".join(key.addresses) or "any", source,
    )  # fmt: skip
