"""A plausible value of a JSON Schema, seeded by a key."""

import hashlib

MAX_DEPTH = 12
"""Nesting beyond which a value is null, since a schema may refer to itself."""

_STRING_FORMATS = {
    "date-time": "2026-01-31T12:30:00Z",
    "date": "2026-01-31",
    "time": "12:30:00Z",
    "email": "drover@example.com",
    "uri": "https://example.com/gate",
    "uuid": "3f2c0e1a-7b5d-4c88-9a51-0d6e4f2b9c11",
    "ipv4": "192.0.2.7",
}
_STRINGS = ("river", "bridge", "market", "lantern", "harbour", "meadow", "orchard", "mill")


def example(schema: dict[str, object], key: str) -> object:
    """Make a value that a plain schema accepts: types, enums, bounds, references, unions.

    Patterns, exclusive unions and conditions aren't solved.
    """
    return _value(schema, schema, key, 0)


def _value(schema: object, root: dict[str, object], path: str, depth: int) -> object:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return None
    if isinstance(reference := schema.get("$ref"), str):
        return _value(_resolve(reference, root), root, path, depth + 1)
    for union in ("anyOf", "oneOf", "allOf"):
        options = schema.get(union)
        if isinstance(options, list) and options:
            return _value(options[0], root, path, depth + 1)
    if "const" in schema:
        return schema["const"]
    options = schema.get("enum")
    if isinstance(options, list) and options:
        return options[_pick(path, len(options))]
    return _typed(schema, root, path, depth)


def _typed(schema: dict[str, object], root: dict[str, object], path: str, depth: int) -> object:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0] if kind else "null"
    match kind:
        case "object":
            return _object(schema, root, path, depth)
        case "array":
            length = max(1, _whole(schema.get("minItems"), 2))
            items = schema.get("items", {})
            return [_value(items, root, f"{path}[{n}]", depth + 1) for n in range(length)]
        case "string":
            return _string(schema, path)
        case "integer":
            return _integer(schema, path)
        case "number":
            return _integer(schema, path) + 0.5 if "maximum" not in schema else schema["maximum"]
        case "boolean":
            return bool(_pick(path, 2))
        case _:
            return None


def _object(
    schema: dict[str, object], root: dict[str, object], path: str, depth: int
) -> dict[str, object]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    required = schema.get("required")
    # A schema that refers to itself ends where only what is required is made.
    names = required if depth > MAX_DEPTH // 2 and isinstance(required, list) else properties
    return {
        str(name): _value(properties.get(name, {}), root, f"{path}.{name}", depth + 1)
        for name in names
    }


def _string(schema: dict[str, object], path: str) -> str:
    if (known := _STRING_FORMATS.get(str(schema.get("format", "")))) is not None:
        return known
    text = _STRINGS[_pick(path, len(_STRINGS))]
    text = text.ljust(_whole(schema.get("minLength"), 0), "x")
    return text[: _whole(schema.get("maxLength"), len(text))]


def _integer(schema: dict[str, object], path: str) -> int:
    low = _whole(schema.get("minimum"), 1)
    high = _whole(schema.get("maximum"), low + 99)
    return low + _pick(path, max(1, high - low + 1))


def _resolve(reference: str, root: dict[str, object]) -> object:
    place: object = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            place = place.get(step) if isinstance(place, dict) else None
    return place


def _pick(path: str, options: int) -> int:
    digest = hashlib.blake2b(path.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % options


def _whole(value: object, default: int) -> int:
    return int(value) if isinstance(value, int | float) else default
