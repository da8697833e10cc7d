"""The administration's paths, from its own table of endpoints and its own structs.

Its requests are closed: a field that isn't named is refused.
"""

import inspect
from typing import Any

import msgspec

from droveway.gateway.admin.endpoints import ENDPOINTS, MAX_PAGE, Endpoint
from droveway.gateway.openapi import failures, headers
from droveway.gateway.openapi.shapes import Schema, ref, said, text, whole

SCHEME = "admin"
"""Its security scheme: an admin's key is no client's."""
SECURITY: dict[str, Any] = {
    "type": "http", "scheme": "bearer", "description": "An admin's key: `droveway admin key`.",
}  # fmt: skip
_TAG = "administration"
_PREFIX = "Admin"
_QUERY: dict[str, Schema] = {
    "after": said(text(0, 64), "The last id of the page before."),
    "before": said(whole(1, 2**53), "The last number of the page before."),
    "limit": whole(1, MAX_PAGE),
    "tenant": said(text(0, 64), "Only of this tenant."),
}
_ETAG = text(1, 64)


def schemas() -> dict[str, Schema]:
    """What its endpoints take and answer, each name behind `Admin`."""
    kinds = {kind for one in ENDPOINTS for kind in (one.body, one.answer) if kind is not None}
    _, made = msgspec.json.schema_components(
        sorted(kinds, key=lambda kind: kind.__name__),
        ref_template=f"#/components/schemas/{_PREFIX}{{name}}",
    )
    plain = msgspec.json.decode(msgspec.json.encode(made))
    return {f"{_PREFIX}{name}": _cleaned(schema) for name, schema in plain.items()}


def paths() -> dict[str, Any]:
    """Every path of it."""
    found: dict[str, dict[str, Any]] = {}
    for one in ENDPOINTS:
        item = found.setdefault(one.template, {})
        if "{id}" in one.path:
            item["parameters"] = [
                {"name": "id", "in": "path", "required": True, "schema": text(1, 64)}
            ]
        item[one.method.lower()] = _operation(one)
    return found


def _operation(one: Endpoint) -> dict[str, Any]:
    about = f"For the role `{one.role}` and those above."
    made: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "description": about,
        "tags": [_TAG],
        "security": [{SCHEME: []}],
        "parameters": [{"name": name, "in": "query", "schema": _QUERY[name]} for name in one.query],
        "responses": {str(one.status): _answered(one), **failures.responses("openai", _scope(one))},
    }
    if one.of_revision:
        made["parameters"].append(
            {
                "name": "if-match", "in": "header", "schema": _ETAG, "required": True,
                "description": "The entry's `etag`, or `*`: whatever it is now.",
            }
        )  # fmt: skip
    if one.body is not None:
        content = {"application/json": {"schema": ref(_PREFIX + one.body.__name__)}}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _answered(one: Endpoint) -> dict[str, Any]:
    has_revision = "{id}" in one.path or one.status == 201
    names = (*headers.BASE["openai"], *(("etag",) if has_revision else ()))
    return {
        "description": inspect.getdoc(one.answer) or "Answered.",
        "headers": headers.of_answer(*names),
        "content": {"application/json": {"schema": ref(_PREFIX + one.answer.__name__)}},
    }


def _scope(one: Endpoint) -> str:
    return "admin_asks" if one.method == "GET" else "admin_changes"


def _cleaned(value: Any) -> Any:
    """Patterns as JSON Schema (ECMA 262) reads them: `$` alone is the end of the text there."""
    if isinstance(value, dict):
        return {
            name: one.replace("(?!\\n)", "") if name == "pattern" else _cleaned(one)
            for name, one in value.items()
            if not (name == "title" and isinstance(one, str))
        }
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    return value
