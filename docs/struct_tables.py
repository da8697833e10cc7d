"""Tables of a struct's fields: types and defaults as they are, words from the docstrings below."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

Kind = type[msgspec.Struct]


class Row(NamedTuple):
    """One field as the page shows it."""

    name: str
    type: str
    default: str
    meaning: str


def rows(kind: Kind) -> Iterator[Row]:
    """A struct's fields, those it inherits included."""
    words: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, msgspec.Struct) and base.__module__ != "msgspec":
            words |= docstrings(base)
    described = msgspec.inspect.type_info(kind)
    assert isinstance(described, msgspec.inspect.StructType)
    for field, default in zip(described.fields, msgspec.structs.fields(kind), strict=True):
        meaning = words.get(field.name, "")
        yield Row(field.name, type_text(field.type), default_text(default), meaning)


def docstrings(kind: Kind) -> dict[str, str]:
    """The text below each field of a class, as one line."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr)):
            continue
        if isinstance(after.value, ast.Constant) and isinstance(field.target, ast.Name):
            found[field.target.id] = " ".join(str(after.value.value).split())
    return found


def type_text(described: msgspec.inspect.Type) -> str:
    """A type in words, with its range."""
    match described:
        case msgspec.inspect.IntType():
            return "integer" + _range(described)
        case msgspec.inspect.FloatType():
            return "number" + _range(described)
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.StrType(pattern=str() as pattern):
            return f"text like `{pattern.removesuffix('(?!' + chr(92) + 'n)')}`"
        case msgspec.inspect.StrType(max_length=int() as longest):
            return f"text, at most {longest} characters"
        case msgspec.inspect.StrType():
            return "text"
        case msgspec.inspect.LiteralType(values=values):
            return " or ".join(f"`{value}`" for value in values)
        case msgspec.inspect.StructType(cls=kind):
            return f"[{kind.__name__}](#{kind.__name__.lower()})"
        case msgspec.inspect.VarTupleType(item_type=item):
            return f"list of {type_text(item)}"
        case msgspec.inspect.DictType(key_type=key, value_type=value):
            return f"{type_text(key)} to {type_text(value)}"
        case msgspec.inspect.UnionType(types=types):
            return " or ".join("nothing" if _is_none(one) else type_text(one) for one in types)
        case _:
            raise ValueError(f"no words for {described}")


def _range(number: msgspec.inspect.IntType | msgspec.inspect.FloatType) -> str:
    bounds = (("≥", number.ge), (">", number.gt), ("≤", number.le), ("<", number.lt))
    words = [f"{sign} {limit:.15g}" for sign, limit in bounds if limit is not None]
    return " " + ", ".join(words) if words else ""


def _is_none(described: msgspec.inspect.Type) -> bool:
    return isinstance(described, msgspec.inspect.NoneType)


def default_text(field: msgspec.structs.FieldInfo) -> str:
    """A default as one would write it; sizes also in binary units."""
    if field.required:
        return "required"
    value: Any = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if isinstance(value, msgspec.Struct | tuple | dict):
        return "see there" if isinstance(value, msgspec.Struct) else _collection(value)
    if value is None or value == "":
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and field.name.endswith("_bytes"):
        return f"{value}{_binary(value)}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _collection(value: "tuple[Any, ...] | dict[str, Any]") -> str:
    if not value:
        return "empty"
    return ", ".join(f"`{one}`" if isinstance(one, str) else "one, as there" for one in value)


def _binary(size_bytes: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= size and size_bytes % size == 0:
            return f" ({size_bytes // size} {unit})"
    return ""


def table(found: list[Row], prefix: str = "", *, first: str = "variable") -> str:
    """Rows as Markdown; `prefix` turns a field into its variable."""
    lines = [f"| {first} | type | default | meaning |", "| --- | --- | --- | --- |"]
    for row in found:
        name = prefix + (row.name.upper() if prefix else row.name)
        quoted = name if name.startswith("`") else f"`{name}`"
        cells = (quoted, row.type, row.default, row.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
