"""Checks that all requests share: what a field may be, and the words for when it isn't.

Types are strict: `"5"` is no integer and `1` is no boolean. Messages name a field of the client's
own request and never quote its content. Null counts as absent: a check gets a value, its path and
the caps.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from droveway.dialects.chat.caps import ChatCaps
from droveway.dialects.untranslatable import Untranslatable

Check = Callable[[str, Any, ChatCaps], None]
"""Takes a field's path, its value and the caps; raises `Untranslatable`."""

_CONTAINERS = (dict, list)


def wrong(param: str, value: object, expected: str) -> Untranslatable:
    """The refusal of a field: what would be right, and what it is."""
    return Untranslatable(f"`{param}` must be {expected}; it is {kind(value)}.", param)


def kind(value: object) -> str:
    """What a value is, without saying its content."""
    if value is None:
        return "null or missing"
    if isinstance(value, str | list | dict):
        noun = {str: "a string of length", list: "an array of", dict: "an object of"}[type(value)]
        return f"{noun} {len(value)}"
    return {bool: "a boolean", int: "an integer", float: "a decimal number"}[type(value)]


def check_fields(
    fields: dict[str, Any], checks: Mapping[str, Check], caps: ChatCaps, prefix: str = ""
) -> None:
    """Checks those fields of an object that have a check; others are left alone.

    Raises:
        Untranslatable: A field is of a wrong type or beyond a cap.
    """
    for name, value in fields.items():
        if value is not None and (check := checks.get(name)) is not None:
            check(prefix + name, value, caps)


def check_model(model: object, caps: ChatCaps) -> None:
    """`model` is required."""
    if type(model) is not str or not 0 < len(model) <= caps.max_model_chars:
        raise wrong("model", model, f"a string of 1 to {caps.max_model_chars} characters")


def boolean(param: str, value: Any, _caps: ChatCaps) -> None:
    """True or false."""
    if type(value) is not bool:
        raise wrong(param, value, "true, false or null")


def string(param: str, value: Any, _caps: ChatCaps) -> None:
    """Any string."""
    if type(value) is not str:
        raise wrong(param, value, "a string or null")


def identifier(param: str, value: Any, caps: ChatCaps) -> None:
    """A string by which a client names something of its own."""
    if type(value) is not str or len(value) > caps.max_identifier_chars:
        expected = f"a string of at most {caps.max_identifier_chars} characters, or null"
        raise wrong(param, value, expected)


def name(param: str, value: Any, caps: ChatCaps) -> None:
    """What a tool, a function or a schema is called; required."""
    if type(value) is not str or not 0 < len(value) <= caps.max_name_chars:
        raise wrong(param, value, f"a string of 1 to {caps.max_name_chars} characters")


def any_integer(param: str, value: Any, _caps: ChatCaps) -> None:
    """An integer of any size."""
    if type(value) is not int:
        raise wrong(param, value, "an integer or null")


def integer(param: str, value: Any, low: int, high: int) -> None:
    """An integer within bounds."""
    if type(value) is not int or not low <= value <= high:
        raise wrong(param, value, f"an integer from {low} to {high}, or null")


def number(low: int, high: int) -> Check:
    """The check for a number within bounds."""

    def check(param: str, value: Any, _caps: ChatCaps) -> None:
        if type(value) not in (int, float) or not low <= value <= high:
            raise wrong(param, value, f"a number from {low} to {high}, or null")

    return check


def one_of(*words: str) -> Check:
    """The check for one of some words."""
    known = frozenset(words)
    expected = f"one of {', '.join(words)}, or null"

    def check(param: str, value: Any, _caps: ChatCaps) -> None:
        if type(value) is not str or value not in known:
            raise wrong(param, value, expected)

    return check


def any_object(param: str, value: Any, _caps: ChatCaps) -> None:
    """An object of any members."""
    if type(value) is not dict:
        raise wrong(param, value, "an object or null")


def objects(param: str, value: Any, max_items: int) -> None:
    """An array of objects."""
    if type(value) is not list or len(value) > max_items:
        raise wrong(param, value, f"an array of at most {max_items} objects, or null")
    for index, item in enumerate(value):
        if type(item) is not dict:
            raise wrong(f"{param}[{index}]", item, "an object")


def schema(param: str, value: Any, caps: ChatCaps) -> None:
    """A JSON Schema: an object that isn't nested too deeply for those who compile it."""
    if type(value) is not dict:
        raise wrong(param, value, "a JSON Schema object, or null")
    if _brackets(value) <= caps.max_schema_depth:
        return  # so many at most are within each other
    level: list[Any] = [value]
    for _ in range(caps.max_schema_depth):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) in _CONTAINERS
        ]
        if not level:
            return
    message = f"`{param}` is nested deeper than {caps.max_schema_depth} levels."
    raise Untranslatable(message, param)


def _brackets(value: dict[str, Any]) -> int:
    """At least as many as there are objects and arrays in it; no counting by hand is as fast."""
    try:
        text = msgspec.json.encode(value)
    except RecursionError:
        return sys.maxsize
    return text.count(b"{") + text.count(b"[")
