"""Fields of a decoded request that a translation has to read: refused by path if they don't fit.

A client's JSON may have anything anywhere, so a translation asks here instead of guessing. What
becomes part of a warning goes into a header: only names that are plain words are repeated.
"""

import re
from typing import Any

from droveway.dialects.untranslatable import Untranslatable

MAX_NAMED = 16
"""Dropped parameters that are named; of further ones only that there were more."""

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,63}")


def object_at(value: object, path: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        Untranslatable: It is something else.
    """
    if isinstance(value, dict):
        return value
    raise Untranslatable(f"{path} has to be an object", path)


def list_at(value: object, path: str) -> list[Any]:
    """A JSON array.

    Raises:
        Untranslatable: It is something else.
    """
    if isinstance(value, list):
        return value
    raise Untranslatable(f"{path} has to be an array", path)


def text_at(value: object, path: str) -> str:
    """A string.

    Raises:
        Untranslatable: It is something else.
    """
    if isinstance(value, str):
        return value
    raise Untranslatable(f"{path} has to be a string", path)


def name_at(value: object, path: str) -> str:
    """A string that isn't empty.

    Raises:
        Untranslatable: It is something else.
    """
    if isinstance(value, str) and value:
        return value
    raise Untranslatable(f"{path} has to be a string that isn't empty", path)


def optional_object(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """An object that may be absent or null; then an empty one.

    Raises:
        Untranslatable: It is something else.
    """
    value = fields.get(name)
    return {} if value is None else object_at(value, name)


def optional_list(fields: dict[str, Any], name: str) -> list[Any]:
    """An array that may be absent or null; then an empty one.

    Raises:
        Untranslatable: It is something else.
    """
    value = fields.get(name)
    return [] if value is None else list_at(value, name)


def count_at(value: object, path: str, *, least: int) -> int:
    """A whole number from `least` on.

    Raises:
        Untranslatable: It is something else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise Untranslatable(f"{path} has to be a whole number from {least} on", path)


def number_at(value: object, path: str) -> float:
    """A number that isn't negative; a whole one stays whole.

    Raises:
        Untranslatable: It is something else.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return value
    raise Untranslatable(f"{path} has to be a number from 0 on", path)


def is_set(value: object) -> bool:
    """Whether a parameter asks for anything: it isn't null, false, nothing or empty."""
    return not (value is None or value is False or value == 0 or value in ("", [], {}))


def dropped(name: str, reason: str = "has no equivalent there") -> str:
    """The warning for a parameter that isn't sent on."""
    return f"{name} {reason} and was dropped"


def drop_unknown(
    fields: dict[str, Any], known: frozenset[str], warnings: list[str], prefix: str = ""
) -> None:
    """Warns of parameters that nobody here knows, with names that may stand in a header."""
    if known.issuperset(fields):
        return
    unknown = [name for name in fields if name not in known and is_set(fields[name])]
    for name in unknown[:MAX_NAMED]:
        shown = prefix + name if _WORD.fullmatch(name) else f"{prefix}(an unprintable name)"
        warnings.append(dropped(shown, "is unknown there"))
    if len(unknown) > MAX_NAMED:
        warnings.append(f"{len(unknown) - MAX_NAMED} more unknown parameters were dropped")
