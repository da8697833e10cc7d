"""In what two configurations differ, by areas and names: what the audit trail and people are told.

Names only: what a key's hash or a provider's address was stands in the revisions themselves.
"""

from collections.abc import Mapping
from typing import Any

from droveway.contracts.config import Config

MAX_NAMES = 50
"""In the audit trail: an event has to be small enough for one message."""
_NAMED_BY = {
    "providers": "id",
    "routes": "model",
    "keys": "id",
    "tenants": "id",
    "admins": "id",
    "models": "name",
}
SETTINGS = "settings"
"""The area of fields that have no names in them."""

Changes = dict[str, dict[str, list[str]]]
"""By area, then by `added`, `changed` and `removed`: names."""


def changes_between(before: Config | None, after: Config, most: int = MAX_NAMES) -> Changes:
    """What was added, changed and removed; all is added where nothing was before.

    Args:
        before: What held.
        after: What is to hold.
        most: Names of one kind in one area; how many more there are is told.
    """
    before = before or Config(providers=(), routes=())
    found: Changes = {}
    settings: list[str] = []
    for field in Config.__struct_fields__:
        old, new = getattr(before, field), getattr(after, field)
        if old == new:
            continue
        if isinstance(new, dict) or field in _NAMED_BY:
            found[field] = _by_name(_named(field, old), _named(field, new), most)
        else:
            settings.append(field)
    if settings:
        found[SETTINGS] = {"changed": sorted(settings)}
    return found


def _by_name(old: Mapping[str, Any], new: Mapping[str, Any], most: int) -> dict[str, list[str]]:
    kinds = {
        "added": [name for name in new if name not in old],
        "changed": [name for name in new if name in old and new[name] != old[name]],
        "removed": [name for name in old if name not in new],
    }
    found = {kind: _few(names, most) for kind, names in kinds.items() if names}
    return found or {"changed": ["the order"]}


def _named(field: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    return {getattr(one, _NAMED_BY[field]): one for one in value}


def _few(names: list[str], most: int) -> list[str]:
    more = len(names) - most
    return names if more <= 0 else [*names[:most], f"and {more} more"]
