"""The few forms of JSON Schema (2020-12) that requests and answers are described with.

A field that isn't named may be there too: in a request it goes to the provider, in an answer it
comes from one. So no object here is closed.
"""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]
Fields = Mapping[str, Schema]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}
WHOLE: Schema = {"type": "integer"}
NULL: Schema = {"type": "null"}
COUNT: Schema = {"type": "integer", "minimum": 0}


def ref(name: str) -> Schema:
    """A schema of `components`."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(min_chars: int = 0, max_chars: int = 0) -> Schema:
    """A string within bounds; no bound where it is 0."""
    bounds = {"minLength": min_chars, "maxLength": max_chars}
    return TEXT | {name: bound for name, bound in bounds.items() if bound}


def whole(low: int, high: int) -> Schema:
    """An integer within bounds."""
    return WHOLE | {"minimum": low, "maximum": high}


def number(low: float, high: float) -> Schema:
    """A number within bounds."""
    return {"type": "number", "minimum": low, "maximum": high}


def words(*known: str) -> Schema:
    """One of some strings."""
    return TEXT | {"enum": list(known)}


def none_of(*known: str) -> Schema:
    """Any other string."""
    return TEXT | {"not": {"enum": list(known)}}


def items(of: Schema, low: int = 0, high: int = 0) -> Schema:
    """An array; `high` 0: without a bound."""
    bounds = {"minItems": low, "maxItems": high}
    return {"type": "array", "items": of} | {name: bound for name, bound in bounds.items() if bound}


def either(*schemas: Schema) -> Schema:
    """At least one of them fits."""
    return {"anyOf": list(schemas)}


def record(needed: Fields, others: Fields | None = None, about: str = "") -> Schema:
    """An object with these fields, of which the first ones are required."""
    schema: Schema = {"type": "object"}
    if about:
        schema["description"] = about
    if needed:
        schema["required"] = list(needed)
    if needed or others:
        schema["properties"] = {**needed, **(others or {}), **needed}
    return schema


def request(needed: Fields, others: Fields, about: str) -> Schema:
    """A request: its optional fields may be null, which counts as absent."""
    return record(needed, {name: nullable(schema) for name, schema in others.items()}, about)


def nullable(schema: Schema) -> Schema:
    """The same or null."""
    if "type" not in schema:
        return either(schema, NULL)
    made = schema | {"type": [schema["type"], "null"]}
    if "enum" in schema:
        made["enum"] = [*schema["enum"], None]
    return made


def said(schema: Schema, description: str) -> Schema:
    """The same with words."""
    return schema | {"description": description}
